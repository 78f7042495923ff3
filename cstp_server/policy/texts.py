"""The texts of an action, or of any JSON value, taken out as one list and put back into their places, in time that grows no faster."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from operator import is_
from typing import Any, TypeVar

from cstp_server.domain.facts import Facts, fold_name
from cstp_server.domain.words import words_of

_Name = TypeVar("_Name", str, str | None)
_LISTS = (list, tuple)
_MAPPINGS = (dict, Mapping)
_NESTED = (*_LISTS, *_MAPPINGS)
_SCALARS = frozenset({int, float, bool, type(None)})
"""Asking a value whether it is none of these is faster than asking what it is."""


def texts_of(facts: Facts) -> list[str]:
    """All texts, in the order in which `with_texts` takes them back."""
    texts = [facts.description]
    if facts.type is not None:
        texts.append(facts.type)
    if facts.category is not None:
        texts.append(facts.category)
    texts += facts.tags
    for fields in (facts.parameters, facts.context, facts.details):
        if fields:
            _collect(fields, texts)
    return texts


def texts_in(value: object) -> list[str]:
    """All texts of a JSON value, in the order in which `with_text` takes them back."""
    texts: list[str] = []
    _collect((value,), texts)
    return texts


def _collect(value: Any, texts: list[str]) -> None:
    for inner in value if isinstance(value, _LISTS) else chain.from_iterable(value.items()):
        if isinstance(inner, str):
            texts.append(inner)
        elif type(inner) not in _SCALARS and inner and isinstance(inner, _NESTED):
            _collect(inner, texts)


class Renewal:
    """Puts texts, in their order, into the places from which they were taken."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self.as_given = True
        """Whether all of them stand there just as they were given: none folded, numbered, or left out as told already."""

    def text(self) -> str:
        """The next text."""
        return next(self._texts)

    def name(self, name: _Name) -> _Name:
        """A name with its text replaced, in the form in which names are compared."""
        if name is None:
            return name
        text = next(self._texts)
        if text == name:
            return name
        self.as_given = False
        return fold_name(text)

    def value(self, value: Any) -> Any:
        """The value with its texts replaced, or, where they are the same, itself."""
        if isinstance(value, str):
            return next(self._texts)
        if not value:
            return value
        if isinstance(value, _LISTS):
            items = [inner if type(inner) in _SCALARS else self.value(inner) for inner in value]
            return value if all(map(is_, items, value)) else items
        return self._fields(value) if isinstance(value, _MAPPINGS) else value

    def _fields(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields; those whose names have become the same are numbered."""
        renewed: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for inner in fields.values():
            name = free = next(self._texts)
            while free in renewed:
                counts[name] = counts.get(name, 1) + 1
                free = f"{name} ({counts[name]})"
                self.as_given = False
            renewed[free] = inner if type(inner) in _SCALARS else self.value(inner)
        same = all(map(is_, renewed, fields)) and all(map(is_, renewed.values(), fields.values()))
        return fields if same else renewed


def with_texts(facts: Facts, renewal: Renewal) -> Facts:
    """Facts with all texts replaced; tags that have become the same are told once."""
    description = renewal.text()
    action_type = renewal.name(facts.type)
    return replace(
        facts,
        description=description,
        type=action_type,
        type_words=facts.type_words if action_type == facts.type else words_of(action_type or ""),
        category=renewal.name(facts.category),
        tags=tuple(dict.fromkeys(renewal.name(tag) for tag in facts.tags)),
        parameters=renewal.value(facts.parameters),
        context=renewal.value(facts.context),
        details=renewal.value(facts.details),
    )


def with_text(value: Any, renewal: Renewal) -> Any:
    """A JSON value with all texts replaced."""
    return renewal.value(value)

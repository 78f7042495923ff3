"""Finding values in what an action says of itself, however its names are spelled."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

_FREE = frozenset({"parameters", "context"})
_SEPARATORS = str.maketrans("", "", "_-. ")


Named: TypeAlias = dict[int, dict[str, list[object]]]
"""What was found in maps, by their identity and the loose form of names, so that each is gone through once however many look into it."""


def values_at(data: Mapping[str, Any], path: Sequence[str], known: Named) -> Sequence[object]:
    """Every value that stands at `path` below `data`; `known` belongs to that data.

    Below `parameters` and `context` names are the agent's own, and are found in any spelling: `amount` also as `Amount`, and
    `discount_percent` also as `discountPercent`, so that nobody gets past a limit by another spelling, or by giving two.
    """
    value: Any = data
    for position, name in enumerate(path):
        if not value or not isinstance(value, dict):
            return ()
        if position and path[position - 1] in _FREE:
            return _spelled(value, path[position:], known)
        if name not in value:
            return ()
        value = value[name]
    return (value,)


def _spelled(fields: Mapping[str, Any], path: Sequence[str], known: Named) -> Sequence[object]:
    found = values_named(fields, path[0], known)
    if len(path) == 1:
        return found
    return [value for inner in found if isinstance(inner, dict) for value in _spelled(inner, path[1:], known)]


def values_named(fields: Mapping[str, Any], name: str, known: Named) -> Sequence[object]:
    """Every value in a map whose name is that one in any spelling."""
    by_name = known.get(id(fields))
    if by_name is None:
        by_name = known[id(fields)] = {}
        for said, value in fields.items():
            by_name.setdefault(loose(said), []).append(value)
    return by_name.get(loose(name), ())


LONGEST_REMEMBERED = 128
"""Longer names are not remembered: callers choose them, and would fill the memory with them."""


def loose(name: str) -> str:
    """A name without its case and without what separates its words."""
    return _loose(name) if len(name) <= LONGEST_REMEMBERED else _loose.__wrapped__(name)


@lru_cache(maxsize=4096)
def _loose(name: str) -> str:
    return name.translate(_SEPARATORS).casefold()


def texts_in(value: object) -> Iterator[str]:
    """Every text in a value: itself, or the names and values anywhere below it; numbers in their decimal form."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)

"""What validation finds, in the words of the policy's author: one problem a finding, with the line of the key."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError

from cstp_server.policy.fields import FieldErrors, Path, nearest, shown
from cstp_server.policy.guardrail_models import (
    CONDITION_FIELDS,
    CONDITION_PREFIX,
    REQUIRES_FIELDS,
    REQUIRES_PREFIX,
    GuardrailModel,
)
from cstp_server.policy.models import PolicyModel
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.yaml_nodes import Node

_PREFIXES = {CONDITION_FIELDS: CONDITION_PREFIX, REQUIRES_FIELDS: REQUIRES_PREFIX}
_VERBS = ("must ", "raises ", "is ")
_EXPECTED = re.compile(r"'([^']*)'")


def path_text(path: Path) -> str:
    """A path as one writes it: `circuit_breakers[0].window_ms`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def problems_of(error: ValidationError, root: Node) -> list[PolicyProblem]:
    """Everything that a failed validation found, in the order of the files."""
    return [_placed(root, path, message) for details in error.errors() for path, message in _found(details, root)]


def _placed(root: Node, path: Path, message: str) -> PolicyProblem:
    file, line = root.place_of(path)
    return PolicyProblem(file, line, message)


def _found(details: Mapping[str, Any], root: Node) -> Iterator[tuple[Path, str]]:
    path: Path = tuple(details["loc"])
    named = path_text(root.as_written(path))
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, FieldErrors):
        for name, message in cause.errors.items():
            place = _field_path(path, name)
            yield place, f"`{path_text(root.as_written(place))}`{_joint(message)}{message}"
    elif details["type"] == "extra_forbidden":
        yield path, _unknown_key(path, root)
    elif details["type"] == "missing":
        yield path[:-1], f"`{path_text(root.as_written(path[:-1]))}` lacks the key `{path[-1]}`"
    elif cause is not None:
        yield path, f"`{named}`{_joint(str(cause))}{cause}"
    else:
        yield path, f"`{named}` {_must(details)}, not {shown(details['input'])}"


def _joint(message: str) -> str:
    return " " if message.startswith(_VERBS) else ": "


def _field_path(path: Path, name: str | Path) -> Path:
    if isinstance(name, tuple):
        return (*path, *name)
    prefix = _PREFIXES.get(str(path[-1]))
    return (*path[:-1], f"{prefix}{name}") if prefix is not None else (*path, name)


def _unknown_key(path: Path, root: Node) -> str:
    name, parent = str(path[-1]), path[:-1]
    where = f" in `{path_text(root.as_written(parent))}`" if parent else ""
    what = "key" if parent else "section"
    hint = nearest(name, _known_keys(parent))
    if not hint and parent and parent[-1] == "tripwires":
        hint = ": limits by name stand under `limits`, rules under `rules`"
    return f"unknown {what} `{name}`{where}{hint}"


def _known_keys(parent: Path) -> list[str]:
    """The keys that may stand at `parent`: found by walking the models along the path."""
    model: type[BaseModel] | None = PolicyModel
    is_name = False
    for step in parent:
        if is_name or isinstance(step, int) or model is None:
            is_name = False
            continue
        field = model.model_fields.get(step)
        model = _model_in(field.annotation) if field is not None else None
        is_name = field is not None and get_origin(field.annotation) is dict
    if model is None:
        return []
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return [*(key for key in keys if not key.endswith("*")), *_flat_keys(model)]


def _flat_keys(model: type[BaseModel]) -> list[str]:
    return ["condition_stakes", "condition_category", "condition_confidence", "condition_type"] if model is GuardrailModel else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for argument in getattr(annotation, "__args__", ()) if (model := _model_in(argument)) is not None), None)


def _one_of(details: Mapping[str, Any]) -> str:
    expected = _EXPECTED.findall(details["ctx"]["expected"])
    return f"must be one of {', '.join(f'`{name}`' for name in expected)}"


_MUST: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda details: f"must be greater than {details['ctx']['gt']:g}",
    "greater_than_equal": lambda details: f"must be at least {details['ctx']['ge']:g}",
    "less_than_equal": lambda details: f"must be at most {_number(details['ctx']['le'])}",
    "finite_number": lambda _: "must be a finite number",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: "must be `true` or `false`",
    "string_type": lambda _: "must be a text",
    "string_too_short": lambda _: "must be a text that is not empty",
    "string_too_long": lambda details: f"must be at most {details['ctx']['max_length']} characters long",
    "list_type": lambda _: "must be a list",
    "too_short": lambda details: f"must hold at least {details['ctx']['min_length']}",
    "dict_type": lambda _: "must be a mapping",
    "model_type": lambda _: "must be a mapping",
    "enum": _one_of,
    "literal_error": _one_of,
}


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _must(details: Mapping[str, Any]) -> str:
    wording = _MUST.get(details["type"])
    return wording(details) if wording is not None else "is not valid"

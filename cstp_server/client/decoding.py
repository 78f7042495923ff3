"""From JSON to the frozen dataclasses of `results`: by name in camelCase; unknown fields are let through, missing required ones refused."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from cstp_server.client.errors import BadAnswer

T = TypeVar("T")
Read = Callable[[Any, str], Any]

RAW = "raw"


def decode(kind: type[T], data: object, path: str = "result") -> T:
    """The answer as a `kind`. Raises `BadAnswer` naming the field that is missing or of another type.

    >>> from cstp_server.client.results import Probe
    >>> decode(Probe, {"scope": "global", "somethingNew": 1}).scope
    'global'
    """
    if not isinstance(data, Mapping):
        raise _unfit(path, "an object", data)
    shape: Any = kind
    plan = _plan(shape)
    values = {name: _read_field(field, read, data, f"{path}.{wire}") for name, wire, field, read in plan if wire in data}
    for name, wire, field, _ in plan:
        if name == RAW:
            values[name] = data
        elif name not in values and _is_required(field):
            raise BadAnswer(f"the answer has no `{path}.{wire}`: is this a CSTP server?")
    return kind(**values)


def camel(name: str) -> str:
    """The name on the wire: `reset_at` is `resetAt`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


@cache
def _plan(kind: type) -> tuple[tuple[str, str, Field[Any], Read], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, camel(field.name), field, _reader(hints[field.name])) for field in fields(kind))


def _read_field(field: Field[Any], read: Read, data: Mapping[str, Any], path: str) -> Any:
    value = data[camel(field.name)]
    if value is None and not _is_required(field):
        return field.default if field.default is not MISSING else None
    return read(value, path)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _reader(hint: Any) -> Read:
    """How a value of that annotation is read."""
    if is_dataclass(hint) and isinstance(hint, type):
        return lambda value, path: decode(hint, value, path)
    origin = get_origin(hint)
    if origin is UnionType:
        (inner,) = (arg for arg in get_args(hint) if arg is not NoneType)
        read = _reader(inner)
        return lambda value, path: None if value is None else read(value, path)
    if origin is tuple:
        return _tuple_of(_reader(get_args(hint)[0]))
    if origin is Mapping and is_dataclass(get_args(hint)[1]):
        return _mapping_of(_reader(get_args(hint)[1]))
    return _PLAIN.get(hint, _anything)


def _tuple_of(read: Read) -> Read:
    def read_all(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _unfit(path, "a list", value)
        return tuple(read(item, f"{path}[{index}]") for index, item in enumerate(value))

    return read_all


def _mapping_of(read: Read) -> Read:
    def read_all(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _unfit(path, "an object", value)
        return {name: read(item, f"{path}.{name}") for name, item in value.items()}

    return read_all


def _anything(value: Any, _path: str) -> Any:
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _unfit(path, "a string", value)
    return value


def _truth(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _unfit(path, "true or false", value)
    return value


def _number(value: Any, path: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _unfit(path, "a number", value)
    return value


def _integer(value: Any, path: str) -> int:
    return int(_number(value, path))


def _time(value: Any, path: str) -> datetime:
    try:
        return datetime.fromisoformat(_text(value, path))
    except ValueError:
        raise _unfit(path, "an RFC 3339 time", value) from None


_PLAIN: Mapping[Any, Read] = {str: _text, bool: _truth, float: _number, int: _integer, datetime: _time}


def _unfit(path: str, wanted: str, value: object) -> BadAnswer:
    return BadAnswer(f"the answer's `{path}` is {_kind_of(value)} and should be {wanted}: is this a CSTP server?")


def _kind_of(value: object) -> str:
    return "null" if value is None else f"of type `{type(value).__name__}`"

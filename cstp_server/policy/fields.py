"""The kinds of values that a policy is made of, each with its bounds."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, TypeAlias, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from cstp_server.domain.circuit_settings import MICRO
from cstp_server.domain.facts import fold_name
from cstp_server.domain.scopes import TEMPLATE_VALUE, BadScope, parse_scope
from cstp_server.policy.cel import compile_predicate

LONGEST_MS = 10 * 365 * 86_400_000
"""Ten years: no window, cooldown or timeout is longer."""
_LARGEST_WEIGHT = 1_000_000_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:*@/-]{0,127}")
_SHOWN = 60
_T = TypeVar("_T")
Path: TypeAlias = tuple[str | int, ...]
"""The way to a place in the policy: keys and positions."""


class FieldErrors(ValueError):
    """What is wrong with the fields of a mapping, by name or by path."""

    def __init__(self, errors: Mapping[str | Path, str]) -> None:
        super().__init__("; ".join(f"`{name}`: {message}" for name, message in errors.items()))
        self.errors = errors


class Section(BaseModel):
    """The base of all parts of a policy: strict, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False)


def nearest(name: str, known: Iterable[str]) -> str:
    """`, did you mean …?` with the known name that looks most like this one; empty when none does."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean `{close[0]}`?" if close else ""


def shown(value: object) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = str(value)
    return f"`{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}`"


def one_of(known: tuple[str, ...]) -> BeforeValidator:
    """Refuses what is none of these names, and says which is nearest."""

    def check(value: object) -> object:
        if value in known:
            return value
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(f'`{name}`' for name in known)}, not {shown(value)}{hint}")

    return BeforeValidator(check)


def _expression(source: str) -> str:
    compile_predicate(source)
    return source


def _scope(text: str) -> str:
    try:
        scope = parse_scope(text)
    except BadScope as error:
        raise ValueError(str(error)) from None
    if TEMPLATE_VALUE in scope.value and not scope.is_template:
        raise ValueError(f"`{text}`: `*` stands for every value, never for a part of one: write `{scope.template}`")
    return str(scope)


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(f"`{text}` is no id: use at most 128 letters, digits and `. _ : - * @ /`, the first a letter or digit")
    return text


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"`{name}` is no time zone{nearest(name, available_timezones()) or ': use a name such as `Europe/Berlin`'}"
        ) from None
    return name


def _folded(name: str) -> str:
    folded = fold_name(name)
    if not folded:
        raise ValueError("a name must not be empty")
    return folded


def _positive_weight(weight: float) -> float:
    if round(weight * MICRO) < 1:
        raise ValueError(f"must be at least 0.000001, not `{weight}`")
    return weight


def _distinct(values: list[_T]) -> list[_T]:
    return list(dict.fromkeys(values))


def scalars(value: object) -> object:
    """A value of the flat forms: a text, a number, true or false, or a list of those."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("must not be an empty list")
    if not all(isinstance(item, str | int | float) for item in values):
        raise ValueError("must be a text, a number, `true` or `false`, or a list of those")
    return value


_SCALAR_SCHEMA = {"type": ["string", "number", "boolean"]}
FLAT_VALUE_SCHEMA = {"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}]}

FlatValue = Annotated[object, PlainValidator(scalars), WithJsonSchema(FLAT_VALUE_SCHEMA)]
Expression = Annotated[str, AfterValidator(_expression)]
ScopeText = Annotated[str, AfterValidator(_scope)]
Id = Annotated[str, AfterValidator(_id)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
FoldedName = Annotated[str, AfterValidator(_folded)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Milliseconds = Annotated[int, Field(gt=0, le=LONGEST_MS)]
Weight = Annotated[float, Field(ge=0, le=_LARGEST_WEIGHT)]
PositiveWeight = Annotated[float, Field(gt=0, le=_LARGEST_WEIGHT), AfterValidator(_positive_weight)]
Distinct = AfterValidator(_distinct)

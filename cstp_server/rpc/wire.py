"""The casing and the types of the wire; nothing else knows them (SPEC 2).

Names are camelCase; params also accept snake_case. Times are RFC 3339 in UTC with `Z`, milliseconds only where there are any.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from cstp_server.domain.damage import DamageType
from cstp_server.domain.facts import fold_name
from cstp_server.rpc.errors import Problem


class Params(BaseModel):
    """What a method is called with. Unknown names are refused, and a value is of its type or refused."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class Result(BaseModel):
    """What a method answers."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class LegacyResult(BaseModel):
    """What a method answers in CSTP's own form, in snake_case."""

    model_config = ConfigDict(extra="forbid")


Written = dict[str, Any]
"""A result under the names that it has on the wire already, with nothing in it but what `orjson` writes as a model would."""


def as_json(result: BaseModel) -> orjson.Fragment:
    """A result as it goes out."""
    return orjson.Fragment(result.__pydantic_serializer__.to_json(result, by_alias=True))


def _is_none(value: object) -> bool:
    return value is None


def omitted(description: str | None = None) -> Any:
    """A field of a result that is left out when it has no value."""
    return Field(default=None, exclude_if=_is_none, description=description)


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_TIME_FORM = "must be a time such as `2026-02-11T13:30:00Z`"


@lru_cache(maxsize=1024)
def format_time(at: int) -> str:
    """The text of a time in ms since the epoch; all checks that share a transaction are answered as of the same one."""
    seconds, milliseconds = divmod(at, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z" if milliseconds else f"{_second(seconds)}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_time(text: object) -> int:
    """The time in ms since the epoch that an RFC 3339 text names; finer fractions are cut off."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise PydanticCustomError("time", _TIME_FORM)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise PydanticCustomError("time", _TIME_FORM) from error
    return int((moment - _EPOCH).total_seconds() * 1000) if moment.microsecond else int((moment - _EPOCH).total_seconds()) * 1000


_EPOCH = datetime.fromtimestamp(0, UTC)
_TIME_SCHEMA = {"type": "string", "format": "date-time"}


def _as_ms(value: object) -> int:
    return value if isinstance(value, int) else parse_time(value)


Time = Annotated[int, BeforeValidator(_as_ms), PlainSerializer(format_time, return_type=str), WithJsonSchema(_TIME_SCHEMA)]
"""A result's time: ms since the epoch inside, RFC 3339 outside."""

TimeParam = Annotated[int, BeforeValidator(parse_time), WithJsonSchema(_TIME_SCHEMA)]
"""A param's time: only RFC 3339 text is taken."""


def _plain(value: float) -> float:
    return int(value) if value.is_integer() else value


Number = Annotated[float, PlainSerializer(_plain, return_type=int | float), WithJsonSchema({"type": "number"})]
"""A number that is written without a fraction when it has none."""


class _Whole:
    """Takes any object as it was parsed: its names are strings and its values free, so there is nothing to look at, and to copy, in it."""

    @staticmethod
    def __get_pydantic_core_schema__(_source: object, _handler: object) -> CoreSchema:
        return core_schema.is_instance_schema(dict)

    @staticmethod
    def __get_pydantic_json_schema__(_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()))


JsonObject = dict[str, Any]
FreeObject = Annotated[dict[str, Any], _Whole]
"""A param's object, whose names and values are free."""
StakesName = Literal["low", "medium", "high", "critical"]
SeverityName = Literal["low", "medium", "high", "critical"]
OutcomeName = Literal["success", "partial", "failure", "abandoned"]
NonNegativeMs = Annotated[int, Field(ge=0)]


def _damage_named(value: object) -> object:
    """The type of damage that a name stands for, in whatever case; a name that is none is refused with the nearest that is."""
    if not isinstance(value, str) or (name := fold_name(value)) in DamageType.__members__.values():
        return fold_name(value) if isinstance(value, str) else value
    nearest = _nearest(name.replace(" ", "_").replace("-", "_"), list(DamageType))
    known = ", ".join(f"`{kind}`" for kind in DamageType)
    raise PydanticCustomError(
        "damage_type", f"is no type of damage: {f'did you mean `{nearest}`?' if nearest is not None else f'use {known}'}"
    )


DamageName = Annotated[
    Literal["wrong_answer", "ignored_preference", "unexpected_action", "slow_response", "misunderstood_intent", "repetitive_error"],
    BeforeValidator(_damage_named),
]
"""What went wrong for a user; `WRONG_ANSWER` is taken as well."""


LONGEST_NAME = 256
_NOT_BLANK = r"\S"
_NO_TEMPLATE = r"[^\s\x1c-\x1f*]|\*.*\*"
_NO_SLASH = r"^[^/]*[^/\s][^/]*$"
_ID = r"^[A-Za-z0-9._:-]+$"
_PATTERNS = {
    _NOT_BLANK: "must not be blank",
    _NO_TEMPLATE: "must not be blank, nor `*`, which stands for every value",
    _NO_SLASH: "must not be blank, nor contain `/`",
    _ID: "must be of `A-Z a-z 0-9 . _ : -`",
}

Text = Annotated[str, Field(pattern=_NOT_BLANK)]
Name = Annotated[str, Field(max_length=LONGEST_NAME, pattern=_NO_TEMPLATE)]
"""A category, tag, type or agent: it becomes part of a scope, so it is short and not `*`."""

UserId = Annotated[str, Field(max_length=LONGEST_NAME, pattern=_NOT_BLANK)]
UserDomain = Annotated[str, Field(max_length=LONGEST_NAME, pattern=_NO_SLASH)]
ScopeText = Annotated[str, Field(max_length=3 * LONGEST_NAME, pattern=_NOT_BLANK)]
DecisionId = Annotated[str, Field(max_length=128, pattern=_ID)]
Limit = Annotated[int, Field(ge=1, le=500)]

_ID_NAMES = ("id", "decisionId", "decision_id")


def taken_id(description: str) -> Any:
    """A required decision id, under any of the names that CSTP's clients give it."""
    return Field(validation_alias=AliasChoices(*_ID_NAMES), description=description)


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """What is wrong with the params, each naming its field as it is on the wire."""
    return [_problem(detail, model) for detail in error.errors(include_url=False, include_context=True, include_input=False)]


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    path = detail["loc"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(field_name(path), _unknown(path, model))
    if kind == "missing":
        return Problem(field_name(path), "is required")
    context = detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return Problem(field_name(path), _PATTERNS[context["pattern"]])
    expected = _EXPECTED.get(kind)
    return Problem(field_name(path), expected.format(**context) if expected is not None else _reworded(detail["msg"]))


def field_name(path: Iterable[int | str], root: str = "params") -> str:
    """The field at a path: `action.tags[1]`; `root` for an empty path."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name or root


_EXPECTED = {
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "is_instance_of": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must be at most {max_length} characters long",
}
"""What validation expects, in this service's words."""

_CLOSE = 0.7
"""How alike two names are, from 0 to 1, of which one may be meant for the other."""

_BEGUN = 3
"""A beginning of so many letters tells which name was meant."""

_SUBJECT = re.compile(r"^(?:Input|String|List|Dictionary|Value|Number) should ")


def _reworded(message: str) -> str:
    return _SUBJECT.sub("must ", message).replace("'", "`").rstrip(".")


def _unknown(path: Sequence[int | str], model: type[BaseModel]) -> str:
    """What to say of a name that the model does not have: the nearest that it has, or that it was given twice."""
    name = str(path[-1])
    known = _names_at(path[:-1], model)
    for names in known:
        if name in names:
            return f"says the same as `{names[0]}`: give one of them"
    nearest = _nearest(to_camel(name), [names[0] for names in known])
    if nearest is not None:
        return f"is unknown: did you mean `{nearest}`?"
    listed = ", ".join(f"`{names[0]}`" for names in known)
    return f"is unknown: there are {listed}" if known else "is unknown: there are no params"


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The name that was meant, if one is so close that it may be said: with a few letters wrong, or cut short, or longer than it is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
    if close:
        return close[0]
    begun = [other for other in known if min(len(name), len(other)) >= _BEGUN and (other.startswith(name) or name.startswith(other))]
    return begun[0] if len(begun) == 1 else None


def _names_at(path: Sequence[int | str], model: type[BaseModel]) -> list[tuple[str, ...]]:
    for part in path:
        if isinstance(part, int):
            continue
        inner = next((_model_in(field.annotation) for name, field in model.model_fields.items() if part in names_of(name, field)), None)
        if inner is None:
            return []
        model = inner
    return [names_of(name, field) for name, field in model.model_fields.items()]


def names_of(name: str, field: Any) -> tuple[str, ...]:
    """The names that a model's field has on the wire, the preferred one first."""
    alias = field.validation_alias
    names = tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (str(alias or name), name)
    return tuple(dict.fromkeys(names))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None)

"""`guardrails` in the policy: rules, in the form of this service and in those of CSTP (SPEC 6)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from cstp_server.domain.findings import Intervention, Mode
from cstp_server.policy.cel import compile_predicate
from cstp_server.policy.fields import FLAT_VALUE_SCHEMA, Expression, FieldErrors, FlatValue, Id, Path, Section, Text, scalars
from cstp_server.policy.flat import FlatForm, condition_of, must_be_true, requirement_of, scope_condition

CONDITION_PREFIX = "condition_"
REQUIRES_PREFIX = "requires_"
CONDITION_FIELDS = "condition_*"
REQUIRES_FIELDS = "requires_*"
"""The names under which the flat fields are gathered, and reported."""

Flat: TypeAlias = dict[str, FlatValue]
ActionName: TypeAlias = Literal["block", "warn", "allow", "escalate"]


def _check_fields(fields: Mapping[str, object], expression_of: Callable[[str, object], str]) -> None:
    """Compile every field's expression, and raise all that is wrong with them at once."""
    errors: dict[str | Path, str] = {}
    for name, value in fields.items():
        try:
            compile_predicate(expression_of(name, scalars(value)))
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise FieldErrors(errors)


def _suffixed_condition(name: str, value: object) -> str:
    return condition_of(name, value, FlatForm.SUFFIXED)


def _plain_condition(name: str, value: object) -> str:
    return condition_of(name, value, FlatForm.PLAIN)


def _condition(value: object) -> object:
    if isinstance(value, str):
        compile_predicate(value)
    elif isinstance(value, dict) and value:
        _check_fields(value, _suffixed_condition)
    else:
        raise ValueError("must be an expression, or a mapping of fields to values")
    return value


def _flat_conditions(value: dict[str, object]) -> dict[str, object]:
    _check_fields(value, _plain_condition)
    return value


def _flat_requires(value: dict[str, object]) -> dict[str, object]:
    _check_fields(value, requirement_of)
    return value


def _requires(value: object) -> object:
    if isinstance(value, str):
        return _requires([value])
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        for name in value:
            compile_predicate(must_be_true(name))
        return value
    if isinstance(value, dict) and value:
        return _flat_requires(value)
    raise ValueError("must be a list of names of fields, or a mapping of fields to values")


def _scope(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("must be the name of a project or a scope such as `category:tooling`, or a list of them")
    compile_predicate(scope_condition(names))
    return names


_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_MAP_SCHEMA = {"type": "object", "additionalProperties": FLAT_VALUE_SCHEMA}
Condition = Annotated[str | Flat, BeforeValidator(_condition), WithJsonSchema({"anyOf": [{"type": "string"}, _MAP_SCHEMA]})]
Requires = Annotated[list[str] | Flat, BeforeValidator(_requires), WithJsonSchema({"anyOf": [*_NAMES_SCHEMA["anyOf"], _MAP_SCHEMA]})]
Scopes = Annotated[list[str], BeforeValidator(_scope), WithJsonSchema(_NAMES_SCHEMA)]


class GuardrailModel(Section):
    """One rule. All conditions that are given must hold, and then all requirements must be met, or the rule's action follows."""

    id: Id = Field(description="its name in findings")
    description: str = Field("", max_length=2000, description="what it is for")
    when: Expression | None = Field(
        None,
        description="the condition, in CEL over `action`, `agent`, `user`, `posture`, `trust`; a rule without any always applies",
    )
    condition: Condition | None = Field(
        None,
        description="CSTP's form: a CEL expression, or a mapping of fields to values, where a name may end in "
        "`_lt _lte _gt _gte _eq _ne _in` and a value may start with `== != < > <= >=`",
    )
    flat_conditions: Annotated[Flat, BeforeValidator(_flat_conditions)] = Field(
        default_factory=dict,
        alias="condition_*",
        description='CSTP\'s flat form: `condition_stakes: high`, `condition_confidence: "< 0.5"`; `stakes`, `category`, '
        "`confidence`, `type`, `description`, `tags` are the action's, `agent` is the agent's id, all else stands in `action.context`",
    )
    requires: Requires | None = Field(
        None,
        description="fields that must be `true`, in `action.context` unless the name starts with `action.`; or a mapping as in `condition`",
    )
    flat_requires: Annotated[Flat, BeforeValidator(_flat_requires)] = Field(
        default_factory=dict, alias="requires_*", description="CSTP's flat form: `requires_code_review: true`"
    )
    scope: Scopes | None = Field(
        None,
        description="where the rule applies: projects, compared with `action.context.project` (an action that names none is not spared), "
        "or scopes such as `category:tooling`",
    )
    action: ActionName = Field("block", description="what follows: `block`, `escalate`, `warn` or `allow` (listed, without effect)")
    message: Text | None = Field(None, description="what the caller is told; default from the description")
    suggestion: Text | None = Field(None, description="what the caller could do about it")
    mode: Annotated[Mode, Field(strict=False)] = Field(Mode.ENFORCE, description="`enforce`, `shadow` (reported, without effect) or `off`")

    @model_validator(mode="before")
    @classmethod
    def _gather_flat_fields(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        gathered: dict[str, object] = {}
        for key, value in data.items():
            prefix = next((prefix for prefix in (CONDITION_PREFIX, REQUIRES_PREFIX) if key.startswith(prefix) and key != prefix), None)
            if prefix is None:
                gathered[key] = value
            else:
                fields = gathered.setdefault(f"{prefix}*", {})
                if isinstance(fields, dict):
                    fields[key.removeprefix(prefix)] = value
        return gathered

    @property
    def intervention(self) -> Intervention:
        """The action as an intervention."""
        return Intervention[self.action.upper()]

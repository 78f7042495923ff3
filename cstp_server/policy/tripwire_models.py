"""`tripwires` in the policy: limits by name, rules, or both (SPEC 7)."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from cstp_server.domain.findings import Mode
from cstp_server.domain.tripwire_rules import Per
from cstp_server.domain.tripwires import TripwireSeverity
from cstp_server.policy.built_in import BUILT_IN
from cstp_server.policy.field_paths import NumberPath, TextPath
from cstp_server.policy.fields import Distinct, Expression, FieldErrors, FoldedName, Id, Section, Text, nearest, shown
from cstp_server.policy.patterns import checked_regex
from cstp_server.policy.short_form import Bound, check_bound, tripwire_of

LIMITS = "limits"
RULES = "rules"
AMOUNT_PATH = "action.parameters.amount"
"""What budgets are about, and what a review's actual cost is the true value of."""
KINDS = ("limit", "quota", "pattern", "when")
SeverityName: TypeAlias = Literal["standard", "critical", "severe"]
WindowName: TypeAlias = Literal["minute", "hour", "day", "total"]
BOUND_SCHEMA = {"type": "number", "minimum": 0}


def wrapped_as(value: object) -> str | None:
    """Under which key a section belongs that gives only its limits, or only its rules; none for one that has both keys."""
    if isinstance(value, list):
        return RULES
    return LIMITS if isinstance(value, Mapping) and not value.keys() & {LIMITS, RULES} else None


def _limits(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping of names to numbers, not {shown(value)}")
    errors: dict[str | tuple[str | int, ...], str] = {}
    for name, bound in value.items():
        try:
            tripwire_of(name, check_bound(bound))
        except ValueError as error:
            errors[name] = _refusal(error, bound)
    if errors:
        raise FieldErrors(errors)
    return value


def _bound(value: object) -> object:
    try:
        return check_bound(value)
    except ValueError as error:
        raise ValueError(_refusal(error, value)) from None


def _refusal(error: ValueError, bound: object) -> str:
    return f"{error}, not {shown(bound)}" if str(error).startswith("must ") else str(error)


def _counts(value: object) -> object:
    if value is not True:
        raise ValueError(f"must be `true`, not {shown(value)}: give `sum` to sum a field instead")
    return value


Limits = Annotated[dict[str, Bound], PlainValidator(_limits), WithJsonSchema({"type": "object", "additionalProperties": BOUND_SCHEMA})]
BoundValue = Annotated[Bound, PlainValidator(_bound), WithJsonSchema(BOUND_SCHEMA)]
Counts = Annotated[bool, PlainValidator(_counts), WithJsonSchema({"const": True})]
Regex = Annotated[str, AfterValidator(checked_regex)]


class AppliesModel(Section):
    """Which actions a tripwire is about; every kind that is given must match."""

    agents: Annotated[list[Text], Distinct] | None = Field(None, min_length=1, description="ids of agents")
    categories: Annotated[list[FoldedName], Distinct] | None = Field(
        None, min_length=1, description="the action's category is one of these"
    )
    types: Annotated[list[FoldedName], Distinct] | None = Field(None, min_length=1, description="the action's type is one of these")
    tags: Annotated[list[FoldedName], Distinct] | None = Field(None, min_length=1, description="the action has one of these tags")


class LimitModel(Section):
    """Bounds of a value, which it may reach."""

    field: NumberPath = Field(
        description="`action.parameters.<name>`, `action.context.<name>`, `action.confidence` or `action.ctq`; a name below `parameters` "
        "or `context` is found in any spelling (`discount_percent`, `discountPercent`)"
    )
    min: BoundValue | None = Field(None, description="the least; at least one of `min` and `max` is given")
    max: BoundValue | None = Field(None, description="the most")

    @model_validator(mode="after")
    def _bounds_something(self) -> "LimitModel":
        if self.min is None and self.max is None:
            raise ValueError("must give `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"must not have a `min` ({self.min}) above its `max` ({self.max}): nothing could pass")
        return self


class QuotaModel(Section):
    """How many actions, or how much of something in all, in a window."""

    count: Counts | None = Field(None, description="`true` counts actions; either this or `sum`")
    sum: NumberPath | None = Field(None, description="the field that is summed, as in `limit`")
    per: Annotated[Per, Field(strict=False)] = Field(Per.AGENT, description="whose actions count together")
    window: WindowName = Field(
        description="`minute` and `hour` roll, `day` is a calendar day in the policy's time zone, `total` is for ever"
    )
    max: BoundValue = Field(description="how many, or how much, at most")
    settle: bool | None = Field(
        None,
        description="whether the `actualCost` of a review takes the place of what was reserved; default `true` where `sum` is "
        f"`{AMOUNT_PATH}`",
    )

    @model_validator(mode="after")
    def _counts_or_sums(self) -> "QuotaModel":
        if (self.count is None) == (self.sum is None):
            raise ValueError("must give either `count: true` or `sum`")
        if self.count and not float(self.max).is_integer():
            raise ValueError(f"must have a whole number as `max`, not `{self.max}`: it counts actions")
        if self.count and self.settle is not None:
            raise ValueError("must not give `settle`: it counts actions, and only sums are settled")
        return self

    @property
    def settles(self) -> bool:
        """Whether actual costs take the place of what was reserved."""
        return self.settle if self.settle is not None else self.sum == AMOUNT_PATH


class PatternModel(Section):
    """Texts that must not be there."""

    fields: Annotated[list[TextPath], Distinct] = Field(
        min_length=1,
        description="where to look, names and values at any depth: `action.description`, `action.parameters`, `action.context.<name>`, …; "
        "`action.type`, `action.category` and `action.tags` are in lower case",
    )
    regex: Regex = Field(description="what must not be found, in the syntax of RE2, which has no back-references and no look-around")


class TripwireModel(Section):
    """One rule. It has exactly one of `limit`, `quota`, `pattern` and `when`; one with the name of a built-in tripwire has none."""

    name: Id = Field(description="its name in findings and statistics; with the name of a built-in tripwire it changes that one")
    description: str = Field("", max_length=2000, description="what it is for")
    severity: SeverityName | None = Field(None, description="what follows from a hit; default `standard`, or that of the built-in tripwire")
    applies_to: AppliesModel | None = Field(None, description="the actions it is about; default all")
    limit: LimitModel | None = Field(None, description="bounds of a value; a value that is missing, no number or negative trips")
    quota: QuotaModel | None = Field(None, description="how many actions, or how much in all, in a window")
    pattern: PatternModel | None = Field(None, description="texts that must not be there")
    when: Expression | None = Field(None, description="a condition in CEL that must not hold; one that cannot be evaluated trips")
    message: Text | None = Field(None, description="what the caller is told; default `Tripwire triggered: …`")
    suggestion: Text | None = Field(None, description="what the caller could do about it")
    notify: bool | None = Field(
        None,
        description="whether people are told of a hit, by default for `critical` and `severe`, and of a budget that is nearly used up, "
        "by default always",
    )
    trust_impact: bool = Field(default=True, description="whether a hit counts against the agent's trust")
    mode: Annotated[Mode, Field(strict=False)] = Field(Mode.ENFORCE, description="`enforce`, `shadow` (reported, without effect) or `off`")

    @model_validator(mode="after")
    def _has_one_kind(self) -> "TripwireModel":
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if self.name in BUILT_IN:
            if given:
                raise ValueError(
                    f"must not give `{given[0]}`: `{self.name}` is a built-in tripwire, of which everything else can be changed"
                )
        elif len(given) != 1:
            found = " and ".join(f"`{kind}`" for kind in given) if given else "none"
            built_in = nearest(self.name, BUILT_IN) if not given else ""
            raise ValueError(f"must have exactly one of {', '.join(f'`{kind}`' for kind in KINDS)}, not {found}{built_in}")
        return self

    @property
    def changes_built_in(self) -> bool:
        """Whether this changes a built-in tripwire rather than being one of its own."""
        return self.name in BUILT_IN

    @property
    def severity_level(self) -> TripwireSeverity | None:
        """The severity, where one is given."""
        return TripwireSeverity[self.severity.upper()] if self.severity is not None else None


class TripwiresModel(Section):
    """Hard limits. A mapping of names to numbers alone stands for `limits`, a list alone for `rules`."""

    limits: Limits = Field(default_factory=dict, description="limits by name: the name says what the number bounds")
    rules: list[TripwireModel] = Field(default_factory=list, description="limits that no name describes")

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, data: object) -> object:
        key = wrapped_as(data)
        return {key: data} if key is not None else data

"""`constraints` in the policy: bounds for everybody, for categories and for agents (SPEC 9 and 12)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from cstp_server.dimensions.installed import known_dimensions
from cstp_server.dimensions.internal_hosts import domain_named
from cstp_server.dimensions.reading import read_bound
from cstp_server.domain.constraints import Interaction
from cstp_server.domain.facts import fold_name
from cstp_server.domain.findings import Mode
from cstp_server.domain.gaming import AntiGaming
from cstp_server.policy.fields import Distinct, FieldErrors, Path, Section, shown

MissingContext: TypeAlias = Literal["fail", "pass"]
BOUNDS_SCHEMA = {"type": "object"}


def _bounds(value: object) -> object:
    """Bounds by dimension, each of which its dimension can read."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping of dimensions to their bounds, not {shown(value)}")
    dimensions = known_dimensions()
    problems = {name: read_bound(name, bound, dimensions).problem for name, bound in value.items()}
    errors: dict[str | Path, str] = {name: _refusal(problem, value[name]) for name, problem in problems.items() if problem is not None}
    if errors:
        raise FieldErrors(errors)
    return value


def _refusal(problem: str, bound: object) -> str:
    return f"{problem}, not {shown(bound)}" if problem.startswith("must be ") else problem


Bounds = Annotated[dict[str, Any], PlainValidator(_bounds), WithJsonSchema(BOUNDS_SCHEMA)]
Domain = Annotated[str, AfterValidator(domain_named)]


class ConstraintsModel(Section):
    """What agents may spend, when, how often, on what, and with whom."""

    mode: Annotated[Interaction, Field(strict=False)] = Field(
        Interaction.CONJUNCTIVE,
        description="what must pass: with `conjunctive` all dimensions, `disjunctive` any, `independent` more than half, `hierarchical` "
        "the first one: of `global`, then of the category, then of the agent, in the order in which they are written",
    )
    enforcement: Annotated[Mode, Field(strict=False)] = Field(
        Mode.ENFORCE, description="`enforce`, `shadow` (reported, without effect) or `off`"
    )
    missing_context: MissingContext = Field(
        "fail", description="what follows where `action.context` lacks the key that a dimension looks at, and the service knows no better"
    )
    anti_gaming: Annotated[AntiGaming, Field(strict=False)] = Field(
        AntiGaming.FLAG, description="what follows from habits that game the bounds: `flag` them, `escalate` for an approval, or `block`"
    )
    internal_domains: Annotated[list[Domain], Distinct] = Field(
        default_factory=list,
        description="domains of one's own, for `communication`: `corp.example` and all below it, `*.corp.example` for what is below it "
        "alone; once some are given, a name is no longer internal by having the label `internal`",
    )
    global_: Bounds = Field(default_factory=dict, alias="global", description="bounds for every action")
    categories: dict[str, Bounds] = Field(default_factory=dict, description="bounds for the actions of a category")

    @model_validator(mode="after")
    def _names_each_category_once(self) -> "ConstraintsModel":
        errors: dict[str | Path, str] = {}
        seen: dict[str, str] = {}
        for name in self.categories:
            first = seen.setdefault(fold_name(name), name)
            if not fold_name(name):
                errors["categories", name] = "is no category: a name must not be empty"
            elif first != name:
                errors["categories", name] = f"is the category `{first}` once more: case does not matter"
        if errors:
            raise FieldErrors(errors)
        return self

    @property
    def by_category(self) -> Mapping[str, Mapping[str, Any]]:
        """The bounds by folded category."""
        return {fold_name(name): bounds for name, bounds in self.categories.items()}

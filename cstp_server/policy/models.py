"""The policy as it is written: strict models of its YAML (SPEC 12)."""

from typing import Annotated

from pydantic import Field, model_validator

from cstp_server.domain.facts import Stakes
from cstp_server.policy.circuit_models import CircuitModel
from cstp_server.policy.compiled import SelfReported
from cstp_server.policy.fields import Distinct, Expression, FoldedName, Section, TimeZone
from cstp_server.policy.guardrail_models import GuardrailModel


class ClassificationModel(Section):
    """Raises what an agent declares, before anything else looks at it. A condition that cannot be evaluated raises nothing."""

    when: Expression = Field(description="the condition, in CEL")
    stakes: Annotated[Stakes, Field(strict=False)] | None = Field(None, description="the least that is at stake")
    tags: Annotated[list[FoldedName], Distinct] = Field(default_factory=list, description="tags to add")
    category: FoldedName | None = Field(None, description="the category, where the agent declares none")

    @model_validator(mode="after")
    def _raises_something(self) -> "ClassificationModel":
        if self.stakes is None and not self.tags and self.category is None:
            raise ValueError("raises nothing: give `stakes`, `tags` or `category`")
        return self


class ReviewsModel(Section):
    """How reviews are taken."""

    self_reported: Annotated[SelfReported, Field(strict=False)] = Field(
        SelfReported.COUNT,
        description="what a review by the decision's own agent moves: `count` everything, `failures_only`, or with `ignore` nothing",
    )


class RetentionModel(Section):
    """How long things are kept."""

    decisions_days: int | None = Field(None, ge=1, le=36_500, description="days after which decisions are pruned; default never")


class PolicyModel(Section):
    """The whole policy. Every section is optional."""

    time_zone: TimeZone = Field("UTC", description="what calendar days and time windows are in")
    classification: list[ClassificationModel] = Field(default_factory=list, description="rules that raise what an agent declares")
    circuit_breakers: list[CircuitModel] = Field(default_factory=list, description="circuits that open on failures")
    guardrails: list[GuardrailModel] = Field(default_factory=list, description="rules that are checked before every decision")
    reviews: ReviewsModel = Field(default_factory=lambda: ReviewsModel.model_validate({}), description="how reviews are taken")
    retention: RetentionModel = Field(default_factory=lambda: RetentionModel.model_validate({}), description="how long things are kept")


SECTIONS = tuple(PolicyModel.model_fields)
LATER_SECTIONS = frozenset({"tripwires", "agents", "postures", "constraints", "trust", "notifications", "quality"})
"""Sections of the policy's format that this version does not know, and refuses: a limit that is not enforced is worse than an error."""

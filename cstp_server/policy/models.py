"""The policy as it is written: strict models of its YAML (SPEC 12)."""

from typing import Annotated

from pydantic import Field, model_validator

from cstp_server.domain.facts import Stakes
from cstp_server.policy.agent_models import AgentModel, QualityModel
from cstp_server.policy.circuit_models import CircuitModel
from cstp_server.policy.compiled import SelfReported
from cstp_server.policy.constraint_models import ConstraintsModel
from cstp_server.policy.fields import Distinct, Expression, FieldErrors, FoldedName, Path, Section, TimeZone
from cstp_server.policy.guardrail_models import GuardrailModel
from cstp_server.policy.notification_models import NotificationsModel
from cstp_server.policy.posture_models import PosturesModel
from cstp_server.policy.tightening import loosened
from cstp_server.policy.tripwire_models import TripwiresModel
from cstp_server.policy.trust_models import TrustModel


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
    events_days: int | None = Field(
        None, ge=1, le=36_500, description="days after which events are pruned, so that the rest can still be proven; default never"
    )


class PolicyModel(Section):
    """The whole policy. Every section is optional."""

    time_zone: TimeZone = Field("UTC", description="what calendar days and time windows are in")
    classification: list[ClassificationModel] = Field(default_factory=list, description="rules that raise what an agent declares")
    circuit_breakers: list[CircuitModel] = Field(default_factory=list, description="circuits that open on failures")
    guardrails: list[GuardrailModel] = Field(default_factory=list, description="rules that are checked before every decision")
    tripwires: TripwiresModel = Field(
        default_factory=lambda: TripwiresModel.model_validate({}), description="hard limits that act at once, whatever the reasoning"
    )
    agents: dict[str, AgentModel] = Field(default_factory=dict, description='what holds for single agents, and under `"*"` for all')
    quality: QualityModel | None = Field(None, description="the least quality that an agent's reasoning should have")
    postures: PosturesModel = Field(
        default_factory=lambda: PosturesModel.model_validate({}),
        description="how long decisions wait, who guards the postures of agents, and what a good record earns",
    )
    trust: TrustModel = Field(
        default_factory=lambda: TrustModel.model_validate({}), description="the trust between users and the AI, by user and domain"
    )
    constraints: ConstraintsModel = Field(
        default_factory=lambda: ConstraintsModel.model_validate({}),
        description="what agents may spend, when, how often, on what, and with whom",
    )
    notifications: NotificationsModel = Field(
        default_factory=lambda: NotificationsModel.model_validate({}), description="who is told of what happens, and how"
    )
    reviews: ReviewsModel = Field(default_factory=lambda: ReviewsModel.model_validate({}), description="how reviews are taken")
    retention: RetentionModel = Field(default_factory=lambda: RetentionModel.model_validate({}), description="how long things are kept")

    @model_validator(mode="after")
    def _agents_tighten(self) -> "PolicyModel":
        errors: dict[str | Path, str] = dict(loosened(self.tripwires, self.agents))
        if errors:
            raise FieldErrors(errors)
        return self

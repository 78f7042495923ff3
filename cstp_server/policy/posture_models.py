"""`postures` in the policy: how long decisions wait, who guards transitions, and what a good record earns (SPEC 8 and 12)."""

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field

from cstp_server.policy.cel import compile_predicate
from cstp_server.policy.cel_languages import TRANSITIONS
from cstp_server.policy.fields import Distinct, Id, Milliseconds, Section, Text, one_of

NO_POSTURE: Literal["none"] = "none"
PostureLabel: TypeAlias = Literal["full_autonomy", "assisted", "supervised", "human_decides", "blocked"]
LoweredLabel: TypeAlias = Literal["none", "assisted", "supervised", "human_decides", "blocked"]
EarnedLabel: TypeAlias = Literal["full_autonomy", "assisted", "supervised", "human_decides"]
GuardedTransition: TypeAlias = Literal["upgrade", "downgrade", "maintain"]


def _transition_expression(source: str) -> str:
    compile_predicate(source, TRANSITIONS)
    return source


PostureName = Annotated[PostureLabel, one_of(get_args(PostureLabel))]
LoweredName = Annotated[LoweredLabel, one_of(get_args(LoweredLabel))]
EarnedName = Annotated[EarnedLabel, one_of(get_args(EarnedLabel))]
TransitionName = Annotated[GuardedTransition, one_of(get_args(GuardedTransition))]
TransitionExpression = Annotated[str, AfterValidator(_transition_expression)]


class GuardModel(Section):
    """A guard of transitions."""

    name: Id = Field(description="what it is called in answers, as `blockedBy`, and in the history")
    applies_to: Annotated[list[TransitionName], Distinct] = Field(
        ["upgrade"], min_length=1, description="the transitions that it looks at; an emergency never asks a guard"
    )
    when: TransitionExpression = Field(
        description="the condition, in CEL over `request`, `metadata`, `agent`, `trust`: "
        "a transition passes where it is true, and only there"
    )
    reason: Text | None = Field(None, description="what somebody is told whom it refuses; default that its condition does not hold")


class EarnedModel(Section):
    """A posture that an agent earns by its record."""

    to: EarnedName = Field(description="the posture; each at most once")
    min_score: float = Field(ge=0, le=1, description="the least trust score, from 0 to 1")
    min_reviewed: int = Field(ge=1, le=1_000_000, description="the least number of reviewed outcomes within `score_window_ms`")
    auto: bool = Field(default=False, description="whether the agent is raised at once; else it is proposed, and waits for an approval")


class PosturesModel(Section):
    """How long decisions wait, who guards transitions, and what a good record earns."""

    approval_ttl_ms: Milliseconds = Field(
        3_600_000, description="how long an approval or a confirmation may be given, in ms; the decision expires then"
    )
    assisted_delay_ms: Milliseconds = Field(5_000, description="how long a delayed decision may be cancelled before it goes on, in ms")
    guards: list[GuardModel] = Field(
        default_factory=list, description="what must hold for a transition, in their order; the first that refuses decides"
    )
    earned: list[EarnedModel] = Field(default_factory=list, description="postures that agents earn by their record")
    score_window_ms: Milliseconds = Field(30 * 86_400_000, description="how long an outcome counts for the trust score, in ms")
    review_due_ms: Milliseconds = Field(86_400_000, description="how long after a decision its outcome should be known, in ms")
    min_review_coverage: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the share of due decisions that must have an outcome; below it nothing is earned, and the last step that was is lost",
    )

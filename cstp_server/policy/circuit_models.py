"""`circuit_breakers` in the policy (SPEC 5)."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cstp_server.domain.circuit_settings import Effect, OnSuccess
from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.findings import Mode
from cstp_server.domain.scopes import parse_scope
from cstp_server.policy.fields import Distinct, Id, Milliseconds, PositiveWeight, ScopeText, Section, Weight
from cstp_server.policy.posture_models import NO_POSTURE, LoweredName


class SeverityWeights(Section):
    """What a failure of each severity counts towards `failure_threshold`."""

    low: Weight = Field(0.5, description="weight of a failure of low severity")
    medium: Weight = Field(1.0, description="weight of a failure of medium severity, which is what a review means that names none")
    high: Weight = Field(2.0, description="weight of a failure of high severity")
    critical: Weight = Field(5.0, description="weight of a failure of critical severity")

    def of(self, severity: Severity) -> float:
        """The weight of a severity."""
        return float(getattr(self, severity.value))


class OnOpen(Section):
    """What an open circuit does."""

    effect: Annotated[Effect, Field(strict=False)] = Field(
        Effect.BLOCK, description="`block` refuses the decisions of the scope, `confirm` wants the user's confirmation for each"
    )
    downgrade_to: LoweredName = Field(
        NO_POSTURE,
        description="the posture that its agent is lowered to, or for another scope the agents whose failures opened it; never raises one",
    )


class CircuitModel(Section):
    """One circuit breaker, or a template with one circuit per value."""

    scope: ScopeText = Field(
        description="what the circuit watches over: `global`, `category:<name>`, `stakes:<level>`, `agent:<id>`, `tag:<name>` or "
        "`user:<id>/<domain>`; `*` as the value makes a template, and an exact scope beats it"
    )
    id: Id | None = Field(None, description="its name in findings; default from the scope: `category-tooling-breaker`")
    failure_threshold: PositiveWeight = Field(5.0, description="weighted failures in the window that open the circuit; may be fractional")
    failure_rate_threshold: float | None = Field(
        None, gt=0, le=1, description="share of failures among reviewed decisions in the window that opens the circuit as well; default off"
    )
    minimum_decisions: int = Field(10, ge=1, le=1_000_000, description="reviewed decisions in the window below which the rate says nothing")
    window_ms: Milliseconds = Field(3_600_000, description="how long an outcome counts, in ms")
    cooldown_ms: Milliseconds = Field(1_800_000, description="how long the circuit stays open before it lets probes through, in ms")
    cooldown_multiplier: float = Field(
        1.0, ge=1, le=100, description="what the cooldown is multiplied by for each re-opening until the circuit closes"
    )
    cooldown_max_ms: Milliseconds | None = Field(
        None, description="the longest cooldown that the multiplier makes, in ms; at least `cooldown_ms`"
    )
    half_open_probes: int = Field(1, ge=1, le=10_000, description="decisions that a half-open circuit lets through at a time")
    half_open_successes: int | None = Field(
        None, ge=1, le=1_000_000, description="probes that must be reviewed `success` to close the circuit; default `half_open_probes`"
    )
    half_open_tolerance: Weight = Field(0.0, description="weighted failures of probes that are borne before the circuit opens again")
    probe_timeout_ms: Milliseconds | None = Field(
        None, description="how long a probe may go without a review before its slot is free again, in ms; default `cooldown_ms`"
    )
    severity_weights: SeverityWeights = Field(
        default_factory=lambda: SeverityWeights.model_validate({}),
        description="what a failure weighs by its severity; those not named keep their default",
    )
    failure_outcomes: Annotated[list[Annotated[Outcome, Field(strict=False)]], Distinct] = Field(
        [Outcome.FAILURE], min_length=1, description="the outcomes that are failures; `success` cannot be one"
    )
    on_success: Annotated[OnSuccess, Field(strict=False)] = Field(
        OnSuccess.DECREMENT,
        description="what a success does to the failures held: `decrement` takes off the oldest, `reset` all of them, `none` none",
    )
    on_open: OnOpen = Field(default_factory=lambda: OnOpen.model_validate({}), description="what an open circuit does")
    on_close: Literal["restore", "keep"] = Field(
        "restore", description="whether a posture that the circuit lowered comes back when it closes"
    )
    min_distinct_agents: int = Field(1, ge=1, le=1_000_000, description="agents whose failures it takes to open the circuit")
    notify: bool = Field(default=True, description="whether its transitions raise alerts")
    mode: Annotated[Mode, Field(strict=False)] = Field(Mode.ENFORCE, description="`enforce`, `shadow` (does everything but block) or `off`")

    @field_validator("cooldown_max_ms")
    @classmethod
    def _reaches_the_cooldown(cls, value: int | None, info: ValidationInfo) -> int | None:
        cooldown = info.data.get("cooldown_ms", 0)
        if value is not None and value < cooldown:
            raise ValueError(f"must be at least `cooldown_ms` ({cooldown}), not `{value}`")
        return value

    @field_validator("failure_outcomes")
    @classmethod
    def _success_is_no_failure(cls, value: list[Outcome]) -> list[Outcome]:
        if Outcome.SUCCESS in value:
            raise ValueError("must not name `success`: a success is no failure")
        return value

    @property
    def effective_id(self) -> str:
        """The id, or the one that follows from the scope."""
        return self.id if self.id is not None else default_id(self.scope)


def default_id(scope: str) -> str:
    """The id of a circuit that is given none: `category-tooling-breaker`."""
    return f"{parse_scope(scope).slug}-breaker"

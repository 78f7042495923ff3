"""`cstp.recordDamage`, `recordSuccess`, `getAutonomyLevel`, `shouldRequireConfirmation`, `resetTrust` and `getTrustMetrics` (SPEC 10)."""

from typing import Annotated

from pydantic import Field

from cstp_server.domain.circuit_state import State
from cstp_server.domain.damage import MICRO, Damage, DamageType
from cstp_server.domain.facts import DEFAULT_USER_DOMAIN
from cstp_server.domain.findings import Mode
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.trust import TRUST_STATES, Recovery, RecoveryStatus
from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import DamageName, DecisionId, LegacyResult, Name, Number, Params, Result, Time, UserDomain, UserId, omitted
from cstp_server.services import trust
from cstp_server.services.requests import ConfirmationAnswer, TrustAnswer, TrustMetrics, TrustRequest, TrustView

_HOUR_MS = 3_600_000
_DIGITS = 6
"""Shares and hours are told to so many decimal places."""
_DOMAIN = f"the domain of trust, compared as it is written; `{DEFAULT_USER_DOMAIN}` when left out"
_CONTEXT = "a remark, for the record"
_ID = (
    "the caller's name for this telling: told again for the same user and domain, it is not counted again as long as it is among their "
    "latest 32; a damage and a success cannot share one"
)
DamageSeverity = Annotated[float, Field(gt=0, le=1)]


class DamageParams(Params):
    """Something that damaged a user's trust."""

    user_id: UserId
    domain: UserDomain | None = Field(default=None, description=_DOMAIN)
    damage_type: DamageName = Field(description="what went wrong; compared without case")
    severity: DamageSeverity | None = Field(default=None, description="how much of its weight counts, above 0; 1 when left out")
    context: str | None = Field(default=None, description=_CONTEXT)
    user_explicit: bool | None = Field(default=None, description="the user said so; it weighs half as much again")
    id: DecisionId | None = Field(default=None, description=_ID)


class SuccessParams(Params):
    """Something that the user was content with."""

    user_id: UserId
    domain: UserDomain | None = Field(default=None, description=_DOMAIN)
    context: str | None = Field(default=None, description=_CONTEXT)
    user_explicit: bool | None = Field(default=None, description="the user said so; for the record")
    id: DecisionId | None = Field(default=None, description=_ID)


class AutonomyParams(Params):
    """One user's trust in one domain."""

    user_id: UserId
    domain: UserDomain | None = Field(default=None, description=_DOMAIN)


class ConfirmationParams(Params):
    """An action that is to be taken for a user."""

    user_id: UserId
    domain: UserDomain | None = Field(default=None, description=_DOMAIN)
    action: Name | None = Field(
        default=None, description="the type of action, such as `file_write`; compared without case. One that is not named may be any"
    )


class ResetTrustParams(Params):
    """Make a user's trust whole again."""

    user_id: UserId
    domain: UserDomain | None = Field(default=None, description=_DOMAIN)
    reason: str | None = Field(default=None, description="why; it is kept")


class TrustMetricsParams(Params):
    """How all users stand; takes no params."""


class TrustRecordResult(Result):
    """What was counted, and how the user's trust stands after it."""

    success: bool
    id: str
    user_id: str
    domain: str
    previous_state: str
    state: str = Field(description="`full_autonomy`, `supervised` or `reduced_autonomy`")
    damage_score: Number = Field(description="what the damage within the window counts for now")
    damage_threshold: Number = Field(description="the score that reduces trust")
    weight: Number | None = omitted("what this damage counts for; it fades")
    duplicate: bool = Field(description="this had been told before, and was not counted again")
    recorded_at: Time

    @classmethod
    def of(cls, answer: TrustAnswer, *, damaged: bool) -> "TrustRecordResult":
        """The answer as it goes out."""
        after = answer.after
        return cls(
            success=True,
            id=answer.id,
            user_id=answer.user_id,
            domain=answer.domain,
            previous_state=answer.before.value,
            state=after.state.value,
            damage_score=after.damage_score,
            damage_threshold=after.damage_threshold,
            weight=answer.weight if damaged and not answer.duplicate else None,
            duplicate=answer.duplicate,
            recorded_at=answer.at,
        )


class RecoveryResult(Result):
    """How far trust has come back, from 0 to 1; that never falls while no damage comes."""

    status: str = Field(description="`full_autonomy`, `recovery_period` or `supervised_testing`")
    progress: Number
    successes: int = Field(description="since it is under test")
    required: int = Field(description="successes under test that restore it")
    time_remaining_hours: Number | None = omitted("until it is under test")

    @classmethod
    def of(cls, recovery: Recovery) -> "RecoveryResult":
        """The way back as it goes out."""
        waits = recovery.status is RecoveryStatus.RECOVERY_PERIOD and recovery.remaining_ms is not None
        return cls(
            status=recovery.status.value,
            progress=round(recovery.progress, _DIGITS),
            successes=recovery.successes,
            required=recovery.required,
            time_remaining_hours=_hours(recovery.remaining_ms or 0) if waits else None,
        )


class AutonomyResult(Result):
    """How freely the AI may act for the user now."""

    user_id: str
    domain: str
    state: str = Field(description="`full_autonomy`, `supervised` or `reduced_autonomy`")
    can_act_freely: bool = Field(description="nothing wants the user's confirmation")
    damage_score: Number = Field(description="what the damage within the window counts for now")
    damage_threshold: Number = Field(description="the score that reduces trust")
    time_in_state_hours: Number
    recovery_progress: RecoveryResult
    recent_damage_count: int = Field(description="how many damages the window holds")
    forced: bool | None = omitted("true where somebody has tripped it: it stays reduced until it is reset")
    mode: str | None = omitted("`shadow` where trust is only measured: whatever its state, nothing is asked")

    @classmethod
    def of(cls, view: TrustView) -> "AutonomyResult":
        """The trust as it goes out."""
        autonomy = view.autonomy
        return cls(
            user_id=view.user_id,
            domain=view.domain,
            state=autonomy.state.value,
            can_act_freely=autonomy.acts_freely,
            damage_score=autonomy.damage_score,
            damage_threshold=autonomy.damage_threshold,
            time_in_state_hours=_hours(autonomy.in_state_ms),
            recovery_progress=RecoveryResult.of(autonomy.recovery),
            recent_damage_count=autonomy.recent_damage,
            forced=autonomy.forced or None,
            mode=autonomy.mode.value if autonomy.mode is not Mode.ENFORCE else None,
        )


class ConfirmationResult(Result):
    """Whether the action wants the user's confirmation now, and why, or why not."""

    required: bool
    state: str
    reason: str

    @classmethod
    def of(cls, answer: ConfirmationAnswer) -> "ConfirmationResult":
        """The answer as it goes out."""
        return cls(required=answer.required, state=answer.state.value, reason=answer.reason)


class ResetTrustResult(Result):
    """What the reset did."""

    success: bool
    user_id: str
    domain: str
    previous_state: str
    state: str
    reset_by: str
    reset_at: Time


class TrustStatesResult(LegacyResult):
    """How many users' trust is in each state, counted by domain; of whom nothing was ever told, nothing is counted."""

    full_autonomy: int
    supervised: int
    reduced_autonomy: int


class TrustMetricsResult(Result):
    """How the users stand, as far as anything was ever told of them."""

    states: TrustStatesResult
    average_damage_score: Number
    recovery_rate: Number | None = Field(
        description="the share of the times under test that ended with trust restored; null while none has ended"
    )
    average_recovery_hours: Number | None = Field(description="from reduced to restored; null while nothing was restored")

    @classmethod
    def of(cls, metrics: TrustMetrics) -> "TrustMetricsResult":
        """The measures as they go out."""
        rate, hours = metrics.recovery_rate, metrics.average_recovery_hours
        return cls(
            states=TrustStatesResult(**{state.value: count for state, count in metrics.states.items()}),
            average_damage_score=round(metrics.average_damage, _DIGITS),
            recovery_rate=round(rate, _DIGITS) if rate is not None else None,
            average_recovery_hours=round(hours, _DIGITS) if hours is not None else None,
        )


async def record_damage(context: Context, params: DamageParams) -> TrustRecordResult | Refusal:
    """Count a damage."""
    severity = params.severity if params.severity is not None else 1
    explicit = params.user_explicit is True
    damage = Damage(DamageType(params.damage_type), max(1, round(severity * MICRO)), explicit)
    return await _record(context, TrustRequest(params.user_id, _domain(params.domain), damage, explicit, params.context, params.id))


async def record_success(context: Context, params: SuccessParams) -> TrustRecordResult | Refusal:
    """Count a success."""
    explicit = params.user_explicit is True
    return await _record(context, TrustRequest(params.user_id, _domain(params.domain), None, explicit, params.context, params.id))


async def _record(context: Context, request: TrustRequest) -> TrustRecordResult | Refusal:
    answer = await trust.record(context.services.transactor, context.caller, request)
    return answer if isinstance(answer, Refusal) else TrustRecordResult.of(answer, damaged=request.damage is not None)


async def autonomy_level(context: Context, params: AutonomyParams) -> AutonomyResult | Refusal:
    """How one user's trust stands."""
    services = context.services
    view = await trust.autonomy(services.reader, services.policy_source.current, context.caller, params.user_id, _domain(params.domain))
    return view if isinstance(view, Refusal) else AutonomyResult.of(view)


async def should_require_confirmation(context: Context, params: ConfirmationParams) -> ConfirmationResult | Refusal:
    """Whether an action wants the user's confirmation."""
    services = context.services
    answer = await trust.confirmation(
        services.reader, services.policy_source.current, context.caller, params.user_id, _domain(params.domain), params.action
    )
    return answer if isinstance(answer, Refusal) else ConfirmationResult.of(answer)


async def reset(context: Context, params: ResetTrustParams) -> ResetTrustResult | Refusal:
    """Make one user's trust whole again."""
    services, domain = context.services, _domain(params.domain)
    answer = await trust.reset(services.transactor, services.policy_source.current, context.caller, params.user_id, domain, params.reason)
    if isinstance(answer, Refusal):
        return answer
    move = answer.move
    return ResetTrustResult(
        success=True,
        user_id=params.user_id,
        domain=domain,
        previous_state=TRUST_STATES[State(move.previous_state)].value,
        state=TRUST_STATES[State(move.state)].value,
        reset_by=answer.by,
        reset_at=answer.at,
    )


async def metrics(context: Context, _params: TrustMetricsParams) -> TrustMetricsResult:
    """How all users of the tenant stand."""
    services = context.services
    return TrustMetricsResult.of(await trust.metrics(services.reader, services.policy_source.current, context.caller))


def _domain(given: str | None) -> str:
    return given if given is not None else DEFAULT_USER_DOMAIN


def _hours(ms: int) -> float:
    return round(ms / _HOUR_MS, _DIGITS)

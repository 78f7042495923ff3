"""`cstp.getMetrics` (SPEC 11)."""

from pydantic import Field

from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import LegacyResult, Number, Params, Result, TimeParam
from cstp_server.services import metrics
from cstp_server.services.requests import GovernanceMetrics

_DIGITS = 6
"""Means and shares are told to so many decimal places."""


class MetricsParams(Params):
    """From when on to count."""

    since: TimeParam | None = Field(
        default=None,
        description="only what happened from this time on, evaluations from the start of its hour; agents are counted as they are now",
    )


class PostureDistributionResult(LegacyResult):
    """How many agents have each posture now: every agent that has decisions, or was ever moved."""

    full_autonomy: int
    assisted: int
    supervised: int
    human_decides: int
    blocked: int


class TransitionsResult(LegacyResult):
    """How often agents were moved, by type, whoever or whatever moved them; attempts that were refused are not counted."""

    upgrade: int
    downgrade: int
    maintain: int
    emergency_downgrade: int


class MetricsResult(Result):
    """How the tenant's agents stand, what moved them, and how evaluations of constraints turned out; the same from every process."""

    posture_distribution: PostureDistributionResult
    average_posture_level: Number | None = Field(description="from 1 (all blocked) to 5 (all autonomous); null while there is no agent")
    transitions_by_type: TransitionsResult
    circuit_breaker_opens: int = Field(description="how often circuits opened, by failures or by force")
    emergency_downgrades: int = Field(description="by somebody, or by a tripwire that halts; also among `transitionsByType`")
    evaluations_total: int = Field(
        description="evaluations of constraints, at checks and on demand; those of a mere viewer are not counted"
    )
    evaluations_passed: int
    pass_rate: Number | None = Field(description="the share that passed; null while there is none")
    dimension_failures: dict[str, int] = Field(description="how often each dimension was not satisfied; what there is not is `other`")
    anti_gaming_flags: dict[str, int] = Field(description="what agents' habits showed, by kind: `boundary_pushing`, `constraint_splitting`")
    average_evaluation_time_ms: Number | None = Field(description="what an evaluation takes, without the store; null while there is none")

    @classmethod
    def of(cls, found: GovernanceMetrics) -> "MetricsResult":
        """The measures as they go out."""
        evaluations, level = found.evaluations, found.average_level
        return cls(
            posture_distribution=PostureDistributionResult(**{posture.label: count for posture, count in found.agents.items()}),
            average_posture_level=round(level, _DIGITS) if level is not None else None,
            transitions_by_type=TransitionsResult(**{kind.value: count for kind, count in found.moves.items()}),
            circuit_breaker_opens=found.openings,
            emergency_downgrades=found.emergencies,
            evaluations_total=evaluations.total,
            evaluations_passed=evaluations.passed,
            pass_rate=round(evaluations.passed / evaluations.total, _DIGITS) if evaluations.total else None,
            dimension_failures=dict(evaluations.failures),
            anti_gaming_flags=dict(evaluations.flags),
            average_evaluation_time_ms=round(evaluations.average_ms, _DIGITS) if evaluations.average_ms is not None else None,
        )


async def get(context: Context, params: MetricsParams) -> MetricsResult:
    """How the tenant's agents stand, and what happened."""
    services = context.services
    return MetricsResult.of(await metrics.metrics(services.reader, services.policy_source.current, context.caller, since=params.since))

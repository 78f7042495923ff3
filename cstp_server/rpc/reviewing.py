"""`cstp.reviewDecision` (SPEC 4)."""

from typing import Annotated

from pydantic import Field

from cstp_server.domain.decisions import Outcome, Review, ReviewAnswer, Severity
from cstp_server.domain.refusals import Refusal
from cstp_server.rpc.actions import CheckParams, check_request
from cstp_server.rpc.context import Context
from cstp_server.rpc.errors import BadParams
from cstp_server.rpc.limits import Limits
from cstp_server.rpc.wire import DamageName, DecisionId, OutcomeName, Params, Result, SeverityName, Time, taken_id
from cstp_server.services import reviewing
from cstp_server.services.requests import CheckRequest, ReviewRequest

_DETAILS = (
    "error_type",
    "damage_type",
    "user_explicit",
    "actual_cost",
    "actual_result",
    "lessons",
    "notes",
    "affected_kpis",
)


class ReviewParams(Params):
    """How a decision turned out."""

    id: DecisionId = taken_id("the decision; also taken as `decisionId`")
    outcome: OutcomeName
    severity: SeverityName | None = Field(default=None, description="how bad a failure was; `medium` when left out")
    error_type: str | None = None
    damage_type: DamageName | None = Field(default=None, description="what a failure did to the user's trust; `wrong_answer` when left out")
    user_explicit: bool | None = Field(default=None, description="the user said so; damage to their trust weighs half as much again")
    actual_cost: Annotated[float, Field(ge=0)] | None = None
    actual_result: str | None = None
    lessons: str | None = None
    notes: str | None = None
    affected_kpis: dict[str, float] | None = Field(default=None, description="by how much each moved")
    amend: bool | None = Field(default=None, description="replace an earlier review; takes the role `ops`")
    decision: CheckParams | None = Field(default=None, description="the context of a decision that was never checked here")


class CircuitMoveResult(Result):
    """What the review did to one circuit."""

    scope: str
    previous_state: str
    state: str
    failure_count: int


class ReviewResult(Result):
    """The answer to a review; `duplicate` says that it had been counted before."""

    success: bool
    id: str
    status: str
    reviewed_at: Time
    outcome: str
    circuits: list[CircuitMoveResult]
    duplicate: bool
    self_reported: bool

    @classmethod
    def of(cls, answer: ReviewAnswer) -> "ReviewResult":
        """The answer as it goes out."""
        return cls(
            success=True,
            id=answer.id,
            status="reviewed",
            reviewed_at=answer.reviewed_at,
            outcome=answer.outcome.value,
            circuits=[
                CircuitMoveResult(scope=move.scope, previous_state=move.previous_state, state=move.state, failure_count=move.failure_count)
                for move in answer.circuits
            ],
            duplicate=answer.duplicate,
            self_reported=answer.self_reported,
        )


async def review(context: Context, params: ReviewParams) -> ReviewResult | Refusal:
    """Count an outcome."""
    services = context.services
    request = ReviewRequest(
        id=params.id,
        review=Review(
            outcome=Outcome(params.outcome),
            severity=Severity(params.severity) if params.severity is not None else Severity.MEDIUM,
            details={name: value for name in _DETAILS if (value := getattr(params, name)) is not None},
        ),
        amend=params.amend is True,
        inline=_inline(params.id, params.decision, services.limits) if params.decision is not None else None,
    )
    context.concerns(params.id)
    answer = await reviewing.review(services.transactor, context.caller, request)
    return answer if isinstance(answer, Refusal) else ReviewResult.of(answer)


def _inline(id: str, decision: CheckParams, limits: Limits) -> CheckRequest:
    """The context of a decision that was never checked here; what it says must be what the review does."""
    if decision.decision_id is not None and decision.decision_id != id:
        raise BadParams("decision.decisionId", "must agree with `id`: give one of them")
    if decision.dry_run:
        raise BadParams("decision.dryRun", "must not be true: a review is stored")
    return check_request(decision, limits, "decision.")

"""`cstp.getDecision` and `cstp.listDecisions` (SPEC 4)."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from cstp_server.domain.decisions import Decision, Outcome, Resolved, Reviewed, Status
from cstp_server.domain.facts import fold_name
from cstp_server.domain.refusals import Refusal
from cstp_server.rpc.checking import CheckResult
from cstp_server.rpc.context import Context
from cstp_server.rpc.cursors import timed_cursor, timed_place
from cstp_server.rpc.pending import PendingResult
from cstp_server.rpc.wire import DecisionId, JsonObject, Limit, Name, OutcomeName, Params, Result, Time, TimeParam, omitted, taken_id
from cstp_server.services import decisions
from cstp_server.services.ports import DecisionQuery

StatusName = Literal["allowed", "blocked", "pending", "approved", "denied", "cancelled", "expired", "reviewed"]
DEFAULT_LIMIT = 50


class GetDecisionParams(Params):
    """One decision."""

    id: DecisionId = taken_id("the decision; also taken as `decisionId`")


class ListDecisionsParams(Params):
    """Which decisions to list, newest first."""

    status: StatusName | None = None
    agent: Name | None = None
    category: Name | None = Field(default=None, description="compared without case")
    outcome: OutcomeName | None = None
    since: TimeParam | None = Field(default=None, description="only decisions from this time on")
    limit: Limit | None = Field(default=None, description=f"{DEFAULT_LIMIT} when left out")
    cursor: str | None = Field(default=None, description="the `nextCursor` of an earlier answer")


class ReviewOnRecord(Result):
    """A decision's review."""

    outcome: str
    severity: str
    reviewed_at: Time
    reviewed_by: str
    self_reported: bool
    error_type: str | None = omitted()
    damage_type: str | None = omitted()
    user_explicit: bool | None = omitted()
    actual_cost: float | None = omitted()
    actual_result: str | None = omitted()
    lessons: str | None = omitted()
    notes: str | None = omitted()
    affected_kpis: dict[str, float] | None = omitted()


class ResolutionOnRecord(Result):
    """How a decision that waited was settled: as what, by whom, when and why."""

    status: str
    by: str
    at: Time
    reason: str | None = omitted()
    note: str | None = omitted()

    @classmethod
    def of(cls, resolved: Resolved | None) -> "ResolutionOnRecord | None":
        """How it was settled as it goes out; none when it never was."""
        if resolved is None:
            return None
        return cls(status=resolved.status.value, by=resolved.by, at=resolved.at, reason=resolved.reason, note=resolved.note)


class DecisionResult(Result):
    """A decision on record. `decision` and `summary` are the description, `date` is `createdAt`: CSTP's names for them."""

    id: str
    status: str
    source: str
    description: str
    decision: str
    summary: str
    type: str | None
    category: str | None
    stakes: str
    confidence: float | None
    ctq: float | None
    tags: list[str]
    parameters: JsonObject
    action_context: JsonObject = Field(description="what guards could ask about")
    agent_id: str
    user_id: str | None
    user_domain: str
    intervention: str
    policy_version: str
    principal: str
    created_at: Time
    date: Time
    outcome: str | None
    review: ReviewOnRecord | None
    pending: PendingResult | None = Field(description="what it waits for, while it does")
    resolution: ResolutionOnRecord | None = Field(description="how it was settled, when it had waited")
    answer: CheckResult | None = Field(description="what was answered, when it was checked")
    context: str | None = omitted("the situation, as it was recorded")
    agent: JsonObject | None = omitted("what was said of the agent besides its id")
    reasons: list[Any] | None = omitted()
    pattern: str | None = omitted()
    bridge: JsonObject | None = omitted()
    deliberation: JsonObject | None = omitted()
    trace: list[Any] | None = omitted()
    related_to: list[Any] | None = Field(default=None, serialization_alias="related_to", exclude_if=lambda value: value is None)
    kpi_indicators: list[Any] | None = omitted()
    mental_state: str | None = omitted()
    review_in: str | None = omitted()
    pre_decision: JsonObject | None = omitted()
    project: str | None = omitted()
    feature: str | None = omitted()
    pr: int | None = omitted()
    file: str | None = omitted()
    line: int | None = omitted()
    commit: str | None = omitted()
    project_context: JsonObject | None = omitted()

    @classmethod
    def of(cls, decision: Decision) -> "DecisionResult":
        """The decision as it goes out."""
        facts, reviewed = decision.facts, decision.reviewed
        return cls(
            id=decision.id,
            status=decision.status.value,
            source=decision.source.value,
            description=facts.description,
            decision=facts.description,
            summary=facts.description,
            type=facts.type,
            category=facts.category,
            stakes=facts.stakes.value,
            confidence=facts.confidence,
            ctq=facts.ctq,
            tags=list(facts.tags),
            parameters=dict(facts.parameters),
            action_context=dict(facts.context),
            agent_id=facts.agent_id,
            user_id=facts.user_id,
            user_domain=facts.user_domain,
            intervention=decision.intervention.label,
            policy_version=decision.policy_version,
            principal=decision.principal,
            created_at=decision.at,
            date=decision.at,
            outcome=reviewed.review.outcome.value if reviewed is not None else None,
            review=_review(reviewed) if reviewed is not None else None,
            pending=PendingResult.of(decision.waits_for),
            resolution=ResolutionOnRecord.of(decision.resolved),
            answer=CheckResult.of(decision.answer) if decision.answer is not None else None,
            **_known(facts.details, cls),
        )


class GetDecisionResult(Result):
    """A decision that is there; one that is not is an error."""

    found: bool
    decision: DecisionResult


class ListDecisionsResult(Result):
    """Some decisions, newest first; `nextCursor` leads to the next ones, and is null when there are none."""

    decisions: list[DecisionResult]
    count: int
    next_cursor: str | None


async def get(context: Context, params: GetDecisionParams) -> GetDecisionResult | Refusal:
    """One decision of the caller's tenant."""
    context.concerns(params.id)
    decision = await decisions.get(context.services.transactor, context.services.reader, context.caller, params.id)
    return decision if isinstance(decision, Refusal) else GetDecisionResult(found=True, decision=DecisionResult.of(decision))


async def list_decisions(context: Context, params: ListDecisionsParams) -> ListDecisionsResult:
    """The decisions that match, a page at a time."""
    limit = params.limit if params.limit is not None else DEFAULT_LIMIT
    query = DecisionQuery(
        status=Status(params.status) if params.status is not None else None,
        agent=params.agent,
        category=fold_name(params.category) if params.category is not None else None,
        outcome=Outcome(params.outcome) if params.outcome is not None else None,
        since=params.since,
        before=timed_place(params.cursor) if params.cursor is not None else None,
        limit=limit + 1,
    )
    found = await decisions.list_decisions(context.services.reader, context.caller, query)
    page = found[:limit]
    more = timed_cursor(page[-1].at, page[-1].id) if len(found) > limit else None
    return ListDecisionsResult(decisions=[DecisionResult.of(decision) for decision in page], count=len(page), next_cursor=more)


def _review(reviewed: Reviewed) -> ReviewOnRecord:
    review, answer = reviewed.review, reviewed.answer
    return ReviewOnRecord(
        outcome=review.outcome.value,
        severity=review.severity.value,
        reviewed_at=answer.reviewed_at,
        reviewed_by=reviewed.by,
        self_reported=answer.self_reported,
        **_known(review.details, ReviewOnRecord),
    )


def _known(details: Mapping[str, Any], model: type[Result]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name in model.model_fields}

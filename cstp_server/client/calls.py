"""The methods of the service, each as a description of one call: what to send, how to read the answer, and whether it may be sent twice.

`Client` and `AsyncClient` carry the same ones out. A call may be repeated when a second delivery changes nothing: a check and a record
carry a decision id of the client's own making, a repeated review is known as a duplicate, and reads read. `trip_circuit` is repeated
too, because a second trip can only leave the circuit forced open. `reset_circuit` is not, unless the server certainly did not carry out
the first: a second reset could wipe away what went wrong in between. A second resolution changes nothing and is a conflict. An
emergency downgrade is repeated like a trip; a transition is not, or it could undo an emergency that came in between. A dimension is
rejected like that, and approved like this. An evaluation of constraints is not repeated: each counts for the agent's habits. What is
told of a user's trust carries an id and counts once; a reset of trust is like that of a circuit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from cstp_server.client.decoding import decode
from cstp_server.client.errors import BadAnswer
from cstp_server.client.proposals import Interaction, Outcome, PostureName, Proposal, Resolution, Severity, Stakes, TrustDamageType, given
from cstp_server.client.results import (
    AutonomyLevel,
    Awaited,
    Check,
    Circuit,
    CircuitChange,
    CircuitPage,
    Confirmation,
    Decision,
    DecisionPage,
    Dimension,
    Dimensions,
    Evaluation,
    EventPage,
    Guardrails,
    History,
    Metrics,
    Posture,
    PostureChange,
    PostureHistory,
    Raw,
    Recorded,
    Reloaded,
    Resolved,
    Review,
    Tightening,
    TripwireStats,
    TrustMetrics,
    TrustRecord,
    TrustReset,
)
from cstp_server.clock import new_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call. `repeatable`: to deliver it twice does what once does. `waits`: so many seconds the server may take its time."""

    method: str
    params: Mapping[str, Any]
    read: Callable[[Any], T]
    repeatable: bool = True
    waits: float = 0.0


def check(
    description: str,
    *,
    type: str | None = None,
    category: str | None = None,
    stakes: Stakes | str | None = None,
    confidence: float | None = None,
    tags: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    agent: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    ctq: float | None = None,
    decision_id: str | None = None,
    dry_run: bool = False,
) -> Call[Check]:
    """Ask whether an action may go on; `allowed` of the answer says it.

    Without a `decision_id` the client makes one, so that a lost answer can be asked for again and nothing counts twice.
    `dry_run` evaluates and stores nothing. An answer with `pending` is not allowed yet: `await_decision` tells when it is.

        answer = client.check("Refund order 1142", type="issue_refund", stakes="high", parameters={"amount": 1000})
        if answer.allowed:
            ...
    """
    proposal = Proposal(description, type, category, stakes, confidence, tags, parameters or {}, context or {}, agent, user, domain, ctq)
    return check_proposal(proposal, decision_id, dry_run=dry_run)


def check_proposal(proposal: Proposal, decision_id: str | None = None, *, dry_run: bool = False) -> Call[Check]:
    """Ask whether a proposal may go on; like `check`, for an action that is at hand as a value."""
    if decision_id is None and not dry_run:
        decision_id = new_id("dec")
    params = proposal.to_params() | given(decisionId=decision_id, dryRun=dry_run or None)
    return Call("cstp.checkGuardrails", params, _read_check)


def await_step(id: str, timeout_ms: int) -> Call[Awaited]:
    """How a decision stands once it waits no more, or after so long, 60000 ms at most. `await_decision` waits longer than that."""
    return Call("cstp.awaitDecision", {"id": id, "timeoutMs": timeout_ms}, _read_awaited, waits=timeout_ms / 1000)


def resolve_step(id: str, resolution: Resolution | str, note: str | None = None) -> Call[Resolved]:
    """Settle a decision that waits. `resolve_decision` also sees to an answer that was lost."""
    params = given(id=id, resolution=resolution, note=note)
    return Call("cstp.resolveDecision", params, partial(decode, Resolved))


def events_page(
    *,
    types: Sequence[str] | None = None,
    subject: str | None = None,
    since: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[EventPage]:
    """Some events, newest first; `since` is an RFC 3339 time. `list_events` goes through all pages. Needs the role `viewer`."""
    chosen = list(types) if types is not None else None
    params = given(types=chosen, subject=subject, since=since, limit=limit, cursor=cursor)
    return Call("cstp.listEvents", params, partial(decode, EventPage))


def tripwire_stats(*, since: str | None = None, agent: str | None = None) -> Call[TripwireStats]:
    """How often actions ran into tripwires; `since` is an RFC 3339 time. Needs the role `viewer`.

    client.tripwire_stats(agent="refund-bot").total
    """
    return Call("cstp.getTripwireStats", given(since=since, agent=agent), partial(decode, TripwireStats))


def metrics(*, since: str | None = None) -> Call[Metrics]:
    """How agents stand, what moved them, and how evaluations turned out; `since` is an RFC 3339 time. Needs the role `viewer`.

    client.metrics(since="2026-02-01T00:00:00Z").average_posture_level
    """
    return Call("cstp.getMetrics", given(since=since), partial(decode, Metrics))


def review(
    id: str,
    outcome: Outcome | str,
    *,
    severity: Severity | str | None = None,
    error_type: str | None = None,
    damage_type: TrustDamageType | str | None = None,
    user_explicit: bool | None = None,
    actual_cost: float | None = None,
    actual_result: str | None = None,
    lessons: str | None = None,
    notes: str | None = None,
    affected_kpis: Mapping[str, Any] | None = None,
    amend: bool = False,
    decision: Proposal | None = None,
) -> Call[Review]:
    """Report how a decision turned out (SPEC 4). Needs the role `ci`; `amend`, which corrects an earlier review, `ops`.

    `decision` describes one that was never checked; without it an unknown id is `DecisionNotFound`.

        client.review("dec_01J…", "failure", severity="high", error_type="Timeout")
    """
    params = given(
        id=id,
        outcome=outcome,
        severity=severity,
        errorType=error_type,
        damageType=damage_type,
        userExplicit=user_explicit,
        actualCost=actual_cost,
        actualResult=actual_result,
        lessons=lessons,
        notes=notes,
        affectedKpis=affected_kpis,
        amend=amend or None,
        decision=decision.to_params() if decision is not None else None,
    )
    return Call("cstp.reviewDecision", params, partial(decode, Review))


def record_decision(
    decision: str,
    *,
    type: str | None = None,
    confidence: float | None = None,
    category: str | None = None,
    stakes: Stakes | str | None = None,
    context: str | Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    reasons: Sequence[Mapping[str, Any]] | None = None,
    pattern: str | None = None,
    tags: Sequence[str] = (),
    agent: str | None = None,
    decision_id: str | None = None,
) -> Call[Recorded]:
    """Store a decision that was taken without asking; the answer holds what the guards would have said.

    client.record_decision("use SQLite for the cache", confidence=0.8, category="architecture", stakes="low")
    """
    params = given(
        decision=decision,
        decisionId=decision_id if decision_id is not None else new_id("dec"),
        type=type,
        confidence=confidence,
        category=category,
        stakes=stakes,
        context=context,
        parameters=parameters,
        reasons=list(reasons) if reasons is not None else None,
        pattern=pattern,
        tags=list(tags) or None,
        agent={"id": agent} if agent is not None else None,
    )
    return Call("cstp.recordDecision", params, partial(decode, Recorded))


def get_decision(id: str) -> Call[Decision]:
    """One decision on record.

    client.get_decision("dec_01J…").status
    """
    return Call("cstp.getDecision", {"id": id}, _read_decision)


def decisions_page(
    *,
    status: str | None = None,
    agent: str | None = None,
    category: str | None = None,
    outcome: Outcome | str | None = None,
    since: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[DecisionPage]:
    """Some decisions, newest first; `since` is an RFC 3339 time. `list_decisions` goes through all pages."""
    params = given(status=status, agent=agent, category=category, outcome=outcome, since=since, limit=limit, cursor=cursor)
    return Call("cstp.listDecisions", params, _read_decisions)


def circuit_state(scope: str) -> Call[Circuit]:
    """One circuit as it is now.

    client.circuit_state("category:tooling").state
    """
    return Call("cstp.getCircuitState", {"scope": scope}, partial(decode, Circuit))


def circuits_page(
    *, state: str | None = None, prefix: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[CircuitPage]:
    """Some circuits, by scope. `list_circuits` goes through all pages."""
    return Call("cstp.listCircuits", given(state=state, prefix=prefix, limit=limit, cursor=cursor), partial(decode, CircuitPage))


def circuit_history(scope: str, *, limit: int | None = None) -> Call[History]:
    """The moves of one circuit, newest first.

    for move in client.circuit_history("category:tooling").transitions: ...
    """
    return Call("cstp.getCircuitHistory", given(scope=scope, limit=limit), partial(decode, History))


def reset_circuit(scope: str, *, probe_first: bool = False, reason: str | None = None) -> Call[CircuitChange]:
    """Close a circuit, or with `probe_first` make it half-open so that it proves itself. Needs the role `ops`.

    client.reset_circuit("category:tooling", probe_first=True, reason="fixed the build image")
    """
    params = given(scope=scope, probeFirst=probe_first or None, reason=reason)
    return Call("cstp.resetCircuit", params, partial(decode, CircuitChange), repeatable=False)


def trip_circuit(scope: str, *, reason: str) -> Call[CircuitChange]:
    """Force a circuit open until somebody resets it: the kill switch. Needs the role `ops`.

    client.trip_circuit("agent:refund-bot", reason="incident 42")
    """
    return Call("cstp.tripCircuit", {"scope": scope, "reason": reason}, partial(decode, CircuitChange))


def get_posture(agent: str) -> Call[Posture]:
    """How much autonomy an agent has, and how its record stands; an agent's token sees its own.

    client.get_posture("refund-bot").level
    """
    return Call("cstp.getPosture", {"agentId": agent}, partial(decode, Posture))


def transition_posture(
    agent: str,
    to_posture: PostureName | str,
    *,
    reason: str,
    from_posture: PostureName | str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Call[PostureChange]:
    """Move an agent to another posture, if every guard lets it: `success` of the answer says it. Needs the role `ops`.

    `metadata` is what guards may ask about. With `from_posture`, an agent that is not in it is left alone, and it is a `Conflict`.

        client.transition_posture("refund-bot", "assisted", reason="reliable over 30 days", metadata={"security_approved": True})
    """
    params = given(
        agentId=agent,
        toPosture=to_posture,
        fromPosture=from_posture,
        reason=reason,
        metadata=dict(metadata) if metadata else None,
    )
    return Call("cstp.transitionPosture", params, partial(decode, PostureChange), repeatable=False)


def emergency_downgrade(agent: str, *, reason: str) -> Call[PostureChange]:
    """Block an agent at once, past all guards; nothing that it has waiting goes on meanwhile. Needs the role `ops`.

    client.emergency_downgrade("refund-bot", reason="anomalous behaviour")
    """
    return Call("cstp.emergencyDowngrade", {"agentId": agent, "reason": reason}, partial(decode, PostureChange))


def posture_history(agent: str, *, limit: int | None = None) -> Call[PostureHistory]:
    """The attempts to move an agent, newest first, refused ones included; an agent's token sees its own.

    for attempt in client.posture_history("refund-bot").transitions: ...
    """
    return Call("cstp.getPostureHistory", given(agentId=agent, limit=limit), partial(decode, PostureHistory))


def record_damage(
    user: str,
    damage_type: TrustDamageType | str,
    *,
    domain: str | None = None,
    severity: float | None = None,
    context: str | None = None,
    user_explicit: bool = False,
    id: str | None = None,
) -> Call[TrustRecord]:
    """Say that something went wrong for a user, in one domain of trust. Needs one of the roles `agent`, `ci` and `ops`.

    `severity`, above 0 and at most 1, is how much of the type's weight counts. Without an `id` the client makes one, so that a lost
    answer can be asked for again and nothing counts twice.

        client.record_damage("user_123", TrustDamageType.WRONG_ANSWER, domain="code_review", context="Python 2 syntax")
    """
    params = given(
        userId=user,
        domain=domain,
        damageType=damage_type,
        severity=severity,
        context=context,
        userExplicit=user_explicit or None,
        id=id if id is not None else new_id("trust"),
    )
    return Call("cstp.recordDamage", params, partial(decode, TrustRecord))


def record_success(
    user: str, *, domain: str | None = None, context: str | None = None, user_explicit: bool = False, id: str | None = None
) -> Call[TrustRecord]:
    """Say that a user was content, which restores trust while it is under test. `id` and roles as for `record_damage`.

    client.record_success("user_123", domain="code_review", context="accepted without changes")
    """
    params = given(
        userId=user, domain=domain, context=context, userExplicit=user_explicit or None, id=id if id is not None else new_id("trust")
    )
    return Call("cstp.recordSuccess", params, partial(decode, TrustRecord))


def get_autonomy_level(user: str, *, domain: str | None = None) -> Call[AutonomyLevel]:
    """How freely the AI may act for a user, and how far trust has come back.

    client.get_autonomy_level("user_123", domain="code_review").can_act_freely
    """
    return Call("cstp.getAutonomyLevel", given(userId=user, domain=domain), partial(decode, AutonomyLevel))


def should_require_confirmation(user: str, action: str | None = None, *, domain: str | None = None) -> Call[Confirmation]:
    """Whether an action of that type wants the user's confirmation; one that is not named may be any. A check includes this.

    if client.should_require_confirmation("user_123", "file_write").required: ...
    """
    params = given(userId=user, domain=domain, action=action)
    return Call("cstp.shouldRequireConfirmation", params, partial(decode, Confirmation))


def reset_trust(user: str, *, domain: str | None = None, reason: str | None = None) -> Call[TrustReset]:
    """Make a user's trust whole again, whatever happened to it. Needs the role `ops`.

    client.reset_trust("user_123", domain="code_review", reason="the user asked for it")
    """
    params = given(userId=user, domain=domain, reason=reason)
    return Call("cstp.resetTrust", params, partial(decode, TrustReset), repeatable=False)


def trust_metrics() -> Call[TrustMetrics]:
    """How all users stand. Needs the role `viewer`.

    client.trust_metrics().states["reduced_autonomy"]
    """
    return Call("cstp.getTrustMetrics", {}, partial(decode, TrustMetrics))


def evaluate_constraints(
    constraints: Mapping[str, Any],
    context: Mapping[str, Any] | None = None,
    *,
    mode: Interaction | str | None = None,
    agent: str | None = None,
) -> Call[Evaluation]:
    """Hold a context against constraints; `satisfied` of the answer says whether it is within them.

    All dimensions must pass unless `mode` says otherwise. `agent` is whose habits it counts for: the token's, if it has one, or nobody's.

        client.evaluate_constraints({"cost_limit": 1000, "rate_limit": "100/minute"}, {"cost_used": 500, "requests_in_period": 50})
    """
    params = given(constraints=dict(constraints), context=dict(context) if context is not None else None, mode=mode, agentId=agent)
    return Call("cstp.evaluateConstraints", params, partial(decode, Evaluation), repeatable=False)


def validate_tightening(parent: Mapping[str, Any], child: Mapping[str, Any]) -> Call[Tightening]:
    """Whether `child` admits nothing that `parent` refuses; a dimension that it leaves out, it inherits.

    client.validate_tightening({"cost_limit": 100}, {"cost_limit": 50}).valid
    """
    return Call("cstp.validateTightening", {"parent": dict(parent), "child": dict(child)}, partial(decode, Tightening))


def list_dimensions() -> Call[Dimensions]:
    """Every dimension that constraints can have, and whether it may be used.

    [dimension.name for dimension in client.list_dimensions().dimensions if dimension.status == "pending"]
    """
    return Call("cstp.listDimensions", {}, partial(decode, Dimensions))


def approve_dimension(name: str, *, version: str | None = None, note: str | None = None) -> Call[Dimension]:
    """Let the installed version of a dimension be used, if it is still `version`. Needs the role `admin`.

    client.approve_dimension("token_limit", version="1.0.0", note="reads nothing but its own key")
    """
    params = given(name=name, version=version, note=note)
    return Call("cstp.approveDimension", params, partial(decode, Dimension), repeatable=False)


def reject_dimension(name: str, *, version: str | None = None, note: str | None = None) -> Call[Dimension]:
    """Let a dimension not be used, whatever was said of it before. Needs the role `admin`.

    client.reject_dimension("token_limit", note="it trusts what agents say of themselves")
    """
    params = given(name=name, version=version, note=note)
    return Call("cstp.rejectDimension", params, partial(decode, Dimension))


def list_guardrails(*, scope: str | None = None) -> Call[Guardrails]:
    """Every guard of the policy in force, of every type; with `scope`, only those of that scope and those that have none."""
    return Call("cstp.listGuardrails", given(scope=scope), partial(decode, Guardrails))


def reload_policy() -> Call[Reloaded]:
    """Have the server read its policy anew; a bad one changes nothing, and `problems` say why. Needs the role `admin`."""
    return Call("cstp.reloadPolicy", {}, partial(decode, Reloaded))


def discover() -> Call[Raw]:
    """The OpenRPC document of the server: its methods, their params and results."""
    return Call("rpc.discover", {}, _object)


def _object(data: object) -> Raw:
    if not isinstance(data, Mapping):
        raise BadAnswer("the answer is no object: is this a CSTP server?")
    return data


def _read_check(data: object) -> Check:
    check = decode(Check, data)
    return check if check.pending is None else replace(check, pending=replace(check.pending, decision_id=check.decision_id))


def _read_awaited(data: object) -> Awaited:
    awaited = decode(Awaited, data)
    return awaited if awaited.pending is None else replace(awaited, pending=replace(awaited.pending, decision_id=awaited.id))


def _read_decision(data: object) -> Decision:
    found = _object(data)
    return decode(Decision, found.get("decision"), "result.decision")


def _read_decisions(data: object) -> DecisionPage:
    return decode(DecisionPage, data)

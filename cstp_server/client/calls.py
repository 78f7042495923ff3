"""The methods of the service, each as a description of one call: what to send, how to read the answer, and whether it may be sent twice.

`Client` and `AsyncClient` carry the same ones out. A call may be repeated when a second delivery changes nothing: a check and a record
carry a decision id of the client's own making, a repeated review is known as a duplicate, and reads read. `trip_circuit` is repeated
too, because a second trip can only leave the circuit forced open. `reset_circuit` is not, unless the server certainly did not carry out
the first: a second reset could wipe away what went wrong in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from cstp_server.client.decoding import decode
from cstp_server.client.errors import BadAnswer
from cstp_server.client.proposals import Outcome, Proposal, Severity, Stakes, given
from cstp_server.client.results import (
    Check,
    Circuit,
    CircuitChange,
    CircuitPage,
    Decision,
    DecisionPage,
    Guardrails,
    History,
    Raw,
    Recorded,
    Reloaded,
    Review,
)
from cstp_server.clock import new_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call. `repeatable`: to deliver it twice does what once does."""

    method: str
    params: Mapping[str, Any]
    read: Callable[[Any], T]
    repeatable: bool = True


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
    decision_id: str | None = None,
    dry_run: bool = False,
) -> Call[Check]:
    """Ask whether an action may go on; `allowed` of the answer says it.

    Without a `decision_id` the client makes one, so that a lost answer can be asked for again and nothing counts twice.
    `dry_run` evaluates and stores nothing.

        answer = client.check("Refund order 1142", type="issue_refund", stakes="high", parameters={"amount": 1000})
        if answer.allowed:
            ...
    """
    proposal = Proposal(
        description, type, category, stakes, confidence, tags, parameters or {}, context or {}, agent=agent, user=user, domain=domain
    )
    return check_proposal(proposal, decision_id, dry_run=dry_run)


def check_proposal(proposal: Proposal, decision_id: str | None = None, *, dry_run: bool = False) -> Call[Check]:
    """Ask whether a proposal may go on; like `check`, for an action that is at hand as a value."""
    if decision_id is None and not dry_run:
        decision_id = new_id("dec")
    params = proposal.to_params() | given(decisionId=decision_id, dryRun=dry_run or None)
    return Call("cstp.checkGuardrails", params, partial(decode, Check))


def review(
    id: str,
    outcome: Outcome | str,
    *,
    severity: Severity | str | None = None,
    error_type: str | None = None,
    damage_type: str | None = None,
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


def _read_decision(data: object) -> Decision:
    found = _object(data)
    return decode(Decision, found.get("decision"), "result.decision")


def _read_decisions(data: object) -> DecisionPage:
    return decode(DecisionPage, data)

"""The table of methods: to add one touches its noun's file and this table."""

from collections.abc import Mapping
from functools import cache

from cstp_server.domain.callers import Role
from cstp_server.rpc import (
    awaiting,
    checking,
    circuits,
    decisions,
    examples,
    guardrails,
    openrpc,
    policy,
    postures,
    recording,
    resolving,
    reviewing,
    tripwires,
)
from cstp_server.rpc.actions import CheckParams
from cstp_server.rpc.context import Context
from cstp_server.rpc.dispatch import Procedure
from cstp_server.rpc.errors import Code
from cstp_server.rpc.method import AnyMethod, Method

_ANYONE = (Role.AGENT, Role.CI, Role.VIEWER, Role.OPS, Role.ADMIN)
_ALWAYS = (Code.INVALID_PARAMS, Code.INTERNAL_ERROR, Code.UNAUTHORIZED, Code.RATE_LIMITED)
_STORED = (*_ALWAYS, Code.STORE_UNAVAILABLE, Code.OVERLOADED)


@cache
def _document() -> openrpc.DiscoverResult:
    return openrpc.DiscoverResult(openrpc.document(METHODS))


async def _discover(_context: Context, _params: openrpc.DiscoverParams) -> openrpc.DiscoverResult:
    return _document()


METHODS: tuple[AnyMethod, ...] = (
    Method(
        "cstp.checkGuardrails",
        "May this action go on? Asks every guard, and stores the answer.",
        CheckParams,
        checking.CheckResult,
        checking.check,
        (Role.AGENT, Role.OPS),
        (*_STORED, Code.CONFLICT),
        examples.CHECK,
    ),
    Method(
        "cstp.reviewDecision",
        "How a decision turned out; moves the circuits of its recorded context.",
        reviewing.ReviewParams,
        reviewing.ReviewResult,
        reviewing.review,
        (Role.CI, Role.OPS),
        (*_STORED, Code.DECISION_NOT_FOUND, Code.CONFLICT),
        examples.REVIEW,
    ),
    Method(
        "cstp.awaitDecision",
        "Waits until a pending decision is settled, and answers how.",
        awaiting.AwaitParams,
        awaiting.AwaitResult,
        awaiting.await_decision,
        (Role.AGENT, Role.VIEWER),
        (*_STORED, Code.DECISION_NOT_FOUND),
        examples.AWAIT,
    ),
    Method(
        "cstp.resolveDecision",
        "Approves, denies, confirms or cancels a decision that waits; it is looked at again before it may go on.",
        resolving.ResolveParams,
        resolving.ResolveResult,
        resolving.resolve,
        (Role.AGENT, Role.OPS),
        (*_STORED, Code.DECISION_NOT_FOUND, Code.CONFLICT),
        examples.RESOLVE,
    ),
    Method(
        "cstp.getDecision",
        "One decision on record.",
        decisions.GetDecisionParams,
        decisions.GetDecisionResult,
        decisions.get,
        (Role.AGENT, Role.CI, Role.VIEWER),
        (*_STORED, Code.DECISION_NOT_FOUND),
        examples.GET_DECISION,
    ),
    Method(
        "cstp.listDecisions",
        "Decisions on record, newest first; an agent sees its own.",
        decisions.ListDecisionsParams,
        decisions.ListDecisionsResult,
        decisions.list_decisions,
        (Role.AGENT, Role.CI, Role.VIEWER),
        _STORED,
        examples.LIST_DECISIONS,
    ),
    Method(
        "cstp.recordDecision",
        "Stores a decision that was taken without asking.",
        recording.RecordParams,
        recording.RecordResult,
        recording.record,
        (Role.AGENT, Role.OPS),
        (*_STORED, Code.CONFLICT),
        examples.RECORD,
    ),
    Method(
        "cstp.getCircuitState",
        "One circuit as it is now.",
        circuits.CircuitParams,
        circuits.CircuitResult,
        circuits.get_state,
        (Role.AGENT, Role.VIEWER),
        (*_STORED, Code.CIRCUIT_NOT_FOUND),
        examples.CIRCUIT_STATE,
    ),
    Method(
        "cstp.listCircuits",
        "Circuits by scope.",
        circuits.ListCircuitsParams,
        circuits.ListCircuitsResult,
        circuits.list_circuits,
        (Role.AGENT, Role.VIEWER),
        _STORED,
        examples.LIST_CIRCUITS,
    ),
    Method(
        "cstp.listBreakers",
        "All circuits, in CSTP's own form.",
        circuits.ListBreakersParams,
        circuits.ListBreakersResult,
        circuits.list_breakers,
        (Role.AGENT, Role.VIEWER),
        _STORED,
        examples.LIST_BREAKERS,
    ),
    Method(
        "cstp.getCircuitHistory",
        "The moves of one circuit, newest first.",
        circuits.HistoryParams,
        circuits.HistoryResult,
        circuits.history,
        (Role.AGENT, Role.VIEWER),
        (*_STORED, Code.CIRCUIT_NOT_FOUND),
        examples.HISTORY,
    ),
    Method(
        "cstp.resetCircuit",
        "Closes a circuit and clears its window, or lets it prove itself first.",
        circuits.ResetParams,
        circuits.ResetResult,
        circuits.reset,
        (Role.OPS,),
        (*_STORED, Code.CIRCUIT_NOT_FOUND),
        examples.RESET,
    ),
    Method(
        "cstp.tripCircuit",
        "Forces a circuit open until it is reset: the kill switch.",
        circuits.TripParams,
        circuits.TripResult,
        circuits.trip,
        (Role.OPS,),
        (*_STORED, Code.CIRCUIT_NOT_FOUND),
        examples.TRIP,
    ),
    Method(
        "cstp.getPosture",
        "How much autonomy an agent has, since when and why, and how its record stands; an agent sees its own.",
        postures.PostureParams,
        postures.PostureResult,
        postures.get,
        (Role.AGENT, Role.VIEWER),
        _STORED,
        examples.GET_POSTURE,
    ),
    Method(
        "cstp.transitionPosture",
        "Moves an agent to another posture, if every guard lets it; one that does not is an answer, no error.",
        postures.TransitionParams,
        postures.TransitionOutcomeResult,
        postures.transition,
        (Role.OPS,),
        (*_STORED, Code.CONFLICT),
        examples.TRANSITION_POSTURE,
    ),
    Method(
        "cstp.emergencyDowngrade",
        "Blocks an agent at once, past all guards; nothing that it has waiting goes on while it is blocked.",
        postures.EmergencyParams,
        postures.TransitionOutcomeResult,
        postures.emergency,
        (Role.OPS,),
        _STORED,
        examples.EMERGENCY_DOWNGRADE,
    ),
    Method(
        "cstp.getPostureHistory",
        "The attempts to move an agent, newest first, refused ones included; an agent sees its own.",
        postures.PostureHistoryParams,
        postures.PostureHistoryResult,
        postures.history,
        (Role.AGENT, Role.VIEWER),
        _STORED,
        examples.POSTURE_HISTORY,
    ),
    Method(
        "cstp.getTripwireStats",
        "How often actions ran into tripwires, and whose.",
        tripwires.TripwireStatsParams,
        tripwires.TripwireStatsResult,
        tripwires.stats,
        (Role.VIEWER,),
        _STORED,
        examples.TRIPWIRE_STATS,
    ),
    Method(
        "cstp.listGuardrails",
        "Every guard of every type.",
        guardrails.ListGuardrailsParams,
        guardrails.ListGuardrailsResult,
        guardrails.list_guardrails,
        _ANYONE,
        _ALWAYS,
        examples.LIST_GUARDRAILS,
    ),
    Method(
        "cstp.reloadPolicy",
        "Reads the policy anew, in every process.",
        policy.ReloadParams,
        policy.ReloadResult,
        policy.reload,
        (Role.ADMIN,),
        _STORED,
        examples.RELOAD,
    ),
    Method(
        "rpc.discover",
        "This document: every method with its params, result and errors, as OpenRPC.",
        openrpc.DiscoverParams,
        openrpc.DiscoverResult,
        _discover,
        _ANYONE,
        _ALWAYS,
        examples.DISCOVER,
    ),
)


def procedures(methods: tuple[AnyMethod, ...] = METHODS) -> Mapping[str, Procedure]:
    """The table that the dispatcher works with."""
    return {method.name: method.procedure() for method in methods}

"""`cstp.getCircuitState`, `listCircuits`, `listBreakers`, `getCircuitHistory`, `resetCircuit` and `tripCircuit` (SPEC 5)."""

from typing import Literal

from pydantic import Field

from cstp_server.domain.refusals import Refusal
from cstp_server.domain.scopes import parse_scope
from cstp_server.rpc.context import Context
from cstp_server.rpc.cursors import cursor_of, place_of
from cstp_server.rpc.wire import LegacyResult, Limit, Number, Params, Result, ScopeText, Text, Time
from cstp_server.services import circuits, resetting
from cstp_server.services.requests import CircuitView, HistoryEntry, ScopeRequest

StateName = Literal["closed", "open", "half_open"]
DEFAULT_LIMIT = 100
_BREAKERS_AT_ONCE = 500


class CircuitParams(Params):
    """One circuit."""

    scope: ScopeText


class ListCircuitsParams(Params):
    """Which circuits to list, by scope."""

    state: StateName | None = None
    prefix: str | None = Field(default=None, max_length=768, description="of the scope, such as `agent:`")
    limit: Limit | None = Field(default=None, description=f"{DEFAULT_LIMIT} when left out")
    cursor: str | None = Field(default=None, description="the `nextCursor` of an earlier answer")


class ListBreakersParams(Params):
    """All circuits, in CSTP's own form; takes no params."""


class HistoryParams(Params):
    """The moves of one circuit, newest first."""

    scope: ScopeText
    limit: Limit | None = Field(default=None, description=f"{DEFAULT_LIMIT} when left out")


class ResetParams(Params):
    """Close a circuit and clear its window; with `probeFirst`, let it prove itself first."""

    scope: ScopeText
    probe_first: bool | None = None
    reason: str | None = None


class TripParams(Params):
    """Force a circuit open until it is reset."""

    scope: ScopeText
    reason: Text = Field(description="why; it is kept")


class CircuitResult(Result):
    """A circuit as it is now. `resetAt` is when it may be probed: none unless it is open by itself."""

    scope: str
    state: StateName
    failure_count: int
    failure_threshold: Number
    weighted_failures: Number
    failure_rate: float
    reviewed_count: int
    success_count: int
    last_failure: Time | None
    window_ms: int
    cooldown_ms: int
    opened_at: Time | None
    reset_at: Time | None
    cooldown_remaining_ms: int
    probes_in_flight: int
    probe_successes: int
    forced: bool
    mode: str
    policy_id: str
    from_config: bool

    @classmethod
    def of(cls, view: CircuitView) -> "CircuitResult":
        """The circuit as it goes out."""
        return cls(**{name: getattr(view, name) for name in cls.model_fields})


class ListCircuitsResult(Result):
    """Some circuits, by scope; `nextCursor` leads to the next ones, and is null when there are none."""

    circuits: list[CircuitResult]
    count: int
    next_cursor: str | None


class BreakerResult(LegacyResult):
    """A circuit in CSTP's own form."""

    scope: str
    state: StateName
    failure_count: int
    failure_threshold: Number
    window_ms: int
    cooldown_ms: int
    cooldown_remaining_ms: int | None
    from_config: bool


class ListBreakersResult(LegacyResult):
    """All circuits, sorted by scope."""

    breakers: list[BreakerResult]


class TransitionResult(Result):
    """One move of a circuit."""

    at: Time
    type: str
    previous_state: str
    state: str
    cause: str
    actor: str
    reason: str | None


class HistoryResult(Result):
    """The moves of a circuit, newest first."""

    scope: str
    transitions: list[TransitionResult]


class ResetResult(Result):
    """What the reset did."""

    scope: str
    previous_state: str
    new_state: str
    reset_by: str
    reset_at: Time
    message: str


class TripResult(Result):
    """What the trip did."""

    scope: str
    previous_state: str
    new_state: str
    tripped_by: str
    tripped_at: Time
    message: str


async def get_state(context: Context, params: CircuitParams) -> CircuitResult | Refusal:
    """One circuit as it is now."""
    services = context.services
    view = await circuits.get_state(services.reader, services.policy_source.current, context.caller, params.scope)
    return view if isinstance(view, Refusal) else CircuitResult.of(view)


async def list_circuits(context: Context, params: ListCircuitsParams) -> ListCircuitsResult:
    """The circuits that match, a page at a time."""
    services = context.services
    limit = params.limit if params.limit is not None else DEFAULT_LIMIT
    found = await circuits.list_circuits(
        services.reader,
        services.policy_source.current,
        context.caller,
        state=params.state,
        prefix=params.prefix,
        after=place_of(params.cursor) if params.cursor is not None else None,
        limit=limit + 1,
    )
    page = found[:limit]
    more = cursor_of(page[-1].scope) if len(found) > limit else None
    return ListCircuitsResult(circuits=[CircuitResult.of(view) for view in page], count=len(page), next_cursor=more)


async def list_breakers(context: Context, _params: ListBreakersParams) -> ListBreakersResult:
    """All circuits of the tenant."""
    services = context.services
    breakers: list[BreakerResult] = []
    after: str | None = None
    while True:
        page = await circuits.list_circuits(
            services.reader,
            services.policy_source.current,
            context.caller,
            state=None,
            prefix=None,
            after=after,
            limit=_BREAKERS_AT_ONCE,
        )
        breakers.extend(map(_breaker, page))
        if len(page) < _BREAKERS_AT_ONCE:
            return ListBreakersResult(breakers=breakers)
        after = page[-1].scope


async def history(context: Context, params: HistoryParams) -> HistoryResult | Refusal:
    """The moves of one circuit."""
    services = context.services
    limit = params.limit if params.limit is not None else DEFAULT_LIMIT
    found = await circuits.history(services.reader, services.policy_source.current, context.caller, params.scope, limit)
    if isinstance(found, Refusal):
        return found
    return HistoryResult(scope=str(parse_scope(params.scope)), transitions=[_transition(entry) for entry in found])


async def reset(context: Context, params: ResetParams) -> ResetResult | Refusal:
    """Close a circuit, or let it prove itself."""
    request = ScopeRequest(params.scope, params.reason, params.probe_first is True)
    answer = await resetting.reset(context.services.transactor, context.caller, request)
    if isinstance(answer, Refusal):
        return answer
    move = answer.move
    return ResetResult(
        scope=move.scope,
        previous_state=move.previous_state,
        new_state=move.state,
        reset_by=answer.by,
        reset_at=answer.at,
        message=answer.message,
    )


async def trip(context: Context, params: TripParams) -> TripResult | Refusal:
    """Force a circuit open."""
    answer = await resetting.trip(context.services.transactor, context.caller, ScopeRequest(params.scope, params.reason))
    if isinstance(answer, Refusal):
        return answer
    move = answer.move
    return TripResult(
        scope=move.scope,
        previous_state=move.previous_state,
        new_state=move.state,
        tripped_by=answer.by,
        tripped_at=answer.at,
        message=answer.message,
    )


def _breaker(view: CircuitView) -> BreakerResult:
    return BreakerResult(
        scope=view.scope,
        state=CircuitResult.of(view).state,
        failure_count=view.failure_count,
        failure_threshold=view.failure_threshold,
        window_ms=view.window_ms,
        cooldown_ms=view.cooldown_ms,
        cooldown_remaining_ms=view.cooldown_remaining_ms,
        from_config=view.from_config,
    )


def _transition(entry: HistoryEntry) -> TransitionResult:
    return TransitionResult(
        at=entry.at,
        type=entry.type,
        previous_state=entry.previous_state,
        state=entry.state,
        cause=entry.cause,
        actor=entry.actor,
        reason=entry.reason,
    )

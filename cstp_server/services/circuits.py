"""Circuits as callers see them (SPEC 5)."""

import heapq
from collections.abc import Iterable, Sequence

from cstp_server.domain import circuits as breaker
from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_findings import circuit_id
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.events import Event
from cstp_server.domain.refusals import CircuitNotFound, Refusal
from cstp_server.domain.scopes import parse_scope
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import CircuitRow, Reader
from cstp_server.services.requests import CircuitView, HistoryEntry
from cstp_server.services.scoping import covered


async def get_state(reader: Reader, policy: Policy, caller: Caller, scope: str) -> CircuitView | Refusal:
    """One circuit as it is now, time having passed for it."""
    found = covered(policy, scope)
    if isinstance(found, Refusal):
        return found
    row = await reader.circuit(caller.tenant, found.scope, found.settings)
    return view_of(row, found.settings, from_config=found.scope in policy.circuits.exact)


async def list_circuits(
    reader: Reader, policy: Policy, caller: Caller, *, state: str | None, prefix: str | None, after: str | None, limit: int
) -> Sequence[CircuitView]:
    """Circuits by scope: those in use, and those with an exact scope even before their first use.

    A page is full unless there are no more, whatever `state` filters out.
    """
    found: list[CircuitView] = []
    while len(found) < limit:
        page = await _page(reader, policy, caller, prefix=prefix, after=after, limit=limit)
        found.extend(view for view in page if state is None or view.state == state)
        if len(page) < limit:
            break
        after = page[-1].scope
    return found[:limit]


async def history(reader: Reader, policy: Policy, caller: Caller, scope: str, limit: int) -> Sequence[HistoryEntry] | Refusal:
    """The circuit's transitions, newest first; those of an archived circuit are still told."""
    found = covered(policy, scope)
    if isinstance(found, Refusal) and not isinstance(found, CircuitNotFound):
        return found
    events = await reader.transitions(caller.tenant, found.scope, limit)
    return found if isinstance(found, CircuitNotFound) and not events else [_history_entry(event) for event in events]


def view_of(row: CircuitRow, settings: CircuitSettings, *, from_config: bool) -> CircuitView:
    """The circuit together with its policy."""
    circuit, window = row.circuit, row.circuit.window
    return CircuitView(
        scope=circuit.scope,
        state=circuit.state.value,
        failure_count=window.failures,
        failure_threshold=settings.failure_threshold / MICRO,
        weighted_failures=breaker.held(circuit, settings, row.now) / MICRO,
        failure_rate=circuit.failure_rate,
        reviewed_count=window.reviewed,
        success_count=window.succeeded,
        last_failure=circuit.last_failure,
        window_ms=settings.window_ms,
        cooldown_ms=settings.cooldown_ms,
        opened_at=circuit.opened_at,
        reset_at=circuit.reset_at,
        cooldown_remaining_ms=max(0, circuit.reset_at - row.now) if circuit.reset_at is not None else 0,
        probes_in_flight=len(circuit.leases),
        probe_successes=circuit.probe_successes,
        forced=circuit.forced,
        mode=settings.mode.value,
        policy_id=circuit_id(circuit.scope, settings),
        from_config=from_config,
    )


async def _page(
    reader: Reader, policy: Policy, caller: Caller, *, prefix: str | None, after: str | None, limit: int
) -> Sequence[CircuitView]:
    stored = await reader.circuits(caller.tenant, policy, after=after, prefix=prefix, limit=limit)
    seen = {row.circuit.scope for row in stored}
    now = stored[0].now if stored else 0
    unused = (
        CircuitRow(Circuit(scope), now)
        for scope in sorted(policy.circuits.exact)
        if scope not in seen and (after is None or scope > after) and scope.startswith(prefix or "")
    )
    # A stored circuit beyond a full page must not be overtaken by an unused one that sorts after it.
    last = stored[-1].circuit.scope if len(stored) == limit else None
    candidates = heapq.merge(stored, (row for row in unused if last is None or row.circuit.scope < last), key=_scope_of)
    return [_view(row, policy) for row in _first(candidates, limit)]


def _first(rows: Iterable[CircuitRow], limit: int) -> Iterable[CircuitRow]:
    for taken, row in enumerate(rows):
        if taken == limit:
            return
        yield row


def _scope_of(row: CircuitRow) -> str:
    return row.circuit.scope


def _view(row: CircuitRow, policy: Policy) -> CircuitView:
    scope = row.circuit.scope
    settings = policy.circuits.covering(parse_scope(scope))
    if settings is None:
        raise LookupError(f"no policy covers `{scope}`")
    return view_of(row, settings, from_config=scope in policy.circuits.exact)


def _history_entry(event: Event) -> HistoryEntry:
    data = event.data
    return HistoryEntry(
        at=event.at,
        type=event.type.value,
        previous_state=data.get("previous_state", State.CLOSED.value),
        state=data.get("state", State.CLOSED.value),
        cause=data.get("cause", ""),
        actor=event.actor,
        reason=data.get("reason"),
    )

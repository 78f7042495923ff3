"""Circuits: the list, one of them, and what operators do to it."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.circuit_state import State
from cstp_server.domain.refusals import InvalidInput, Refusal
from cstp_server.services import browsing, circuits, resetting
from cstp_server.services.browsing import Place
from cstp_server.services.requests import CircuitView, ScopeRequest
from cstp_server.web import charts
from cstp_server.web.access import refused
from cstp_server.web.context import Visit
from cstp_server.web.links import link
from cstp_server.web.names import scope_of
from cstp_server.web.notices import Notice, go_on
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_PAGE = 50
_OUTCOMES = 500
_SHOWN_OUTCOMES = 25
_MOVES = 50
_LEAST_SPAN_MS = 3_600_000
STATES = {state.value: state for state in State}


async def list_circuits(visit: Visit) -> Response:
    """A page of circuits, those that are open first."""
    asked, text = visit.asked("state"), visit.asked("q")
    state = STATES.get(asked or "")
    pulse, page = await asyncio.gather(
        pulse_of(visit),
        browsing.circuits(
            visit.dashboard.catalogue, visit.policy, visit.tenant, state=state, text=text, place=place_of(visit.asked("at")), limit=_PAGE
        ),
    )
    return await show(
        visit,
        "circuits.html",
        {"pulse": pulse, "page": page, "state": asked if state is not None else None, "q": text, "at": visit.asked("at")},
    )


async def circuit(visit: Visit) -> Response:
    """One circuit: how it stands, how it came to that, and the decisions behind it."""
    dashboard, policy, tenant = visit.dashboard, visit.policy, visit.tenant
    view = await _view(visit)
    if isinstance(view, Refusal):
        return await refused(visit, view)
    settings = policy.circuits.covering_text(view.scope)
    moves, row, pulse = await asyncio.gather(
        circuits.history(dashboard.reader, policy, visit.caller, view.scope, _MOVES),
        dashboard.reader.circuit(tenant, view.scope, settings) if settings is not None else _none(),
        pulse_of(visit),
    )
    told = () if isinstance(moves, Refusal) else moves
    last = row.circuit.seq if row is not None else 0
    entries = (await dashboard.catalogue.outcomes(tenant, {view.scope: last}, _OUTCOMES)).get(view.scope, ())
    latest = list(reversed(entries[-_SHOWN_OUTCOMES:]))
    named = await dashboard.catalogue.decisions_of(tenant, [entry.decision_id for entry in latest if entry.decision_id is not None])
    since = visit.now - max(view.window_ms, _LEAST_SPAN_MS)
    began = charts.drawable_since(since, entries, told, lacks_entries=last > _OUTCOMES, lacks_moves=len(told) == _MOVES)
    return await show(
        visit,
        "circuit.html",
        {
            "pulse": pulse,
            "view": view,
            "circuit": row.circuit if row is not None else None,
            "settings": settings,
            "plot": charts.history([entry for entry in entries if entry.at >= began], told, began, visit.now),
            "shown": sum(entry.at >= began for entry in entries),
            "is_cut": began > since,
            "moves": told,
            "latest": latest,
            "decisions": named,
        },
    )


async def ask_reset(visit: Visit) -> Response:
    """Whether to reset it, and how."""
    return await _ask(visit, "circuit_reset.html")


async def ask_trip(visit: Visit) -> Response:
    """Whether to force it open, and why."""
    return await _ask(visit, "circuit_trip.html")


async def reset(visit: Visit) -> Response:
    """Close it, or let it prove itself."""
    scope = scope_of(visit)
    if isinstance(scope, InvalidInput):
        return await refused(visit, scope)
    request = ScopeRequest(scope, visit.form.text("reason") or None, visit.form.text("how") == "probe")
    answer = await resetting.reset(visit.dashboard.transactor, visit.caller, request)
    if isinstance(answer, Refusal):
        return await refused(visit, answer)
    return go_on(link("/circuit", scope=answer.move.scope), Notice("good", answer.message))


async def trip(visit: Visit) -> Response:
    """Force it open."""
    scope = scope_of(visit)
    if isinstance(scope, InvalidInput):
        return await refused(visit, scope)
    request = ScopeRequest(scope, visit.form.text("reason"))
    answer = await resetting.trip(visit.dashboard.transactor, visit.caller, request)
    if isinstance(answer, InvalidInput) and answer.field == "reason":
        return await _ask(visit, "circuit_trip.html", answer.message, 422)
    if isinstance(answer, Refusal):
        return await refused(visit, answer)
    return go_on(link("/circuit", scope=answer.move.scope), Notice("good", answer.message))


async def _ask(visit: Visit, template: str, problem: str | None = None, status: int = 200) -> Response:
    view = await _view(visit)
    if isinstance(view, Refusal):
        return await refused(visit, view)
    return await show(visit, template, {"pulse": await pulse_of(visit), "view": view, "problem": problem}, status=status)


async def _view(visit: Visit) -> CircuitView | Refusal:
    scope = scope_of(visit)
    if isinstance(scope, InvalidInput):
        return scope
    return await circuits.get_state(visit.dashboard.reader, visit.policy, visit.caller, scope)


async def _none() -> None:
    return None


def place_of(text: str | None) -> Place | None:
    """The place that a link to the next page names; from the beginning, where it names none."""
    state, _, scope = (text or "").partition("|")
    return Place(STATES[state], scope) if state in STATES and scope else None

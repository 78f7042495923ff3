"""Decisions: those that wait, the search, one of them with its reasons, and settling it."""

import asyncio
from enum import StrEnum
from typing import TypeVar

from starlette.responses import Response

from cstp_server.domain.decisions import Decision, Outcome, Status
from cstp_server.domain.facts import Stakes, fold_name
from cstp_server.domain.findings import Intervention, Lift
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.resolutions import Resolution
from cstp_server.services import decisions, resolving
from cstp_server.services.catalogue import MOST_WAITING, DecisionSearch, EventSearch, TimedPlace, WaitingSearch
from cstp_server.services.identity import is_agent, is_own
from cstp_server.services.requests import ResolveRequest
from cstp_server.web.access import refused
from cstp_server.web.context import Visit
from cstp_server.web.links import link
from cstp_server.web.notices import Notice, go_on
from cstp_server.web.places import moment, place_text, timed_place
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

E = TypeVar("E", bound=StrEnum)
_PAGE = 50
_PENDING_PAGE = 50
_EVENTS = 100
_MINUTE_MS = 60_000
_FILTERS = ("q", "status", "verdict", "outcome", "agent", "category", "type", "stakes", "from", "to")
_LIFTS = {lift.label: lift for lift in sorted(Lift, reverse=True)}
_SETTLED = {
    Status.APPROVED: "it is approved and may go on",
    Status.DENIED: "it is denied",
    Status.CANCELLED: "it is cancelled",
}


async def pending(visit: Visit) -> Response:
    """A page of what waits, the soonest to run out first."""
    kind, after = visit.asked("kind"), visit.asked("after")
    lift = _LIFTS.get(kind or "")
    wanted = WaitingSearch(frozenset({lift} if lift is not None else Lift), timed_place(after), _PENDING_PAGE + 1)
    pulse, found = await asyncio.gather(pulse_of(visit), visit.dashboard.catalogue.waiting_decisions(visit.tenant, wanted))
    waiting = [decision for decision in found if decision.waits_for is not None][:_PENDING_PAGE]
    values = {
        "pulse": pulse,
        "waiting": waiting,
        "kind": kind if lift is not None else None,
        "kinds": list(_LIFTS),
        "most": MOST_WAITING,
        "after": after,
        "following": place_text(_runs_out(waiting[-1])) if waiting and len(found) > _PENDING_PAGE else None,
    }
    return await show(visit, "pending.html", values)


def _runs_out(decision: Decision) -> TimedPlace:
    return (decision.waits_for.until if decision.waits_for is not None else decision.at), decision.id


async def search(visit: Visit) -> Response:
    """Decisions that match what was asked for."""
    asked = {name: visit.asked(name) for name in _FILTERS}
    since, to = moment(asked["from"]), moment(asked["to"])
    wanted = DecisionSearch(
        status=_named(Status, asked["status"]),
        agent=asked["agent"],
        category=_folded(asked["category"]),
        type=_folded(asked["type"]),
        stakes=_named(Stakes, asked["stakes"]),
        outcome=_named(Outcome, asked["outcome"]),
        intervention=asked["verdict"],
        text=asked["q"],
        since=since,
        until=to + _MINUTE_MS if to is not None else None,
        before=timed_place(visit.asked("before")),
        limit=_PAGE,
    )
    pulse, page = await asyncio.gather(pulse_of(visit), visit.dashboard.catalogue.search(visit.tenant, wanted))
    values = {
        "pulse": pulse,
        "page": page,
        "asked": asked,
        "misread": [name for name, read in (("from", since), ("to", to)) if asked[name] is not None and read is None],
        "narrows": wanted.narrows,
        "before": visit.asked("before"),
        "statuses": [status.value for status in Status],
        "stakes": [stakes.value for stakes in Stakes],
        "outcomes": [outcome.value for outcome in Outcome],
        "verdicts": [intervention.label for intervention in Intervention],
        "following": place_text(page.next),
    }
    return await show(visit, "decisions.html", values)


def _folded(name: str | None) -> str | None:
    return fold_name(name) if name is not None else None


async def decision(visit: Visit) -> Response:
    """One decision: what it was about, why it was answered so, and what became of it."""
    return await _shown(visit, visit.asked("id") or "")


async def _shown(visit: Visit, id: str, problem: str | None = None, status: int = 200) -> Response:
    dashboard = visit.dashboard
    found = await decisions.get(dashboard.transactor, dashboard.reader, visit.caller, id)
    if isinstance(found, Refusal):
        return await refused(visit, found)
    pulse, told = await asyncio.gather(
        pulse_of(visit), dashboard.catalogue.events(visit.tenant, EventSearch(subject=found.id, limit=_EVENTS))
    )
    is_ones_own = is_own(visit.caller, found) or is_agent(visit.caller, found.facts.agent_id)
    values = {"pulse": pulse, "decision": found, "told": told, "may_approve": visit.operates and not is_ones_own, "problem": problem}
    return await show(visit, "decision.html", values, status=status)


async def resolve(visit: Visit) -> Response:
    """Settle it."""
    dashboard, id = visit.dashboard, visit.asked("id") or ""
    said = _named(Resolution, visit.form.text("resolution"))
    if said is None:
        return await _shown(visit, id, "choose whether to approve or to deny", 422)
    answer = await resolving.resolve(
        dashboard.transactor,
        dashboard.reader,
        dashboard.guardians,
        visit.policy,
        dashboard.clock,
        visit.caller,
        ResolveRequest(id, said, visit.form.text("note") or None),
    )
    if isinstance(answer, Refusal):
        return await refused(visit, answer)
    text = _SETTLED.get(answer.status, f"it is {answer.status}")
    if answer.objections and answer.reason:
        text = f"{text}: {answer.reason}"
    wanted = Status.APPROVED if said in (Resolution.APPROVE, Resolution.CONFIRM) else answer.status
    return go_on(link("/decision", id=answer.id), Notice("good" if answer.status is wanted else "bad", text))


def _named(kind: type[E], text: str | None) -> E | None:
    return next((each for each in kind if each.value == text), None)

"""Lists of circuits and of users' trust for people: what is wrong first, a page at a time, however many there are."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cstp_server.domain.circuit_state import Circuit, Entry, State
from cstp_server.domain.scopes import ScopeKind
from cstp_server.domain.trust import Autonomy, autonomy_of
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.catalogue import Catalogue, CircuitSearch
from cstp_server.services.circuits import view_of
from cstp_server.services.ports import CircuitRow
from cstp_server.services.requests import CircuitView

WORST_FIRST = (State.OPEN, State.HALF_OPEN, State.CLOSED)
RECENT_OUTCOMES = 32
_USERS = f"{ScopeKind.USER}:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list goes on: after that scope, among the circuits of that state."""

    state: State
    scope: str


@dataclass(frozen=True, slots=True)
class CircuitLine:
    """One circuit of a list, with its latest outcomes, oldest first."""

    view: CircuitView
    outcomes: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class CircuitPage:
    """A page of circuits, and where the next one begins; none when there is none."""

    lines: Sequence[CircuitLine]
    next: Place | None


@dataclass(frozen=True, slots=True)
class TrustLine:
    """One user's trust in one domain."""

    scope: str
    user_id: str
    domain: str
    autonomy: Autonomy
    last_damage: int | None
    reset_at: int | None


@dataclass(frozen=True, slots=True)
class TrustPage:
    """A page of users' trust, and where the next one begins; none when there is none."""

    lines: Sequence[TrustLine]
    next: Place | None


async def circuits(
    catalogue: Catalogue, policy: Policy, tenant: str, *, state: State | None, text: str | None, place: Place | None, limit: int
) -> CircuitPage:
    """Circuits that are not of users' trust: open ones first. Those with an exact scope are listed before their first use."""
    rows, following = await _rows(catalogue, policy, tenant, CircuitSearch(text=text, limit=limit), state, place)
    outcomes = await catalogue.outcomes(tenant, {row.circuit.scope: row.circuit.seq for row in rows}, RECENT_OUTCOMES)
    lines = [CircuitLine(view, outcomes.get(view.scope, ())) for row in rows if (view := _view(row, policy)) is not None]
    return CircuitPage(lines, following)


async def trust(
    catalogue: Catalogue, policy: Policy, tenant: str, *, state: State | None, text: str | None, place: Place | None, limit: int
) -> TrustPage:
    """Users' trust as far as anything ever happened to it: the reduced first."""
    rows, following = await _rows(catalogue, policy, tenant, CircuitSearch(of_users=True, text=text, limit=limit), state, place)
    return TrustPage([line for row in rows if (line := _trust_line(row, policy)) is not None], following)


async def counts(catalogue: Catalogue, policy: Policy, tenant: str) -> Mapping[State, int]:
    """How many circuits that are not of users' trust are in each state, unused ones with an exact scope included."""
    stored = (await catalogue.circuit_counts(tenant, policy)).others
    unused = len(await _unused(catalogue, policy, tenant))
    return {state: stored.get(state, 0) + (unused if state is State.CLOSED else 0) for state in WORST_FIRST}


async def _rows(
    catalogue: Catalogue, policy: Policy, tenant: str, search: CircuitSearch, state: State | None, place: Place | None
) -> tuple[Sequence[CircuitRow], Place | None]:
    """A page over the states from `place` on, one state after another, and where the next one begins."""
    wanted = search.limit
    rows: list[CircuitRow] = []
    last: Place | None = None
    for each in _states(state, place):
        after = place.scope if place is not None and place.state is each else None
        narrowed = replace(search, state=each, after=after, limit=wanted + 1 - len(rows))
        found = await catalogue.circuits(tenant, policy, narrowed)
        if each is State.CLOSED and not search.of_users:
            found = _merged(found, await _unused(catalogue, policy, tenant), narrowed)
        for row in found[: wanted + 1 - len(rows)]:
            if len(rows) == wanted:
                return rows, last
            rows.append(row)
            last = Place(each, row.circuit.scope)
    return rows, None


def _states(state: State | None, place: Place | None) -> Sequence[State]:
    wanted = WORST_FIRST if state is None else (state,)
    return wanted[wanted.index(place.state) :] if place is not None and place.state in wanted else wanted


async def _unused(catalogue: Catalogue, policy: Policy, tenant: str) -> Sequence[str]:
    """The scopes that the policy names and that nothing has happened to so far."""
    named = [scope for scope in policy.circuits.exact if not scope.startswith(_USERS)]
    stored = await catalogue.stored(tenant, named) if named else frozenset()
    return sorted(scope for scope in named if scope not in stored)


def _merged(found: Sequence[CircuitRow], unused: Sequence[str], search: CircuitSearch) -> Sequence[CircuitRow]:
    """Both in the order of their scopes; an unused one must not come before stored ones that did not fit on the page."""
    last = found[-1].circuit.scope if len(found) == search.limit else None
    text = (search.text or "").casefold()
    fitting = (
        CircuitRow(Circuit(scope), found[0].now if found else 0)
        for scope in unused
        if (search.after is None or scope > search.after) and (last is None or scope < last) and text in scope.casefold()
    )
    return list(heapq.merge(found, fitting, key=lambda row: row.circuit.scope))


def _view(row: CircuitRow, policy: Policy) -> CircuitView | None:
    settings = policy.circuits.covering_text(row.circuit.scope)
    return view_of(row, settings, from_config=row.circuit.scope in policy.circuits.exact) if settings is not None else None


def _trust_line(row: CircuitRow, policy: Policy) -> TrustLine | None:
    scope = row.circuit.scope
    settings = policy.circuits.covering_text(scope)
    if settings is None:
        return None
    user_id, _, domain = scope.removeprefix(_USERS).rpartition("/")
    autonomy = autonomy_of(row.circuit, settings, row.now)
    return TrustLine(scope, user_id, domain, autonomy, row.circuit.last_failure, row.circuit.reset_at)

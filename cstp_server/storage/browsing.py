"""Circuits in lists and in numbers: those that the policy covers, in the states that time has left them in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ARRAY, ColumnElement, Connection, Select, String, and_, any_, column, func, literal, select, union_all

from cstp_server.clock import Clock
from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry, State
from cstp_server.domain.scopes import TEMPLATE_VALUE, ScopeKind
from cstp_server.policy.compiled import CircuitPolicies, Policy
from cstp_server.services.catalogue import CircuitCounts, CircuitSearch
from cstp_server.services.ports import CircuitRow
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_of
from cstp_server.storage.engine import current_time, is_sqlite
from cstp_server.storage.loading import CircuitCache, Loader
from cstp_server.storage.selecting import KeyedSelect
from cstp_server.storage.stretches import Stretch, outcomes_within

_CIRCUITS = tables.circuits.c
_USERS = f"{ScopeKind.USER}:"
_MOST_COOLED = 1_000
_FIRST_LINES = 64
_SCOPES = KeyedSelect(tables.circuits, "scope", ("scope",))
_Covered = Sequence[tuple[Circuit, CircuitSettings]]


def circuit_counts(connection: Connection, tenant: str, policy: Policy, clock: Clock) -> CircuitCounts:
    """How many circuits that the policy covers are in each state, as time has left them."""
    queries = [
        select(literal(of_users).label("of_users"), literal(state.value).label("state"), func.count().label("number")).where(
            *_in_use(tenant, state), part.condition(connection)
        )
        for of_users in (False, True)
        for part in _parts(policy.circuits, of_users=of_users)
        for state in State
    ]
    counts: tuple[dict[State, int], dict[State, int]] = ({}, {})
    for row in connection.execute(union_all(*queries)) if queries else ():
        of_kind, state = counts[row.of_users], State(row.state)
        of_kind[state] = of_kind.get(state, 0) + row.number
    for circuit, _ in _cooled(connection, tenant, policy, current_time(connection, clock)):
        of_kind = counts[_is_of_users(circuit.scope)]
        of_kind[State.OPEN] = of_kind.get(State.OPEN, 0) - 1
        of_kind[State.HALF_OPEN] = of_kind.get(State.HALF_OPEN, 0) + 1
    return CircuitCounts(*counts)


def circuits(connection: Connection, tenant: str, policy: Policy, search: CircuitSearch, clock: Clock) -> Sequence[CircuitRow]:
    """Stored circuits that the policy covers and that match, by scope, as time has left them."""
    parts = _parts(policy.circuits, of_users=search.of_users)
    now, after = current_time(connection, clock), search.after
    found: list[CircuitRow] = []
    while len(found) < search.limit:
        page = _page(connection, tenant, search, parts, after)
        rows = _as_of(connection, tenant, _covered(policy, page), now)
        found.extend(row for row in rows if search.state is None or row.circuit.state is search.state)
        if len(page) < search.limit:
            break
        after = page[-1].scope
    if search.state is State.HALF_OPEN:
        cooled = [each for each in _cooled(connection, tenant, policy, now) if _matches(each[0].scope, search)]
        found = sorted([*found, *_as_of(connection, tenant, cooled, now)], key=lambda row: row.circuit.scope)
    return found[: search.limit]


def are_stored(connection: Connection, tenant: str, scopes: Sequence[str]) -> frozenset[str]:
    """Which of these circuits are stored."""
    return frozenset(row.scope for row in _SCOPES.rows(connection, tenant, scopes, lock=False))


def latest_outcomes(connection: Connection, tenant: str, lasts: Mapping[str, int], limit: int) -> Mapping[str, Sequence[Entry]]:
    """The outcomes among the last `limit` lines of the logs of some circuits, oldest first."""
    stretches = {scope: Stretch(last - limit, last) for scope, last in lasts.items() if last}
    found = outcomes_within(connection, tenant, stretches)
    return {scope: found.get(scope, []) for scope in lasts}


def _is_of_users(scope: str) -> bool:
    return scope.startswith(_USERS)


def _matches(scope: str, search: CircuitSearch) -> bool:
    return (
        _is_of_users(scope) == search.of_users
        and (search.after is None or scope > search.after)
        and (search.text or "").casefold() in scope.casefold()
    )


class _Part(NamedTuple):
    """Scopes that the policy covers: all of a kind, after a scope, or single ones."""

    kind: ScopeKind | None = None
    names: Sequence[str] = ()
    after: str | None = None

    def condition(self, connection: Connection) -> ColumnElement[bool]:
        """That a circuit is of these: one range of an index, or a look-up for each."""
        if self.kind is not None:
            begins = _CIRCUITS.scope > self.after if self.after is not None else _CIRCUITS.scope >= f"{self.kind}:"
            return and_(begins, _CIRCUITS.scope < f"{self.kind};")
        if not is_sqlite(connection):
            return _CIRCUITS.scope == any_(literal(list(self.names), ARRAY(String)))
        listed = func.json_each(literal(orjson.dumps(self.names).decode())).table_valued("value")
        return _CIRCUITS.scope.in_(select(column("value")).select_from(listed))

    def rest(self, after: str | None) -> "_Part | None":
        """Those of them that come after a scope; none when none does."""
        if after is None:
            return self
        if self.kind is None:
            names = [name for name in self.names if name > after]
            return _Part(names=names) if names else None
        if after >= f"{self.kind};":
            return None
        return _Part(self.kind, after=after) if after >= f"{self.kind}:" else self


def _parts(policies: CircuitPolicies, *, of_users: bool) -> Sequence[_Part]:
    """The scopes that the policy covers; none is in two parts."""
    kinds = [kind for kind in ScopeKind if (kind is ScopeKind.USER) is of_users and _covers_all(policies, kind)]
    names = [scope for scope in policies.exact if _is_of_users(scope) is of_users and scope.partition(":")[0] not in kinds]
    parts = [_Part(kind) for kind in kinds]
    return [*parts, _Part(names=names)] if names else parts


def _covers_all(policies: CircuitPolicies, kind: ScopeKind) -> bool:
    return f"{kind}:{TEMPLATE_VALUE}" in policies.templates or (kind is ScopeKind.USER and policies.trust is not None)


def _page(connection: Connection, tenant: str, search: CircuitSearch, parts: Iterable[_Part], after: str | None) -> Sequence[Circuit]:
    """The first of each part are found through an index, and the first of these are the first of all."""
    each = [_first_of(connection, tenant, search, rest).subquery() for part in parts if (rest := part.rest(after)) is not None]
    if not each:
        return []
    together = union_all(*[select(part.c.scope, part.c.data) for part in each]).subquery()
    query = select(together.c.data).order_by(together.c.scope).limit(search.limit)
    return [circuit_of(row.data) for row in connection.execute(query)]


def _first_of(connection: Connection, tenant: str, search: CircuitSearch, part: _Part) -> Select[Any]:
    query = select(_CIRCUITS.scope, _CIRCUITS.data).where(*_in_use(tenant, search.state), part.condition(connection))
    if search.text:
        query = query.where(_CIRCUITS.scope.icontains(search.text, autoescape=True))
    return query.order_by(_CIRCUITS.scope).limit(search.limit)


def _in_use(tenant: str, state: State | None) -> Sequence[ColumnElement[bool]]:
    in_use = (_CIRCUITS.tenant == tenant, _CIRCUITS.archived_at.is_(None))
    return (*in_use, _CIRCUITS.state == state.value) if state is not None else in_use


def _cooled(connection: Connection, tenant: str, policy: Policy, now: int) -> _Covered:
    """The circuits that are stored as open although their cooldown is over: nobody has asked since, and no sweep came by."""
    due = (
        select(_CIRCUITS.tenant, _CIRCUITS.state, _CIRCUITS.data)
        .where(_CIRCUITS.due_at.is_not(None), _CIRCUITS.due_at <= now, _CIRCUITS.archived_at.is_(None))
        .order_by(_CIRCUITS.due_at)
        .limit(_MOST_COOLED)
        .subquery()
    )
    rows = connection.execute(select(due.c.data).where(due.c.tenant == tenant, due.c.state == State.OPEN.value))
    return _covered(policy, [circuit for row in rows if breaker.cool(circuit := circuit_of(row.data), now).transitions])


def _covered(policy: Policy, found: Iterable[Circuit]) -> _Covered:
    return [(circuit, settings) for circuit in found if (settings := policy.circuits.covering_text(circuit.scope)) is not None]


def _as_of(connection: Connection, tenant: str, covered: _Covered, now: int) -> Sequence[CircuitRow]:
    """The circuits, time having passed for them."""
    pasts = _pasts(connection, tenant, covered, now)
    return [CircuitRow(breaker.advance(circuit, settings, pasts[circuit.scope], now).circuit, now) for circuit, settings in covered]


def _pasts(connection: Connection, tenant: str, covered: _Covered, now: int) -> Mapping[str, Past]:
    """What leaves the windows of the circuits: one look at the beginnings of them all, and another at those few that lose more."""
    pasts: dict[str, Past] = {}
    leaving: dict[str, tuple[Circuit, CircuitSettings, int]] = {}
    for circuit, settings in covered:
        cutoff = max(now, circuit.logged_at) - settings.window_ms
        if not circuit.window.reviewed:
            pasts[circuit.scope] = Past()
        elif settings.trust is None and circuit.window.oldest_at > cutoff:
            pasts[circuit.scope] = Past(horizon=circuit.window.oldest_at - 1)
        else:
            leaving[circuit.scope] = circuit, settings, cutoff
    stretches = {
        scope: Stretch(circuit.window.tail, circuit.window.tail + _FIRST_LINES)
        for scope, (circuit, settings, _) in leaving.items()
        if settings.trust is None
    }
    begun = outcomes_within(connection, tenant, stretches)
    for scope, (circuit, settings, cutoff) in leaving.items():
        past = _of_stretch(circuit, begun[scope], cutoff) if scope in begun else None
        pasts[scope] = past if past is not None else _whole(connection, tenant, circuit, settings, now)
    return pasts


def _of_stretch(circuit: Circuit, entries: Sequence[Entry], cutoff: int) -> Past | None:
    """The past, if the first lines of the window are enough of it; no line is older than the one before it."""
    if circuit.seq <= circuit.window.tail + _FIRST_LINES:
        return Past(entries)
    return Past(entries, horizon=entries[-1].at - 1) if entries and entries[-1].at > cutoff else None


def _whole(connection: Connection, tenant: str, circuit: Circuit, settings: CircuitSettings, now: int) -> Past:
    loader = Loader(connection, CircuitCache(), 1)
    loader.loaded.circuits[tenant, circuit.scope] = circuit
    return loader.past((tenant, circuit.scope), settings, now)

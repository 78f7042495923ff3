"""Listing events: newest first, by type or by subject, at a price that does not grow with what else is on record."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, TextClause, func, select, tuple_, union_all

from cstp_server.services.ports import EventEntry, EventQuery
from cstp_server.storage import tables

_EVENTS = tables.events.c


def event_entries(connection: Connection, tenant: str, query: EventQuery) -> Sequence[EventEntry]:
    """The tenant's events that match, newest first."""
    ids = _of_subject(tenant, query) if query.subject is not None else _of_types(connection, tenant, query)
    if ids is None:
        return []
    return [_entry(row) for row in connection.execute(those_of(ids))]


def those_of(ids: Select[Any]) -> Select[Any]:
    """The events with the selected ids, newest first."""
    return select(tables.events).where(_EVENTS.id.in_(ids)).order_by(_EVENTS.at.desc(), _EVENTS.id.desc())


def _of_subject(tenant: str, query: EventQuery) -> Select[Any]:
    """An index knows the events of a subject in their order."""
    found = newest(_EVENTS.subject == query.subject, tenant, query)
    if query.types:
        found = found.where(_EVENTS.type.in_(query.types))
    return select(found.subquery().c.id)


def _of_types(connection: Connection, tenant: str, query: EventQuery) -> Select[Any] | None:
    """The newest ones of each type are found at once, however rare it is; the newest of these are the newest of all."""
    types = query.types or _types_of(connection, tenant)
    return newest_of_types(types, tenant, query) if types else None


def newest_of_types(types: Sequence[str], tenant: str, query: EventQuery) -> Select[Any]:
    """The ids of the newest events of these types, of which there is one at least."""
    of_each = [newest(_EVENTS.type == name, tenant, query).subquery() for name in types]
    together = union_all(*[select(each.c.at, each.c.id) for each in of_each]).subquery()
    return select(select(together.c.id).order_by(together.c.at.desc(), together.c.id.desc()).limit(query.limit).subquery().c.id)


def newest(chosen: ColumnElement[bool] | TextClause, tenant: str, query: EventQuery) -> Select[Any]:
    """Time and id of the newest events that are chosen by what begins an index, within the query's times."""
    found = select(_EVENTS.at, _EVENTS.id).where(_EVENTS.tenant == tenant, chosen)
    if query.since is not None:
        found = found.where(_EVENTS.at >= query.since)
    if query.before is not None:
        found = found.where(tuple_(_EVENTS.at, _EVENTS.id) < tuple_(*query.before))
    return found.order_by(_EVENTS.at.desc(), _EVENTS.id.desc()).limit(query.limit)


def _types_of(connection: Connection, tenant: str) -> Sequence[str]:
    """The types that the tenant's events have; one index look-up each."""
    found, last = list[str](), ""
    while (following := connection.execute(_next_type(tenant, last)).scalar()) is not None:
        found.append(following)
        last = following
    return found


def _next_type(tenant: str, last: str) -> Select[Any]:
    return select(func.min(_EVENTS.type)).where(_EVENTS.tenant == tenant, _EVENTS.type > last)


def _entry(row: Any) -> EventEntry:
    return EventEntry(
        id=row.id,
        at=row.at,
        type=row.type,
        subject=row.subject,
        actor=row.actor,
        policy_version=row.policy_version,
        data=orjson.loads(row.data),
        chain=row.chain,
        position=row.position,
        hash=row.hash,
    )

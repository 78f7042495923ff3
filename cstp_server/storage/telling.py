"""Events as people are told of them: newest first, found by index, however many others there are."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, select

from cstp_server.domain.events import EventType
from cstp_server.services.catalogue import ROUTINE, EventSearch, Told
from cstp_server.services.ports import EventQuery
from cstp_server.storage import tables
from cstp_server.storage.events import KNOWN_TYPES, event_of
from cstp_server.storage.listing import newest, newest_of_types, those_of

_EVENTS = tables.events.c


def told_events(connection: Connection, tenant: str, search: EventSearch) -> Sequence[Told]:
    """Events that match, newest first; of the routine ones only those of a subject."""
    ids = _of_subject(tenant, search) if search.subject is not None else _of_all(tenant, search)
    return [Told(row.id, event_of(row)) for row in connection.execute(those_of(ids))] if ids is not None else []


def _of_all(tenant: str, search: EventSearch) -> Select[Any] | None:
    if search.kind is None and not search.types:
        return select(newest(_told_but(search.without), tenant, _query(search, search.limit)).subquery().c.id)
    wanted = sorted(each.value for each in search.wanted - ROUTINE)
    return newest_of_types(wanted, tenant, _query(search, search.limit)) if wanted else None


def _told_but(without: Collection[EventType]) -> ColumnElement[bool]:
    return and_(tables.TOLD, _EVENTS.type.in_([name for name in KNOWN_TYPES if name not in without]))


def _of_subject(tenant: str, search: EventSearch) -> Select[Any]:
    of_subject = _EVENTS.subject == search.subject
    if search.kind is None and not search.types:
        known = and_(of_subject, _EVENTS.type.in_(KNOWN_TYPES))
        return select(newest(known, tenant, _query(search, search.limit)).subquery().c.id)
    stretch = newest(of_subject, tenant, _query(search, search.scans)).add_columns(_EVENTS.type).subquery()
    matching = select(stretch.c.id).where(stretch.c.type.in_(sorted(each.value for each in search.wanted)))
    return select(matching.order_by(stretch.c.at.desc(), stretch.c.id.desc()).limit(search.limit).subquery().c.id)


def _query(search: EventSearch, limit: int) -> EventQuery:
    return EventQuery(since=search.since, before=search.before, limit=limit)

"""Alerts that wait to be sent: rows <-> what the use cases know of them (`services.notifying.Outbox`)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, or_, select, tuple_, update

from cstp_server.clock import Clock
from cstp_server.domain.alerts import AlertPolicy
from cstp_server.domain.events import Event, EventType
from cstp_server.services.notifying import LONGEST_DELAY_MS, MOST_GIVEN_UP, GivenUp, Letter, Parcel, Retried, Waiting
from cstp_server.services.ports import Duties, OutboxChange
from cstp_server.storage import tables
from cstp_server.storage.anchors import lock_ledger
from cstp_server.storage.engine import current_time
from cstp_server.storage.inserting import BulkInsert, BulkUpsert
from cstp_server.storage.journal import Journal
from cstp_server.storage.reader import ReadThreads

DELIVERY = "notifications"
"""The duty of the one process that sends."""
_LONGEST_ERROR = 500
_UNKNOWN = "unknown"
_MOST_IN_A_PARCEL = 10_000
_MOST_SHOWN = 20
_TIDIED_AT_ONCE = 500
RETRIED_AT_ONCE = 500
_KEY = ("tenant", "channel", "id")
_GATE_KEY = ("tenant", "channel", "subject")
Key = tuple[str, str, str]
"""Tenant, channel and id of an alert."""
_table = tables.outbox
_gates = tables.outbox_gates


NEW_ALERTS = BulkInsert(_table, ("tenant", "channel", "id", "subject", "at", "queued_at", "attempts", "event"))


def outbox_rows(alerts: AlertPolicy, events: Sequence[Event], ids: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of those events that somebody is told of, one for each channel; `ids` are those of the events."""
    return [
        row
        for event, id in zip(events, ids, strict=True)
        if event.type in alerts.types and (told := alerts.recipients(event)) is not None
        for row in _rows(event, id, *told)
    ]


def _rows(event: Event, id: str, subject: str, channels: Sequence[str]) -> Iterable[dict[str, Any]]:
    text = orjson.dumps(
        {
            "type": event.type.value,
            "subject": event.subject,
            "actor": event.actor,
            "at": event.at,
            "policy_version": event.policy_version,
            "data": event.data,
        }
    ).decode()
    for channel in channels:
        yield {
            "tenant": event.tenant,
            "channel": channel,
            "id": id,
            "subject": subject,
            "at": event.at,
            "queued_at": event.at,
            "attempts": 0,
            "event": text,
        }


def write_changes(connection: Connection, changes: Sequence[tuple[str, OutboxChange]]) -> None:
    """Carry out what became of alerts, by tenant. Alerts are locked before gates, and both in order, as everybody does here."""
    fates = sorted(chain.from_iterable(_fates(tenant, change) for tenant, change in changes), key=_place)
    for has_failed, run in groupby(fates, key=_has_failed):
        connection.execute(_FAIL if has_failed else _DROP, list(run))
    gates = {
        (tenant, change.channel, change.subject): {
            "tenant": tenant,
            "channel": change.channel,
            "subject": change.subject,
            "not_before": change.not_before,
        }
        for tenant, change in changes
    }
    _REPLACE_GATES.execute(connection, [gates[key] for key in sorted(gates)])


def _fates(tenant: str, change: OutboxChange) -> Iterable[dict[str, Any]]:
    """What becomes of each alert: those that were sent are gone, the others have failed."""
    for id in change.sent:
        yield _key(tenant, change, id)
    for ids, dead_at in ((change.failed, None), (change.dead, change.at)):
        for id in ids:
            yield _key(tenant, change, id) | {"new_error": _told(change), "new_dead_at": dead_at}


def _has_failed(fate: Mapping[str, Any]) -> bool:
    return "new_dead_at" in fate


def _told(change: OutboxChange) -> str | None:
    return change.error[:_LONGEST_ERROR] if change.error is not None else None


def _key(tenant: str, change: OutboxChange, id: str) -> dict[str, Any]:
    return {"key_tenant": tenant, "key_channel": change.channel, "key_id": id}


def _place(key: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(key[f"key_{name}"] for name in _KEY)


_OF_KEY = [_table.c[name] == bindparam(f"key_{name}") for name in _KEY]
_DROP = delete(_table).where(*_OF_KEY)
_FAIL = (
    update(_table).where(*_OF_KEY).values(attempts=_table.c.attempts + 1, error=bindparam("new_error"), dead_at=bindparam("new_dead_at"))
)
_REVIVE = update(_table).where(*_OF_KEY).values(dead_at=None, attempts=0, queued_at=bindparam("new_queued_at"))
_REPLACE_GATES = BulkUpsert(_gates, ("tenant", "channel", "subject"), ("not_before",))


def due(connection: Connection, channel: str, limit: int, clock: Clock) -> Sequence[tuple[str, str]]:
    """Tenants and subjects of which something is to be sent on the channel now, what waits longest first."""
    now = current_time(connection, clock)
    gated = and_(_gates.c.tenant == _table.c.tenant, _gates.c.channel == _table.c.channel, _gates.c.subject == _table.c.subject)
    query = (
        select(_table.c.tenant, _table.c.subject)
        .select_from(_table.outerjoin(_gates, gated))
        .where(_table.c.channel == channel, _table.c.dead_at.is_(None), or_(_gates.c.not_before.is_(None), _is_open(now)))
        .group_by(_table.c.tenant, _table.c.subject)
        .order_by(func.min(_table.c.at))
        .limit(limit)
    )
    return [(row.tenant, row.subject) for row in connection.execute(query)]


def _is_open(now: int) -> ColumnElement[bool]:
    """Of a gate. One that is shut for longer than any may be was shut before the clock was put back."""
    return or_(_gates.c.not_before <= now, _gates.c.not_before > now + LONGEST_DELAY_MS)


def parcel(connection: Connection, tenant: str, channel: str, subject: str, clock: Clock) -> Parcel | None:
    """All that waits for the subject on the channel; none when nothing does."""
    query = (
        select(_table.c.id, _table.c.attempts, _table.c.queued_at)
        .where(_table.c.channel == channel, _table.c.tenant == tenant, _table.c.subject == subject, _table.c.dead_at.is_(None))
        .order_by(_table.c.at.desc(), _table.c.id.desc())
        .limit(_MOST_IN_A_PARCEL)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    newest, unreadable = _newest(connection, tenant, channel, [row.id for row in rows])
    alerts = [Waiting(row.id, row.attempts, row.queued_at) for row in reversed(rows)]
    waiting = tuple(each for each in alerts if newest and each.id not in unreadable)
    unread = tuple(each for each in alerts if each.id in unreadable)
    if not waiting and not unread:
        return None
    return Parcel(tenant, channel, subject, waiting, tuple(reversed(newest)), current_time(connection, clock), unread)


def _newest(connection: Connection, tenant: str, channel: str, ids: Sequence[str]) -> tuple[list[tuple[str, Event]], set[str]]:
    """The first of these as events, as many as are shown, and those among them that cannot be read, however many are."""
    events, unread = list[tuple[str, Event]](), set[str]()
    for start in range(0, len(ids), _MOST_SHOWN):
        page = ids[start : start + _MOST_SHOWN]
        query = select(_table.c.id, _table.c.event).where(_table.c.tenant == tenant, _table.c.channel == channel, _table.c.id.in_(page))
        texts = {row.id: row.event for row in connection.execute(query)}
        for id in page:
            if id not in texts:
                continue
            event = _event(tenant, texts[id])
            if event is not None:
                events.append((id, event))
            else:
                unread.add(id)
        if events:
            break
    return events, unread


def _event(tenant: str, text: str) -> Event | None:
    """None where it cannot be read: a newer version of the service has written it, or somebody's hand."""
    try:
        document = orjson.loads(text)
        return Event(
            EventType(document["type"]),
            tenant,
            document["subject"],
            document["actor"],
            document["at"],
            document["policy_version"],
            document["data"],
        )
    except (ValueError, LookupError, TypeError):
        return None


def letters(connection: Connection, *, dead: bool, limit: int) -> Sequence[Letter]:
    """What is in the outbox, or with `dead` what was given up, oldest first."""
    query = select(_table).order_by(_table.c.at, _table.c.id, _table.c.channel).limit(limit)
    if dead:
        query = query.where(_table.c.dead_at.is_not(None))
    return [_letter(row) for row in connection.execute(query)]


def _letter(row: Any) -> Letter:
    kind, subject = _named(row.event)
    return Letter(row.tenant, row.channel, row.id, kind, subject or row.subject, row.at, row.attempts, row.dead_at, row.error)


def given_up(connection: Connection, tenant: str, channels: Iterable[str], most: int = MOST_GIVEN_UP) -> Sequence[GivenUp]:
    """What was given up of a tenant's alerts on these channels, the one that failed last first; counting stops at `most`."""
    found = [each for channel in channels if (each := _given_up(connection, tenant, channel, most)) is not None]
    return [told for _, told in sorted(found, key=lambda each: (-each[0], each[1].channel))]


def _given_up(connection: Connection, tenant: str, channel: str, most: int) -> tuple[int, GivenUp] | None:
    """What was given up on a channel, and when the last of it was."""
    of_channel = (_table.c.tenant == tenant, _table.c.channel == channel, _table.c.dead_at.is_not(None))
    newest = select(_table.c.dead_at, _table.c.error).where(*of_channel).order_by(_table.c.dead_at.desc(), _table.c.id.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    if last is None:
        return None
    counted = select(_table.c.dead_at).where(*of_channel).limit(most).subquery()
    number = connection.execute(select(func.count()).select_from(counted)).scalar_one()
    return last.dead_at, GivenUp(channel, number, last.error)


def _named(text: str) -> tuple[str, str]:
    """The type and the subject of an event, whatever version has written it."""
    try:
        event = orjson.loads(text)
        return str(event["type"]), str(event["subject"])
    except (ValueError, LookupError, TypeError):
        return _UNKNOWN, ""


def retry(connection: Connection, journal: Journal, *, id: str | None, clock: Clock, after: Key | None = None) -> Sequence[Key]:
    """Send soon what was given up, a page of it or one alert, and one that waits for its next attempt as well; which (in order).

    Each page, from the alert after `after` on, is a transaction of its own, so that writers need not wait for all; the last one has fewer
    than `RETRIED_AT_ONCE`. It is on record who was sent what again.
    """
    wanted = _table.c.dead_at.is_not(None) if id is None else _table.c.id == id
    key = [_table.c[name] for name in _KEY]
    page = select(*key, _table.c.subject).where(wanted).order_by(*key).limit(RETRIED_AT_ONCE)
    if after is not None:
        page = page.where(tuple_(*key) > tuple_(*after))
    lock_ledger(connection)  # before any row, as whoever writes events and what becomes of alerts does
    found = connection.execute(page).all()
    if not found:
        return []
    now, rows = current_time(connection, clock), sorted(found)
    connection.execute(_REVIVE, [{f"key_{name}": getattr(row, name) for name in _KEY} | {"new_queued_at": now} for row in rows])
    _open_gates(connection, sorted({(row.tenant, row.channel, row.subject) for row in rows}))
    told = [Retried(tenant, channel, [row.id for row in of_channel]) for (tenant, channel), of_channel in groupby(rows, itemgetter(0, 1))]
    journal.write_at_once(connection, [retried.event(now) for retried in told], now)
    return [(row.tenant, row.channel, row.id) for row in found]


def _open_gates(connection: Connection, gates: Iterable[tuple[str, str, str]]) -> None:
    keys = [{f"key_{name}": value for name, value in zip(_GATE_KEY, gate, strict=True)} for gate in gates]
    if keys:
        connection.execute(_OPEN, keys)


_OPEN = delete(_gates).where(*[_gates.c[name] == bindparam(f"key_{name}") for name in _GATE_KEY])


def reopen(connection: Connection, channel: str) -> None:
    """Open the gates of what was tried on the channel and did not arrive. In a transaction of its own, which waits for nobody."""
    is_tried = (
        select(_table.c.id)
        .where(
            _table.c.channel == channel,
            _table.c.tenant == _gates.c.tenant,
            _table.c.subject == _gates.c.subject,
            _table.c.dead_at.is_(None),
            _table.c.attempts > 0,
        )
        .exists()
    )
    shut = select(*[_gates.c[name] for name in _GATE_KEY]).where(_gates.c.channel == channel, is_tried).with_for_update(skip_locked=True)
    _open_gates(connection, sorted((row.tenant, row.channel, row.subject) for row in connection.execute(shut)))


def strays(connection: Connection, known: Sequence[str]) -> Sequence[str]:
    """The channels on which anything waits and that are none of these; one index look-up each."""
    found, last = list[str](), ""
    following = select(func.min(_table.c.channel)).where(_table.c.dead_at.is_(None))
    while (channel := connection.execute(following.where(_table.c.channel > last)).scalar()) is not None:
        found.append(channel)
        last = channel
    return [channel for channel in found if channel not in known]


def tidy(connection: Connection, dead_before: int, clock: Clock) -> int:
    """Forget a small batch of what was given up before `dead_before`, and of gates that are open; how many.

    In a transaction of its own, which waits for nobody: what somebody else has just locked is left for the next time.
    """
    now = current_time(connection, clock)
    key, gate_key = [_table.c[name] for name in _KEY], [_gates.c[name] for name in _GATE_KEY]
    forgotten = select(*key).where(_table.c.dead_at <= dead_before).limit(_TIDIED_AT_ONCE).with_for_update(skip_locked=True)
    alerts = [tuple(row) for row in connection.execute(forgotten)]
    if alerts:
        connection.execute(delete(_table).where(tuple_(*key).in_(alerts)))
    opened = select(*gate_key).where(_is_open(now)).limit(_TIDIED_AT_ONCE).with_for_update(skip_locked=True)
    gates = [tuple(row) for row in connection.execute(opened)]
    if gates:
        connection.execute(delete(_gates).where(tuple_(*gate_key).in_(gates)))
    return len(alerts) + len(gates)


class SqlOutbox:
    """The outbox of one store. Reads wait for no writer; sending is a duty that one process has."""

    def __init__(self, reading: ReadThreads, writing: ReadThreads, duties: Duties, clock: Clock) -> None:
        self._reading = reading
        self._writing = writing
        self._duties = duties
        self._clock = clock

    async def hold(self, holder: str, lease_ms: int) -> bool:
        """Whether this process is the one that sends, for so long from now on."""
        return await self._duties.take(DELIVERY, holder, lease_ms) is not None

    async def release(self, holder: str) -> None:
        """Let another process send at once, if this one did."""
        await self._duties.leave(DELIVERY, holder)

    async def due(self, channel: str, limit: int) -> Sequence[tuple[str, str]]:
        """Tenants and subjects of which something is to be sent on the channel now, what waits longest first."""
        return await self._reading.read(due, channel, limit, self._clock)

    async def parcel(self, tenant: str, channel: str, subject: str) -> Parcel | None:
        """All that waits for the subject on the channel; none when nothing does."""
        return await self._reading.read(parcel, tenant, channel, subject, self._clock)

    async def reopen(self, channel: str) -> None:
        """Let what did not arrive on the channel be tried again at once."""
        await self._writing.read(reopen, channel)

    async def strays(self, known: Sequence[str]) -> Sequence[str]:
        """The channels on which anything waits and that are none of these."""
        return await self._reading.read(strays, known)

    async def tidy(self, dead_before: int) -> int:
        """Forget a small batch of what was given up before `dead_before`, and of gates that are open; how many."""
        return await self._writing.read(tidy, dead_before, self._clock)

"""Alerts that wait to be sent: rows <-> what the use cases know of them (`services.notifying.Outbox`)."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, and_, bindparam, delete, func, or_, select, update

from cstp_server.clock import Clock
from cstp_server.domain.alerts import AlertPolicy
from cstp_server.domain.events import Event, EventType
from cstp_server.services.notifying import GivenUp, Letter, Parcel, Waiting
from cstp_server.services.ports import Duties, OutboxChange
from cstp_server.storage import tables
from cstp_server.storage.engine import current_time
from cstp_server.storage.inserting import BulkInsert, BulkUpsert
from cstp_server.storage.reader import ReadThreads

DELIVERY = "notifications"
"""The duty of the one process that sends."""
_LONGEST_ERROR = 500
_MOST_IN_A_PARCEL = 10_000
_MOST_SHOWN = 20
_KEY = ("tenant", "channel", "id")
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
    """Carry out what became of alerts, by tenant."""
    sent = [_key(tenant, change, id) for tenant, change in changes for id in change.sent]
    if sent:
        connection.execute(_DROP, sent)
    failed = [
        _key(tenant, change, id) | {"new_error": _told(change), "new_dead_at": change.at if id in dead else None}
        for tenant, change in changes
        for dead in [frozenset(change.dead)]
        for id in (*change.failed, *change.dead)
    ]
    if failed:
        connection.execute(_FAIL, failed)
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


def _told(change: OutboxChange) -> str | None:
    return change.error[:_LONGEST_ERROR] if change.error is not None else None


def _key(tenant: str, change: OutboxChange, id: str) -> dict[str, Any]:
    return {"key_tenant": tenant, "key_channel": change.channel, "key_id": id}


_OF_KEY = [_table.c[name] == bindparam(f"key_{name}") for name in _KEY]
_DROP = delete(_table).where(*_OF_KEY)
_FAIL = (
    update(_table).where(*_OF_KEY).values(attempts=_table.c.attempts + 1, error=bindparam("new_error"), dead_at=bindparam("new_dead_at"))
)
_REPLACE_GATES = BulkUpsert(_gates, ("tenant", "channel", "subject"), ("not_before",))


def due(connection: Connection, channel: str, limit: int, clock: Clock) -> Sequence[tuple[str, str]]:
    """Tenants and subjects of which something is to be sent on the channel now, what waits longest first."""
    now = current_time(connection, clock)
    gated = and_(_gates.c.tenant == _table.c.tenant, _gates.c.channel == _table.c.channel, _gates.c.subject == _table.c.subject)
    query = (
        select(_table.c.tenant, _table.c.subject)
        .select_from(_table.outerjoin(_gates, gated))
        .where(_table.c.channel == channel, _table.c.dead_at.is_(None), or_(_gates.c.not_before.is_(None), _gates.c.not_before <= now))
        .group_by(_table.c.tenant, _table.c.subject)
        .order_by(func.min(_table.c.at))
        .limit(limit)
    )
    return [(row.tenant, row.subject) for row in connection.execute(query)]


def parcel(connection: Connection, tenant: str, channel: str, subject: str, clock: Clock) -> Parcel | None:
    """All that waits for the subject on the channel; none when nothing does."""
    waiting: Select[Any] = (
        select(_table.c.id, _table.c.attempts, _table.c.queued_at)
        .where(_table.c.channel == channel, _table.c.tenant == tenant, _table.c.subject == subject, _table.c.dead_at.is_(None))
        .order_by(_table.c.at.desc(), _table.c.id.desc())
    )
    rows = connection.execute(waiting.limit(_MOST_IN_A_PARCEL)).all()
    newest = connection.execute(waiting.add_columns(_table.c.event).limit(_MOST_SHOWN)).all()
    if not rows or not newest:
        return None
    known = {row.id for row in rows}
    return Parcel(
        tenant,
        channel,
        subject,
        tuple(Waiting(row.id, row.attempts, row.queued_at) for row in reversed(rows)),
        tuple((row.id, _event(tenant, row.event)) for row in reversed(newest) if row.id in known),
        current_time(connection, clock),
    )


def _event(tenant: str, text: str) -> Event:
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


def letters(connection: Connection, *, dead: bool, limit: int) -> Sequence[Letter]:
    """What is in the outbox, or with `dead` what was given up, oldest first."""
    query = select(_table).order_by(_table.c.at, _table.c.id, _table.c.channel).limit(limit)
    if dead:
        query = query.where(_table.c.dead_at.is_not(None))
    return [_letter(row) for row in connection.execute(query)]


def _letter(row: Any) -> Letter:
    event = orjson.loads(row.event)
    return Letter(row.tenant, row.channel, row.id, event["type"], event["subject"], row.at, row.attempts, row.dead_at, row.error)


def given_up(connection: Connection, tenant: str) -> Sequence[GivenUp]:
    """What was given up of a tenant's alerts, by channel, the one that failed last first."""
    of_tenant = select(_table.c.channel, func.count().label("number"), func.max(_table.c.dead_at).label("last"))
    counted = of_tenant.where(_table.c.tenant == tenant, _table.c.dead_at.is_not(None)).group_by(_table.c.channel)
    channels = sorted(connection.execute(counted), key=lambda row: (-row.last, row.channel))
    return [GivenUp(row.channel, row.number, _last_error(connection, tenant, row.channel, row.last)) for row in channels]


def _last_error(connection: Connection, tenant: str, channel: str, dead_at: int) -> str | None:
    query = select(_table.c.error).where(_table.c.tenant == tenant, _table.c.channel == channel, _table.c.dead_at == dead_at)
    return connection.execute(query.order_by(_table.c.id.desc()).limit(1)).scalar_one_or_none()


def retry(connection: Connection, id: str | None, clock: Clock) -> int:
    """Send soon what was given up, all of it or one alert, and one that waits for its next attempt as well; how many."""
    wanted = _table.c.dead_at.is_not(None) if id is None else _table.c.id == id
    rows = connection.execute(select(_table.c.tenant, _table.c.channel, _table.c.id, _table.c.subject).where(wanted)).all()
    now = current_time(connection, clock)
    for row in rows:
        of_row = [_table.c[name] == getattr(row, name) for name in _KEY]
        connection.execute(update(_table).where(*of_row).values(dead_at=None, attempts=0, queued_at=now))
        of_gate = [_gates.c[name] == getattr(row, name) for name in ("tenant", "channel", "subject")]
        connection.execute(delete(_gates).where(*of_gate))
    return len(rows)


def tidy(connection: Connection, channels: Sequence[str], stray_before: int, dead_before: int, clock: Clock) -> int:
    """Give up what is for channels that the policy has not had since `stray_before`, and forget what was given up before `dead_before`.

    How many were given up. Gates that are open are forgotten as well.
    """
    now = current_time(connection, clock)
    connection.execute(delete(_gates).where(_gates.c.not_before <= now))
    connection.execute(delete(_table).where(_table.c.dead_at <= dead_before))
    strays = update(_table).where(_table.c.dead_at.is_(None), _table.c.queued_at <= stray_before, _table.c.channel.not_in(channels))
    return connection.execute(strays.values(dead_at=now, error="the policy has no channel of this name")).rowcount


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

    async def tidy(self, channels: Sequence[str], stray_before: int, dead_before: int) -> int:
        """Give up what is for channels that the policy has not had for a while, and forget what was given up long ago."""
        return await self._writing.read(tidy, channels, stray_before, dead_before, self._clock)

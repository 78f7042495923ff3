"""Alerts on their way: what waits for whom, and what becomes of it (SPEC 11)."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from cstp_server.domain.callers import CLI_ACTOR
from cstp_server.domain.circuit_events import SYSTEM_ACTOR
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Decided, OutboxChange, View

LONGEST_DELAY_MS = 4_320_000
"""How long an alert waits at most for the next attempt: an hour, and a fifth of it."""
QUIET_MS = 60_000
"""How long a subject that was told of is not told of again on the same channel: what happens meanwhile is gathered."""
MOST_ATTEMPTS = 30
LONGEST_MS = 86_400_000
"""Whichever comes first ends the attempts to send an alert."""
UNREADABLE = "this version of the service cannot read it"
MOST_GIVEN_UP = 1_000
"""Where counting of what was given up on a channel stops; so many stand for all that are more."""
_MOST_NAMED = 50
_ID_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Waiting:
    """An alert that was not delivered yet: the id of its event, how often it was tried, since when (ms since the epoch)."""

    id: str
    attempts: int
    queued_at: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that waits for one subject on one channel, oldest first, and the newest of it as events with their ids, oldest first.

    It is one message, unless there are no events. `unread` is what waits as well, and cannot be read by this version of the service: it is
    in no message. `now` is what time it is for the store.
    """

    tenant: str
    channel: str
    subject: str
    waiting: tuple[Waiting, ...]
    newest: tuple[tuple[str, Event], ...]
    now: int
    unread: tuple[Waiting, ...] = ()

    @property
    def id(self) -> str:
        """The id of the message: another one as soon as anything else is in it, the same as long as the same is sent again."""
        ids = "\n".join(sorted(waiting.id for waiting in self.waiting))
        return f"msg_{hashlib.sha256(ids.encode()).hexdigest()[:_ID_LENGTH]}"

    @property
    def attempts(self) -> int:
        """How often the alert that was tried most often was tried."""
        return max(waiting.attempts for waiting in (*self.waiting, *self.unread))

    @property
    def queued_at(self) -> int:
        """Since when what waits longest in it does (ms since the epoch)."""
        return min(waiting.queued_at for waiting in self.waiting)


@dataclass(frozen=True, slots=True)
class Letter:
    """An alert in the outbox, for a list of them. Times in ms since the epoch; `dead_at` is when it was given up."""

    tenant: str
    channel: str
    id: str
    type: str
    subject: str
    at: int
    attempts: int
    dead_at: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Alerts that did not arrive on one channel: how many, at most `MOST_GIVEN_UP`, and why the last one did not, if that is known."""

    channel: str
    number: int
    error: str | None


class Outbox(Protocol):
    """What waits to be sent, and who may send it."""

    async def hold(self, holder: str, lease_ms: int) -> bool:
        """Whether this process is the one that sends, for so long from now on; at any time at most one is."""
        ...

    async def release(self, holder: str) -> None:
        """Let another process send at once, if this one did."""
        ...

    async def due(self, channel: str, limit: int) -> Sequence[tuple[str, str]]:
        """Tenants and subjects of which something is to be sent on the channel now, what waits longest first."""
        ...

    async def parcel(self, tenant: str, channel: str, subject: str) -> Parcel | None:
        """All that waits for the subject on the channel, be it that it was queued a moment ago; none when nothing does."""
        ...

    async def reopen(self, channel: str) -> None:
        """Let what did not arrive on the channel be tried again at once."""
        ...

    async def strays(self, known: Sequence[str]) -> Sequence[str]:
        """The channels on which anything waits and that are none of these."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered(OwnWork):
    """Write down that a parcel arrived; nothing more is sent about its subject for a minute."""

    parcel: Parcel

    @property
    def tenant(self) -> str:
        """Whose alerts they are."""
        return self.parcel.tenant

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[int]:
        """The alerts leave the outbox, and it is on record that they were sent; how many of what could not be read are given up."""
        parcel = self.parcel
        sent = _ids(parcel.waiting)
        failed, dead = _parted(parcel.unread, now)
        error = UNREADABLE if parcel.unread else None
        change = OutboxChange(parcel.channel, parcel.subject, now, now + QUIET_MS, sent, failed, dead, error)
        event = _event(EventType.NOTIFICATION_SENT, parcel, sent, policy, now, {"message_id": parcel.id})
        return Decided(len(dead), events=(event, *_given_up(parcel, dead, policy, now, UNREADABLE)), outbox=(change,))


@dataclass(frozen=True, slots=True)
class NotDelivered(OwnWork):
    """Write down that a parcel did not arrive, and why: what was tried too often or for too long is given up.

    `lasting`: it will never arrive. Otherwise it is tried again after `delay_ms`.
    """

    parcel: Parcel
    error: str
    delay_ms: int
    lasting: bool = False

    @property
    def tenant(self) -> str:
        """Whose alerts they are."""
        return self.parcel.tenant

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[int]:
        """How many were given up; the others are tried again."""
        parcel = self.parcel
        failed, dead = self._parted(now)
        change = OutboxChange(parcel.channel, parcel.subject, now, now + self.delay_ms, failed=failed, dead=dead, error=self.error)
        return Decided(len(dead), events=_given_up(parcel, dead, policy, now, self.error), outbox=(change,))

    def _parted(self, now: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self.lasting:
            return (), _ids((*self.parcel.waiting, *self.parcel.unread))
        tried, unread = _parted(self.parcel.waiting, now, MOST_ATTEMPTS), _parted(self.parcel.unread, now)
        return tried[0] + unread[0], tried[1] + unread[1]


@dataclass(frozen=True, slots=True)
class Retried:
    """Somebody on the service's machine has had alerts of a tenant sent again on a channel; the ids are those of their events."""

    tenant: str
    channel: str
    ids: Sequence[str]

    def event(self, now: int) -> Event:
        """What is on record of it."""
        data = {"count": len(self.ids), "events": list(self.ids[-_MOST_NAMED:])}
        return Event(EventType.NOTIFICATION_RETRIED, self.tenant, self.channel, CLI_ACTOR, now, "", data)


def _ids(alerts: Sequence[Waiting]) -> tuple[str, ...]:
    return tuple(waiting.id for waiting in alerts)


def _parted(alerts: Sequence[Waiting], now: int, most_attempts: int | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of those that are tried again, and of those that are given up."""

    def is_over(waiting: Waiting) -> bool:
        return now - waiting.queued_at >= LONGEST_MS or (most_attempts is not None and waiting.attempts + 1 >= most_attempts)

    return _ids([waiting for waiting in alerts if not is_over(waiting)]), _ids([waiting for waiting in alerts if is_over(waiting)])


def _given_up(parcel: Parcel, dead: Sequence[str], policy: Policy, now: int, error: str) -> tuple[Event, ...]:
    return (_event(EventType.NOTIFICATION_GIVEN_UP, parcel, dead, policy, now, {"error": error}),) if dead else ()


def _event(event_type: EventType, parcel: Parcel, ids: Sequence[str], policy: Policy, now: int, more: dict[str, str]) -> Event:
    newest = parcel.newest[-1][1] if parcel.newest else None
    about = {"type": newest.type.value, "about": newest.subject} if newest is not None else {"type": None, "about": parcel.subject}
    data = {**about, "count": len(ids), "events": list(ids[-_MOST_NAMED:]), **more}
    return Event(event_type, parcel.tenant, parcel.channel, SYSTEM_ACTOR, now, policy.version, data)

"""Alerts on their way: what waits for whom, and what becomes of it (SPEC 11)."""

from collections.abc import Sequence
from typing import Protocol

from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_events import SYSTEM_ACTOR
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Decided, Needs, OutboxChange, View

QUIET_MS = 60_000
"""How long a subject that was told of is not told of again on the same channel: what happens meanwhile is gathered."""
MOST_ATTEMPTS = 30
LONGEST_MS = 86_400_000
"""Whichever comes first ends the attempts to send an alert."""
_MOST_NAMED = 50


@dataclass(frozen=True, slots=True)
class Waiting:
    """An alert that was not delivered yet: the id of its event, how often it was tried, since when (ms since the epoch)."""

    id: str
    attempts: int
    queued_at: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that waits for one subject on one channel, oldest first, and the newest of it as events with their ids, oldest first.

    It is one message. `now` is what time it is for the store.
    """

    tenant: str
    channel: str
    subject: str
    waiting: tuple[Waiting, ...]
    newest: tuple[tuple[str, Event], ...]
    now: int

    @property
    def id(self) -> str:
        """The id of the message: another one as soon as more is in it, the same as long as the same is sent again."""
        return f"msg_{self.newest[-1][0].removeprefix('evt_').replace('.', '_')}"

    @property
    def attempts(self) -> int:
        """How often the alert that waits longest was tried."""
        return max(waiting.attempts for waiting in self.waiting)


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


@dataclass(frozen=True, slots=True)
class Delivered:
    """Write down that a parcel arrived; nothing more is sent about its subject for a minute."""

    parcel: Parcel

    @property
    def tenant(self) -> str:
        """Whose alerts they are."""
        return self.parcel.tenant

    @property
    def caller(self) -> Caller | None:
        """None: this is the service's own work."""
        return None

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """Nothing."""
        return Needs(final=True)

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[None]:
        """The alerts leave the outbox, and it is on record that they were sent."""
        parcel = self.parcel
        sent = tuple(waiting.id for waiting in parcel.waiting)
        change = OutboxChange(parcel.channel, parcel.subject, now, now + QUIET_MS, sent=sent)
        event = _event(EventType.NOTIFICATION_SENT, parcel, sent, policy, now, {"message_id": parcel.id})
        return Decided(None, events=(event,), outbox=(change,))


@dataclass(frozen=True, slots=True)
class NotDelivered:
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

    @property
    def caller(self) -> Caller | None:
        """None: this is the service's own work."""
        return None

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """Nothing."""
        return Needs(final=True)

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[int]:
        """How many were given up; the others are tried again."""
        parcel = self.parcel
        dead = tuple(waiting.id for waiting in parcel.waiting if self._is_over(waiting, now))
        failed = tuple(waiting.id for waiting in parcel.waiting if not self._is_over(waiting, now))
        change = OutboxChange(parcel.channel, parcel.subject, now, now + self.delay_ms, failed=failed, dead=dead, error=self.error)
        given_up = (_event(EventType.NOTIFICATION_GIVEN_UP, parcel, dead, policy, now, {"error": self.error}),) if dead else ()
        return Decided(len(dead), events=given_up, outbox=(change,))

    def _is_over(self, waiting: Waiting, now: int) -> bool:
        return self.lasting or waiting.attempts + 1 >= MOST_ATTEMPTS or now - waiting.queued_at >= LONGEST_MS


def _event(event_type: EventType, parcel: Parcel, ids: Sequence[str], policy: Policy, now: int, more: dict[str, str]) -> Event:
    newest = parcel.newest[-1][1]
    data = {"type": newest.type.value, "about": newest.subject, "count": len(ids), "events": list(ids[-_MOST_NAMED:]), **more}
    return Event(event_type, parcel.tenant, parcel.channel, SYSTEM_ACTOR, now, policy.version, data)

"""The way of alerts from the outbox to their channels: by one process at a time, each channel by itself, at least once (SPEC 11).

One of all processes holds a lease and sends; when it is gone, another one takes over as soon as the lease has run out. Every channel has
a task of its own, so that one that hangs keeps no other waiting. What could not be sent is tried again, later and later, and at once when
the channel works again. What waits for a channel that the policy has no more is given up in time, by whoever may send.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import field
from typing import TypeVar

import structlog

from cstp_server.clock import Clock, new_id
from cstp_server.domain.alerts import AlertChannel, AlertPolicy
from cstp_server.domain.events import Event
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable
from cstp_server.domain.values import dataclass
from cstp_server.notifiers.channel import BadChannel, Channel, Undelivered
from cstp_server.notifiers.failing import Tally, tell_of_failure
from cstp_server.notifiers.receiving import TOO_MANY_FAILURES, Receiving
from cstp_server.notifiers.strays import LEASE_MS, Strays
from cstp_server.notifiers.templates import Templates
from cstp_server.policy.compiled import Policy
from cstp_server.services.notifying import LONGEST_DELAY_MS, UNREADABLE, Delivered, NotDelivered, Outbox, Parcel
from cstp_server.services.ports import Transactor, UseCase

_RENEW_SECONDS = 5.0
_LOOK_SECONDS = 2.0
_MARGIN_MS = 3_000
_POLL_SECONDS = 1.0
_AT_ONCE = 100
_FIRST_DELAY_MS = 5_000
_SPREAD = 0.2
_MOST_DOUBLINGS = 20
_LONGEST_UNREAD_MS = 600_000
_LONGEST_PAUSE_SECONDS = 60.0
_FINISH_SECONDS = 2.0
_STRAYS_EVERY_SECONDS = 60.0
_log = structlog.get_logger(__name__)

T = TypeVar("T")
Open = Callable[[AlertChannel], Channel]


@dataclass(slots=True)
class _Line:
    """A channel at work: its task, what wakes it, and what ends it, once what is being sent is sent."""

    setup: AlertChannel
    receiving: Receiving
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def title(self) -> str:
        """The name of its task."""
        return f"deliver {self.setup.name}"


class Deliverer:
    """Sends what is in the outbox, while this process is the one that does."""

    def __init__(
        self,
        outbox: Outbox,
        transactor: Transactor,
        policy: Callable[[], Policy],
        open: Open,
        clock: Clock,
        tally: Tally,
        public_url: str | None,
    ) -> None:
        self._outbox = outbox
        self._transactor = transactor
        self._policy = policy
        self._open = open
        self._clock = clock
        self._tally = tally
        self._public_url = public_url
        self._holder = new_id("snd")
        self._strays = Strays(outbox, transactor, policy, clock, tally)
        self._held_until = float("-inf")
        self._renew_at = float("-inf")
        self._lines: dict[str, _Line] = {}
        self._served: dict[str, _Line] = {}
        """The last line of each channel, which may have ended."""
        self._ending: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._keep(), name="deliver"),
            asyncio.create_task(self._look_for_strays(), name="strays"),
        ]

    async def stop(self) -> None:
        """Finish what is being sent, as far as that takes no time, and let another process go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stop_lines(self._lines)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_FINISH_SECONDS)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._holds():
            with suppress(StoreUnavailable, Overloaded):
                await self._outbox.release(self._holder)
        self._held_until = float("-inf")

    def note(self, events: Sequence[Event]) -> None:
        """Look into the outbox at once when people are told of one of these. May be called from any thread."""
        types = self._policy().alerts.types
        if types and self._loop is not None and any(event.type in types for event in events):
            with suppress(RuntimeError):  # the loop has ended, and another process sends
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for line in self._lines.values():
            line.woken.set()

    async def _keep(self) -> None:
        """Hold the lease while there are channels, and have each of them served as long as it is held."""
        while True:
            try:
                alerts = self._policy().alerts
                if alerts.channels and await self._hold():
                    self._serve(alerts)
                else:
                    self._stop_lines(self._lines)
            except (StoreUnavailable, Overloaded):
                if not self._holds():
                    self._stop_lines(self._lines)
            except Exception as fault:  # noqa: BLE001 - this must outlive whatever one round of it meets
                _log.error("notifications_faulted", exc_info=fault)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _hold(self) -> bool:
        started = self._clock.monotonic()
        if self._holds() and started < self._renew_at:
            return True
        held = await self._outbox.hold(self._holder, LEASE_MS)
        if held and not self._holds():
            _log.info("notifications_taken_over")
        self._held_until = started + (LEASE_MS - _MARGIN_MS) / 1000 if held else float("-inf")
        self._renew_at = started + _RENEW_SECONDS
        return held

    def _holds(self) -> bool:
        return self._clock.monotonic() < self._held_until

    def _serve(self, alerts: AlertPolicy) -> None:
        """Have a task for each channel of the policy as it is now, and none for those that it had."""
        wanted = {channel.name: channel for channel in alerts.channels}
        over = [name for name, line in self._lines.items() if wanted.get(name) != line.setup or line.task is None or line.task.done()]
        self._stop_lines(over)
        ending = {task.get_name() for task in self._ending}
        for name, setup in wanted.items():
            line = _Line(setup, self._receiving(setup))
            if name not in self._lines and line.title not in ending:
                self._lines[name] = self._served[name] = line
                line.task = asyncio.create_task(self._run(line), name=line.title)

    def _receiving(self, setup: AlertChannel) -> Receiving:
        """How the channel did when it was last served here; nothing is known of one that is set up anew, but that this is news."""
        last = self._served.get(setup.name)
        if last is None:
            return Receiving()
        return last.receiving if last.setup == setup else Receiving(is_news=True)

    def _stop_lines(self, names: Iterable[str]) -> None:
        for name in list(names):
            line = self._lines.pop(name)
            line.ended.set()
            line.woken.set()
            if line.task is not None and not line.task.done():
                self._ending.add(line.task)
                line.task.add_done_callback(self._ending.discard)

    async def _run(self, line: _Line) -> None:
        """Send what is due on one channel, until it is to end."""
        channel = await self._opened(line.setup)
        while not line.ended.is_set():
            line.woken.clear()
            try:
                await self._round(line, channel)
            except (StoreUnavailable, Overloaded):
                pass  # the store says so itself, and what waits is still there when it is back
            except Exception as fault:  # noqa: BLE001 - a channel must outlive whatever one message meets
                _log.error("notification_faulted", channel=line.setup.name, exc_info=fault)
                line.receiving.failed(self._clock.monotonic(), None)
            await self._rest(line)

    async def _opened(self, setup: AlertChannel) -> Channel | None:
        """The channel; none when it cannot be opened, which the check of the policy has said already."""
        try:
            return await asyncio.to_thread(self._open, setup)
        except BadChannel as bad:
            _log.error("notification_channel_not_opened", channel=setup.name, problem=bad.reason)
            return None

    async def _rest(self, line: _Line) -> None:
        """Wait for more; longer where nothing arrives, or where the receiver wants it so, whatever comes meanwhile."""
        news, pause = line.woken, _POLL_SECONDS
        receiving = line.receiving
        if receiving.is_down:
            pause = min(pause * 2 ** min(receiving.failures - TOO_MANY_FAILURES, _MOST_DOUBLINGS), _LONGEST_PAUSE_SECONDS)
            news = line.ended
        wanted = receiving.quiet_until - self._clock.monotonic()
        if wanted > 0:
            pause, news = max(pause, wanted), line.ended
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await news.wait()

    async def _round(self, line: _Line, channel: Channel | None) -> None:
        """Send to all subjects that are due, until too much of it fails."""
        name, receiving = line.setup.name, line.receiving
        if receiving.quiet_until > self._clock.monotonic():
            return
        if receiving.may_tell(self._clock.monotonic()):
            await self._outbox.reopen(name)
            receiving.told(self._clock.monotonic())
        for tenant, subject in await self._outbox.due(name, _AT_ONCE):
            if line.ended.is_set() or not self._holds():
                break
            parcel = await self._parcel(tenant, name, subject)
            if parcel is not None and not await self._handle(line, channel, parcel):
                break

    async def _handle(self, line: _Line, channel: Channel | None, parcel: Parcel) -> bool:
        """Send a parcel, as far as it can be read; whether the channel is fit for another one."""
        if not parcel.newest:
            await self._fail(parcel, Undelivered(UNREADABLE), min(_delay_ms(parcel.attempts, None), _LONGEST_UNREAD_MS))
            return True
        failed = await self._deliver(parcel, channel)
        now, receiving = self._clock.monotonic(), line.receiving
        if failed is None:
            receiving.worked(now)
            return True
        receiving.failed(now, failed.retry_after_ms)
        return not receiving.is_down and receiving.quiet_until <= now

    async def _parcel(self, tenant: str, channel: str, subject: str) -> Parcel | None:
        try:
            return await self._outbox.parcel(tenant, channel, subject)
        except (StoreUnavailable, Overloaded):
            raise
        except Exception as fault:  # noqa: BLE001 - what cannot be read keeps no other subject waiting
            _log.error("notification_not_read", channel=channel, exc_info=fault)
            return None

    async def _deliver(self, parcel: Parcel, channel: Channel | None) -> Undelivered | None:
        """Send one message, and write down what became of it; why it did not arrive."""
        failed: Undelivered | None = None
        try:
            if channel is None:
                raise Undelivered("the channel cannot be opened: `cstp policy check` says why")
            await channel.send(self._templates().message(parcel))
        except Undelivered as undelivered:
            failed = undelivered
        except Exception as fault:  # noqa: BLE001 - a message that a channel or a template cannot handle is tried again, and given up in time
            _log.error("notification_faulted", channel=parcel.channel, exc_info=fault)
            failed = Undelivered(f"a fault of the service: {type(fault).__name__}")
        if failed is None:
            dead = await self._settle(Delivered(parcel))
            self._tally.notified(parcel.channel, "sent", len(parcel.waiting))
            self._tally.notified_after(max(self._clock.now() - parcel.queued_at, 0) / 1000)
            if parcel.unread:
                tell_of_failure(self._tally, parcel, UNREADABLE, len(parcel.unread), dead)
            return None
        await self._fail(parcel, failed, _delay_ms(parcel.attempts, failed.retry_after_ms))
        return failed

    async def _fail(self, parcel: Parcel, failed: Undelivered, delay_ms: int) -> None:
        dead = await self._settle(NotDelivered(parcel, failed.reason, delay_ms, failed.lasting))
        tell_of_failure(self._tally, parcel, failed.reason, len(parcel.waiting) + len(parcel.unread), dead)

    async def _look_for_strays(self) -> None:
        while True:
            try:
                await self._strays.put_away(sends=self._holds())
            except (StoreUnavailable, Overloaded):
                pass  # the store says so itself
            except Exception as fault:  # noqa: BLE001 - this must outlive whatever one round of it meets
                _log.error("notifications_faulted", exc_info=fault)
            await asyncio.sleep(_STRAYS_EVERY_SECONDS)

    async def _settle(self, use_case: UseCase[T]) -> T | Refusal:
        """Write it down, however long the store does not answer: what has arrived must not be sent again because of that."""
        while True:
            try:
                return await self._transactor.run(use_case)
            except (StoreUnavailable, Overloaded):
                await asyncio.sleep(_POLL_SECONDS)

    def _templates(self) -> Templates:
        return Templates(self._policy().time_zone, self._public_url)


def _delay_ms(attempts: int, wanted_ms: int | None) -> int:
    """How long to wait after so many attempts before this one: twice as long each time, by chance up to a fifth more or less.

    At least as long as the receiver wants.
    """
    delay = min(_FIRST_DELAY_MS * 2 ** min(attempts, _MOST_DOUBLINGS), LONGEST_DELAY_MS / (1 + _SPREAD))
    return min(max(int(delay * random.uniform(1 - _SPREAD, 1 + _SPREAD)), wanted_ms or 0), LONGEST_DELAY_MS)

"""Alerts for channels that the policy has no more: after a while they are given up, on record like any other (SPEC 11)."""

from collections.abc import Callable, Iterable, Sequence

from cstp_server.clock import Clock, new_id
from cstp_server.notifiers.failing import Tally, tell_of_failure
from cstp_server.policy.compiled import Policy
from cstp_server.services.notifying import NotDelivered, Outbox, Parcel
from cstp_server.services.ports import Transactor

LEASE_MS = 18_000
"""With the look that finds it run out: the longest time in which nobody sends after the sending process has died."""
STRAY_SECONDS = 3_600.0
"""For how long whoever may send must have known no channel of a name: another process may have a newer policy, and tell of it."""
_AT_ONCE = 100
_MOST_SECONDS = 10.0
_NO_CHANNEL = "the policy has no channel of this name"


class Strays:
    """What one process does about them: only the process that sends may give up what waits.

    Where the policy names no channels at all, nobody sends. Then it is whoever finds the lease free each time for an hour; it keeps the
    lease no longer than the work takes, since another process may have channels, and send.
    """

    def __init__(self, outbox: Outbox, transactor: Transactor, policy: Callable[[], Policy], clock: Clock, tally: Tally) -> None:
        self._outbox = outbox
        self._transactor = transactor
        self._policy = policy
        self._clock = clock
        self._tally = tally
        self._holder = new_id("snd")
        self._since: dict[str, float] = {}

    async def put_away(self, *, sends: bool) -> None:
        """Give up what waits for channels that have been unknown for an hour; `sends`: this process is the one that does.

        To be called every minute or so. Raises `StoreUnavailable` or `Overloaded`.
        """
        known = [channel.name for channel in self._policy().alerts.channels]
        strays = await self._outbox.strays(known)
        if strays and sends:
            await self._give_up(strays)
        elif strays and not known and await self._outbox.hold(self._holder, LEASE_MS):
            try:
                await self._give_up(strays)
            finally:
                await self._outbox.release(self._holder)
        else:
            self._since = {}

    async def _give_up(self, strays: Sequence[str]) -> None:
        """No more at a time than the lease surely lasts for."""
        now = self._clock.monotonic()
        self._since = {name: self._since.get(name, now) for name in strays}
        await self._give_up_channels([name for name, since in self._since.items() if now - since >= STRAY_SECONDS], now + _MOST_SECONDS)

    async def _give_up_channels(self, names: Iterable[str], until: float) -> None:
        for name in names:
            while due := await self._outbox.due(name, _AT_ONCE):
                for tenant, subject in due:
                    if self._clock.monotonic() > until:
                        return
                    parcel = await self._outbox.parcel(tenant, name, subject)
                    if parcel is not None:
                        await self._give_up_parcel(parcel)

    async def _give_up_parcel(self, parcel: Parcel) -> None:
        dead = await self._transactor.run(NotDelivered(parcel, _NO_CHANNEL, 0, lasting=True))
        tell_of_failure(self._tally, parcel, _NO_CHANNEL, len(parcel.waiting) + len(parcel.unread), dead)

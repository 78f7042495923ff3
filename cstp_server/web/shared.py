"""Fragments that many pages ask for at the same moment, made once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from starlette.responses import Response

from cstp_server.clock import Clock
from cstp_server.domain.values import dataclass

_MOST = 128
_KEPT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment that is being made or was: since when, by the monotonic clock, and with the time of the day (ms since the epoch)."""

    begun: float
    at: int
    making: asyncio.Task[Response]

    @property
    def has_failed(self) -> bool:
        """Whether it could not be made."""
        return self.making.done() and (self.making.cancelled() or self.making.exception() is not None)


class SharedFragments:
    """Makes a fragment for the first who asks, and gives it to all who ask for the same of the same edition at the same moment.

    A fragment tells the time and what comes of it (what is left of a cooldown, what happened in the last hour), so it is given to others
    for a second, though nothing else may have changed since.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fragments: OrderedDict[Hashable, Fragment] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Response]], newer_than: int = 0) -> Response:
        """The fragment of that key, begun no earlier than `newer_than` (ms since the epoch): a page that shows something newer already, as
        after its own form, does not go back. What could not be made is not kept.
        """
        now = self._clock.monotonic()
        found = self._fragments.get(key)
        if found is None or found.has_failed or found.at < newer_than or now - found.begun >= _KEPT_SECONDS:
            found = Fragment(now, self._clock.now(), asyncio.ensure_future(_made(make)))
            self._fragments[key] = found
            self._fragments.move_to_end(key)
            if len(self._fragments) > _MOST:
                self._fragments.popitem(last=False)
        return await asyncio.shield(found.making)


async def _made(make: Callable[[], Awaitable[Response]]) -> Response:
    return await make()

"""Time in the demo: seconds as its story tells them, which pass `speed` times as fast as real ones."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cstp_server.clock import Clock, SystemClock


@dataclass(slots=True)
class Pace:
    """How fast the story goes. `speed` 1 is real time."""

    speed: float = 1.0
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The story begins now, and not when this was made."""
        self._begun = self.clock.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of the story since it began."""
        return (self.clock.monotonic() - self._begun) * self.speed

    async def wait(self, seconds: float) -> None:
        """Let so many seconds of the story pass."""
        await self.sleep(seconds / self.speed)

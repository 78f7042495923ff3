"""What every actor of the demo has at hand: the ways to the service, the pace, chance, and the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from cstp_server.client import AsyncClient, Check, CstpError, Proposal
from demo.pace import Pace


@dataclass(frozen=True, slots=True)
class Stage:
    """The scene of one demo. Two of the same `seed` and `speed` ask for the same things in the same order, actor by actor."""

    agents: AsyncClient
    pipeline: AsyncClient
    operator: AsyncClient
    pace: Pace
    seed: int
    tell: Callable[[str], None]

    def chance(self, actor: str) -> Random:
        """The chance of one actor, which is no other's."""
        return Random(f"{self.seed}/{actor}")

    @contextmanager
    def going_on(self, actor: str) -> Iterator[None]:
        """What an actor tries: when the service refuses it or does not answer, that is told, and the story goes on."""
        try:
            yield
        except CstpError as error:
            self.tell(f"{actor}: {error}")

    async def ask(self, proposal: Proposal) -> Check:
        """Ask whether something may go on."""
        return await self.agents.check_proposal(proposal)

    async def go_on(self, check: Check, patience: float) -> bool:
        """Whether a decision may go on, in the end: one that waits is waited for, so many seconds of the story."""
        if check.allowed or check.pending is None or check.decision_id is None:
            return check.allowed
        settled = await self.agents.await_decision(check.decision_id, timeout=patience / self.pace.speed)
        return settled.allowed


def phase(elapsed: float, every: float, begin: float, end: float) -> bool:
    """Whether the story is in a phase that comes back `every` so many seconds, from `begin` to `end` of each round.

    >>> [phase(at, 60, 8, 20) for at in (7, 8, 19, 20, 68)]
    [False, True, True, False, True]
    """
    return begin <= elapsed % every < end

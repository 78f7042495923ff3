"""What every page shows beside its own: whether anything is open, and what waits."""

import asyncio
from collections.abc import Mapping

from cstp_server.domain.circuit_state import State
from cstp_server.domain.findings import Lift
from cstp_server.domain.values import dataclass
from cstp_server.services import browsing
from cstp_server.services.catalogue import MOST_WAITING
from cstp_server.web.context import Visit
from cstp_server.web.words import many, number


@dataclass(frozen=True, slots=True)
class Pulse:
    """Circuits by state, and decisions that wait, by what for."""

    circuits: Mapping[State, int]
    waiting: Mapping[str, int]

    @property
    def open(self) -> int:
        """Circuits that let nothing through."""
        return self.circuits[State.OPEN]

    @property
    def half_open(self) -> int:
        """Circuits that let probes through."""
        return self.circuits[State.HALF_OPEN]

    @property
    def closed(self) -> int:
        """Circuits that let everything through."""
        return self.circuits[State.CLOSED]

    @property
    def pending(self) -> int:
        """Decisions that a person has to decide; a cancel window is over by itself."""
        return sum(count for kind, count in self.waiting.items() if kind != Lift.CANCEL_WINDOW.label)

    @property
    def is_more(self) -> bool:
        """Whether more of them may wait than were counted."""
        return self.pending >= MOST_WAITING

    @property
    def said(self) -> str:
        """All of it in a sentence, for those who listen."""
        pending = f"{number(self.pending)}+ decisions" if self.is_more else many(self.pending, "decision")
        return f"{many(self.open, 'circuit')} open, {number(self.half_open)} half-open, {pending} pending"


async def pulse_of(visit: Visit) -> Pulse:
    """The pulse of the tenant."""
    catalogue, tenant = visit.dashboard.catalogue, visit.tenant
    circuits, waiting = await asyncio.gather(browsing.counts(catalogue, visit.policy, tenant), catalogue.waiting(tenant))
    return Pulse(circuits, waiting)

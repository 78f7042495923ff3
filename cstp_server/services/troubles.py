"""Who makes trouble: agents by what was refused of them, what failed, and what they ran into lately."""

from collections.abc import Sequence

from cstp_server.domain.decisions import Outcome
from cstp_server.domain.findings import Intervention
from cstp_server.domain.values import dataclass
from cstp_server.services.catalogue import Seen
from cstp_server.services.ports import HitCount

_REFUSED = frozenset({Intervention.BLOCK.label, Intervention.HALT.label})


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one agent has done lately: of so many decisions so many were refused or failed, and so often it ran into tripwires."""

    agent_id: str
    decisions: int
    refused: int
    failed: int
    hits: int

    @property
    def weight(self) -> int:
        """How much of it is trouble."""
        return self.refused + self.failed + self.hits


def troubles(seen: Sequence[Seen], hits: Sequence[HitCount], limit: int) -> Sequence[Trouble]:
    """The agents that make any, the most first."""
    decisions, refused, failed, tripped = (dict[str, int]() for _ in range(4))
    for each in seen:
        _count(decisions, each.agent_id, 1)
        _count(refused, each.agent_id, each.intervention in _REFUSED)
        _count(failed, each.agent_id, each.outcome == Outcome.FAILURE.value)
    for hit in hits:
        _count(decisions, hit.agent_id, 0)
        _count(tripped, hit.agent_id, hit.hits)
    found = [
        Trouble(agent_id, number, refused.get(agent_id, 0), failed.get(agent_id, 0), tripped.get(agent_id, 0))
        for agent_id, number in decisions.items()
    ]
    return sorted((trouble for trouble in found if trouble.weight), key=lambda trouble: (-trouble.weight, trouble.agent_id))[:limit]


def _count(counts: dict[str, int], agent_id: str, number: int) -> None:
    counts[agent_id] = counts.get(agent_id, 0) + number

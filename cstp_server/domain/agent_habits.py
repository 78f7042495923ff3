"""The habits of one agent, as they are kept (SPEC 9)."""

from cstp_server.domain.gaming import Habits
from cstp_server.domain.values import dataclass

NO_HABITS = Habits()
_DAY_MS = 86_400_000
FORGOTTEN_AFTER_MS = 30 * _DAY_MS
"""Habits of an agent that was not looked at for so long are nobody's any more."""


@dataclass(frozen=True, slots=True)
class AgentHabits:
    """An agent's habits, and when they were last put on record, in ms since the epoch."""

    agent_id: str
    habits: Habits = NO_HABITS
    at: int = 0

    def after(self, habits: Habits, now: int) -> "AgentHabits | None":
        """What is to be put on record; none where it says that already, and not too long ago to be taken for forgotten."""
        if habits == self.habits and (not habits.small or now - self.at < _DAY_MS):
            return None
        return AgentHabits(self.agent_id, habits, now)

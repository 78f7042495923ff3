"""What was deleted because the policy keeps it no longer (SPEC 12): on record, like every other change."""

from cstp_server.domain.circuit_events import SYSTEM_ACTOR
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Decided, View


@dataclass(frozen=True, slots=True)
class NotePruned(OwnWork):
    """Write down that so many rows of a tenant are gone from a table: those from before `before` (ms since the epoch)."""

    tenant: str
    table: str
    before: int
    count: int

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[None]:
        """The event."""
        data = {"before": self.before, "count": self.count}
        return Decided(None, events=(Event(EventType.RETENTION_PRUNED, self.tenant, self.table, SYSTEM_ACTOR, now, policy.version, data),))

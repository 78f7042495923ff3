"""What is left of usage that nobody counts any more goes (SPEC 13)."""

from collections.abc import Sequence

from cstp_server.domain.usage import Usage, is_spent
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Decided, Needs, UsageChange, View


@dataclass(frozen=True, slots=True)
class Tidy(OwnWork):
    """Forget the tallies of some subjects of a tenant that are spent; the answer is of how many subjects something went."""

    tenant: str
    subjects: Sequence[str]

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The usage of the subjects, out of whose rolling windows goes what has left them."""
        return Needs(usage=frozenset(self.subjects), final=True)

    def decide(self, _policy: Policy, view: View, now: int) -> Decided[int]:
        """Keep the tallies that still count for something."""
        changes = []
        for subject in self.subjects:
            usage = view.usage(subject)
            live = {meter: tally for meter, tally in usage.tallies.items() if not is_spent(tally, now)}
            if not live or len(live) < len(usage.tallies):
                changes.append(UsageChange(Usage(subject, live)))
        return Decided(len(changes), usage=tuple(changes))

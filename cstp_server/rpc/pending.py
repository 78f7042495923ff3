"""What a decision waits for, on the wire (SPEC 3)."""

from cstp_server.domain.decisions import Pending
from cstp_server.rpc.wire import Result, Time


class PendingResult(Result):
    """What the decision waits for: `cancel_window`, `confirmation` or `approval`, and until when."""

    kind: str
    until: Time

    @classmethod
    def of(cls, pending: Pending | None) -> "PendingResult | None":
        """What it waits for as it goes out; none when it waits for nothing."""
        return cls(kind=pending.kind, until=pending.until) if pending is not None else None

"""What the service does by itself, in transactions like everybody's."""

from cstp_server.domain.callers import Caller
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Needs, View


class OwnWork:
    """A use case on nobody's behalf, which no token that is revoked stops. It reads nothing, unless it says so."""

    __slots__ = ()

    @property
    def caller(self) -> Caller | None:
        """None: this is the service's own work."""
        return None

    def needs(self, _policy: Policy, _view: View, /) -> Needs:
        """Nothing."""
        return Needs(final=True)

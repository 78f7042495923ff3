"""What the commands that run on the server's own machine ask of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cstp_server.domain.anchors import Anchor
from cstp_server.domain.callers import Role
from cstp_server.services.audit_reports import AuditReport
from cstp_server.services.tokens import TokenInfo

if TYPE_CHECKING:
    from cstp_server.services.notifying import Letter


class BackendError(Exception):
    """The backend could not do it; the message is for the operator, lower case and without a full stop."""


class Backend(Protocol):
    """The server and its database, at hand. Every method may raise `BackendError`."""

    def serve(self, *, config: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
        """Run the service until it is told to end; what is none comes from the settings."""
        ...

    def upgrade(self) -> str:
        """Bring the database to the newest schema; the revision reached."""
        ...

    def current(self) -> tuple[str | None, str]:
        """The revision of the database (none: no schema yet) and the newest one."""
        ...

    def create_token(self, *, name: str, roles: tuple[Role, ...], tenant: str, agent_id: str | None, expires_in_ms: int | None) -> str:
        """Make a token and keep its digest; the token itself is seen here only."""
        ...

    def list_notifications(self, *, dead: bool, limit: int) -> Sequence["Letter"]:
        """Alerts that wait to be sent and those that were given up, or with `dead` only the latter, oldest first."""
        ...

    def retry_notifications(self, id: str | None) -> int:
        """Have an alert sent soon, or with none all that were given up; how many."""
        ...

    def test_notification(self, channel: str, *, config: Path | None) -> None:
        """Send a message on a channel of the policy, here and now; with none that of the settings."""
        ...

    def list_tokens(self) -> Sequence[TokenInfo]:
        """Every token, revoked and expired ones included."""
        ...

    def revoke_token(self, name: str) -> bool:
        """Revoke the token of that name; false when there is none."""
        ...

    def verify_audit(self, *, since: int | None, kept: Path | None, progress: "AuditProgress") -> AuditReport:
        """Look through the record of events, from `since` (ms since the epoch) on, and hold it against anchors that were kept in a file."""
        ...

    def verify_audit_file(self, file: Path, progress: "AuditProgress") -> AuditReport:
        """Look through an exported record."""
        ...

    def export_audit(self, *, since: int | None, write: Callable[[bytes], object], progress: "AuditProgress") -> AuditReport:
        """Write the record of events with its proofs as JSON lines; how many events that are, and what keeps it from being proven."""
        ...

    def newest_anchor(self) -> Anchor | None:
        """The newest anchor of the record of events."""
        ...


class AuditProgress(Protocol):
    """Is told how looking through the record goes."""

    def begin(self, total: int | None) -> None:
        """There are about so many events to look at, as far as that is known."""
        ...

    def advance(self, events: int) -> None:
        """So many more have been looked at."""
        ...

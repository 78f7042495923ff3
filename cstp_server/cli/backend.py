"""What the commands that run on the server's own machine ask of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cstp_server.domain.callers import Role
from cstp_server.services.tokens import TokenInfo


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

    def list_tokens(self) -> Sequence[TokenInfo]:
        """Every token, revoked and expired ones included."""
        ...

    def revoke_token(self, name: str) -> bool:
        """Revoke the token of that name; false when there is none."""
        ...

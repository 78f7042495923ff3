"""Sessions of people at the dashboard, as the store keeps them: known by the digest of a secret (SPEC 11)."""

from cstp_server.domain.events import Event
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in, by the digest of their token (none where none was needed). Times in ms since the epoch."""

    tenant: str
    token_digest: bytes | None
    created_at: int
    expires_at: int
    seen_at: int


@dataclass(frozen=True, slots=True)
class SessionChange:
    """A session that began, or (without `begun`) that is to end, by the digest of its secret.

    `event` is what its end is put on record with, unless it has ended before.
    """

    digest: bytes
    begun: Session | None = None
    event: Event | None = None

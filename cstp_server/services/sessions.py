"""Sessions of people who have signed in with a token: known by a digest, and over as soon as the token is (SPEC 11)."""

import hashlib
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller
from cstp_server.domain.refusals import Overloaded, StoreUnavailable, Unauthorized
from cstp_server.domain.values import dataclass
from cstp_server.services.identifying import Identification
from cstp_server.services.ports import Authenticator

_BYTES = 32
_SEEN_EVERY_MS = 60_000
_FORM_KEY = b"form"


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in, by the digest of their token (none where none was needed). Times in ms since the epoch."""

    tenant: str
    token_digest: bytes | None
    created_at: int
    expires_at: int
    seen_at: int


class Sessions(Protocol):
    """Sessions by the digest of their secret, for all processes that share a store."""

    async def begin(self, digest: bytes, session: Session) -> None:
        """Store a session, and forget those that are over by now."""
        ...

    async def find(self, digest: bytes) -> Session | None:
        """The session of that digest."""
        ...

    async def seen(self, digest: bytes, at: int) -> None:
        """Remember when it was last used."""
        ...

    async def end(self, digest: bytes) -> None:
        """Forget it."""
        ...


@dataclass(frozen=True, slots=True)
class Requested:
    """What a request says of where it comes from: its address, and its headers."""

    host: str | None
    headers: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session at work: its secret, and whom it stands for now."""

    secret: str
    caller: Caller

    @property
    def form_token(self) -> str:
        """What a form of this session carries, so that no other site can send one in its name."""
        return hashlib.blake2b(self.secret.encode(), key=_FORM_KEY, digest_size=24).hexdigest()


@dataclass(frozen=True, slots=True)
class SessionDesk:
    """Begins sessions, finds them again and ends them. They last `longest_ms`, and no longer than `idle_ms` unused."""

    sessions: Sessions
    authenticator: Authenticator
    identification: Identification
    clock: Clock
    idle_ms: int
    longest_ms: int

    async def begin(self, caller: Caller) -> SignedIn:
        """A new session of somebody who has just proved who they are."""
        secret, now = secrets.token_urlsafe(_BYTES), self.clock.now()
        await self.sessions.begin(digest_of(secret), Session(caller.tenant, caller.token_digest, now, now + self.longest_ms, now))
        return SignedIn(secret, caller)

    async def find(self, secret: str, request: Requested) -> SignedIn | None:
        """The session of that secret; none when it is over, or when its token is."""
        digest, now = digest_of(secret), self.clock.now()
        session = await self.sessions.find(digest)
        if session is None or now >= session.expires_at or now >= session.seen_at + self.idle_ms:
            return None
        caller = await self._caller_of(session, request)
        if caller is None or caller.tenant != session.tenant:
            return None
        if now - session.seen_at >= min(_SEEN_EVERY_MS, self.idle_ms // 4):
            with suppress(StoreUnavailable, Overloaded):  # whoever may look can do so while nothing can be written
                await self.sessions.seen(digest, now)
        return SignedIn(secret, caller)

    async def end(self, secret: str) -> None:
        """Nobody gets in with it any more."""
        await self.sessions.end(digest_of(secret))

    async def _caller_of(self, session: Session, request: Requested) -> Caller | None:
        if session.token_digest is not None:
            return await self.authenticator.caller_of(session.token_digest)
        local = await self.identification.local_caller(request.host, request.headers)
        return None if isinstance(local, Unauthorized) else local


def digest_of(secret: str) -> bytes:
    """The digest under which a session is stored; a fast one is enough for what cannot be guessed."""
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).digest()

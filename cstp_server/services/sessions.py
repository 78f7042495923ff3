"""Sessions of people who have signed in with a token: known by a digest, and over as soon as the token is (SPEC 11)."""

import hashlib
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable, Unauthorized
from cstp_server.domain.sessions import Session, SessionChange
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.identifying import Identification
from cstp_server.services.ports import Authenticator, Decided, Needs, Transactor, View

_BYTES = 32
_SEEN_EVERY_MS = 60_000
_FORM_KEY = b"form"


class Sessions(Protocol):
    """Sessions by the digest of their secret, for all processes that share a store."""

    async def find(self, digest: bytes) -> Session | None:
        """The session of that digest."""
        ...

    async def seen(self, digest: bytes, at: int) -> None:
        """Remember when it was last used."""
        ...


@dataclass(frozen=True, slots=True)
class BeginSession:
    """Keep a session of somebody who has just proved who they are, and put that on record; its digest is not part of that."""

    caller: Caller
    digest: bytes
    session: Session

    @property
    def tenant(self) -> str:
        """The caller's."""
        return self.caller.tenant

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """Nothing."""
        return Needs(final=True)

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[None]:
        """The session and the event."""
        data = {"roles": sorted(role.value for role in self.caller.roles), "expires_at": self.session.expires_at}
        event = _event(EventType.SESSION_BEGUN, self.caller, now, policy, data)
        return Decided(None, sessions=(SessionChange(self.digest, self.session),), events=(event,))


@dataclass(frozen=True, slots=True)
class EndSession:
    """Forget a session of `holder`, and put on record that it was ended, and by what: `signed_out` or `replaced`."""

    holder: Caller
    digest: bytes
    cause: str

    @property
    def tenant(self) -> str:
        """The holder's."""
        return self.holder.tenant

    @property
    def caller(self) -> Caller | None:
        """None: whoever has a session may end it, though their token was revoked meanwhile."""
        return None

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """Nothing."""
        return Needs(final=True)

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[None]:
        """The end, with the event in case that it is one."""
        event = _event(EventType.SESSION_ENDED, self.holder, now, policy, {"cause": self.cause})
        return Decided(None, sessions=(SessionChange(self.digest, event=event),))


def _event(event_type: EventType, caller: Caller, now: int, policy: Policy, data: Mapping[str, Any]) -> Event:
    return Event(event_type, caller.tenant, caller.principal, caller.principal, now, policy.version, data)


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

    transactor: Transactor
    sessions: Sessions
    authenticator: Authenticator
    identification: Identification
    clock: Clock
    idle_ms: int
    longest_ms: int

    async def begin(self, caller: Caller) -> SignedIn | Refusal:
        """A new session of somebody who has just proved who they are; refused when their token was revoked since."""
        secret, now = secrets.token_urlsafe(_BYTES), self.clock.now()
        session = Session(caller.tenant, caller.token_digest, now, now + self.longest_ms, now)
        refusal = await self.transactor.run(BeginSession(caller, digest_of(secret), session))
        return refusal if refusal is not None else SignedIn(secret, caller)

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

    async def end(self, signed_in: SignedIn, cause: str) -> None:
        """Nobody gets in with it any more. One that was ended already stays so, and is not put on record again."""
        await self.transactor.run(EndSession(signed_in.caller, digest_of(signed_in.secret), cause))

    async def _caller_of(self, session: Session, request: Requested) -> Caller | None:
        if session.token_digest is not None:
            return await self.authenticator.caller_of(session.token_digest)
        local = await self.identification.local_caller(request.host, request.headers)
        return None if isinstance(local, Unauthorized) else local


def digest_of(secret: str) -> bytes:
    """The digest under which a session is stored; a fast one is enough for what cannot be guessed."""
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).digest()

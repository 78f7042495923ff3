"""What a page has at hand: the machinery behind the ports, who is looking, and what they asked for."""

from collections.abc import Awaitable, Callable
from dataclasses import field

from starlette.requests import Request
from starlette.responses import Response

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.values import dataclass
from cstp_server.metrics import Metrics
from cstp_server.policy.compiled import Policy
from cstp_server.services.catalogue import Catalogue
from cstp_server.services.feeds import Feed
from cstp_server.services.identifying import Identification
from cstp_server.services.ports import Guardians, PolicySource, Reader, Transactor
from cstp_server.services.sessions import Requested, SessionDesk, SignedIn
from cstp_server.web.attempts import Attempts
from cstp_server.web.forms import Form
from cstp_server.web.shared import SharedFragments
from cstp_server.web.streams import Streams

_DIGITS = 16
_AS_WRITTEN = frozenset({"after", "agent", "at", "before", "domain", "id", "scope", "subject", "user"})
"""What names something, or a place in a list: with a space at its end it names another thing."""
Admission = Callable[[bytes | None], int]
"""Counts a request of the token of that digest: 0 when it is admitted, else the ms after which the next one would be."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything that the pages are built on."""

    transactor: Transactor
    reader: Reader
    catalogue: Catalogue
    guardians: Guardians
    policy_source: PolicySource
    desk: SessionDesk
    identification: Identification
    feed: Feed
    clock: Clock
    metrics: Metrics
    attempts: Attempts
    admit: Admission
    streams: Streams
    shared: SharedFragments


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who has signed in. `form` is what they have sent, if they have sent anything."""

    dashboard: Dashboard
    request: Request
    signed_in: SignedIn
    form: Form = field(default_factory=Form)

    @property
    def caller(self) -> Caller:
        """Who is looking."""
        return self.signed_in.caller

    @property
    def tenant(self) -> str:
        """Whose rows they see."""
        return self.caller.tenant

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.dashboard.policy_source.current

    @property
    def now(self) -> int:
        """What time it is, in ms since the epoch."""
        return self.dashboard.clock.now()

    @property
    def operates(self) -> bool:
        """Whether they may change anything."""
        return self.caller.may(Role.OPS)

    @property
    def wants_fragment(self) -> bool:
        """Whether only what changes is asked for, by a page that is open."""
        return self.request.headers.get("x-fragment") == "live"

    @property
    def shown(self) -> int:
        """How new what the open page shows is, in ms since the epoch; 0 when it does not say."""
        text = self.request.headers.get("x-shown", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0

    def asked(self, name: str) -> str | None:
        """One parameter of the address, names as they are written; none when it is missing or blank, or nothing that a store can hold."""
        value = self.request.query_params.get(name) or ""
        if not value.strip() or "\0" in value:
            return None
        return value if name in _AS_WRITTEN else value.strip()


Page = Callable[[Visit], Awaitable[Response]]


def requested(request: Request) -> Requested:
    """Where a request comes from."""
    return Requested(request.client.host if request.client is not None else None, dict(request.headers.raw))

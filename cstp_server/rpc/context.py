"""What a handler has at hand: the machinery behind the ports, and who is calling."""

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from cstp_server.census import Census
from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller
from cstp_server.domain.values import dataclass
from cstp_server.metrics import Metrics
from cstp_server.rpc.health import Readiness
from cstp_server.rpc.limiting import RateLimiter
from cstp_server.rpc.limits import Limits
from cstp_server.services.ports import Authenticator, Dimensions, Guardians, PolicySource, Reader, Transactor, Waiting
from cstp_server.tracing import Span, Tracer


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the edge is built on; `token_key` keys the digests of tokens."""

    transactor: Transactor
    reader: Reader
    waiting: Waiting
    guardians: Guardians
    dimensions: Dimensions
    policy_source: PolicySource
    authenticator: Authenticator
    readiness: Readiness
    metrics: Metrics
    census: Census
    clock: Clock
    limits: Limits
    rate_limiter: RateLimiter
    token_key: bytes = b""
    tracer: Tracer | None = None


class Traced(Protocol):
    """Something that a log line can name."""

    @property
    def correlation_id(self) -> str:
        """The id that this request has in the log and in its answer's headers."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """One request: the services, its caller, its id in the log, and when it came (`clock.monotonic`, in seconds).

    `propagated` is what the caller says of the trace that it is part of, and `span` the call in it, where calls are traced.
    """

    services: Services
    caller: Caller
    correlation_id: str
    since: float
    propagated: Mapping[str, str] = field(default_factory=dict)
    span: Span | None = None

    def concerns(self, decision_id: str, intervention: str | None = None) -> None:
        """Tell the trace, if there is one, which decision the call is about, and what was answered, where it is a check."""
        if self.span is not None:
            self.span.concerns(decision_id, intervention)

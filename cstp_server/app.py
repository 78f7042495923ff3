"""The composition root: the only place that knows every room."""

import asyncio
import contextlib
import functools
import gc
import multiprocessing
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from cstp_server import logs
from cstp_server.appraising import Appraising
from cstp_server.census import Census
from cstp_server.clock import Clock, SystemClock, new_id
from cstp_server.dimensions.known import KnownDimensions
from cstp_server.domain.alerts import AlertChannel
from cstp_server.domain.anchors import AuditKeys
from cstp_server.domain.circuit_events import CIRCUIT_MOVES
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.posture_events import POSTURE_MOVES
from cstp_server.domain.values import dataclass
from cstp_server.feed import LiveFeed
from cstp_server.guardians import InstalledGuardians, load_guards
from cstp_server.housekeeping import Housekeeping
from cstp_server.live_policy import LivePolicy
from cstp_server.mcp.endpoint import PATH as TOOLS
from cstp_server.mcp.endpoint import Edge, McpEndpoint
from cstp_server.mcp.hosts import Hosts
from cstp_server.metrics import Metrics
from cstp_server.notifiers.channel import Channel
from cstp_server.notifiers.channels import open_channel, problems_of
from cstp_server.notifiers.delivering import Deliverer
from cstp_server.policy.compiled import Policy
from cstp_server.policy.fields import Path as Steps
from cstp_server.policy.watching import PolicyFile
from cstp_server.policy_record import PolicyRecord
from cstp_server.rpc.context import Services
from cstp_server.rpc.endpoint import CstpEndpoint
from cstp_server.rpc.front import Front
from cstp_server.rpc.limiting import RateLimiter
from cstp_server.rpc.limits import Limits
from cstp_server.rpc.middleware import CorrelationIds
from cstp_server.rpc.routes import routes
from cstp_server.services.earning import Appraisal
from cstp_server.services.identifying import Identification
from cstp_server.services.ports import Dimensions, Guardians
from cstp_server.services.sessions import SessionDesk
from cstp_server.settings import Settings, metrics_folder, unknown_variables, variable
from cstp_server.storage.calls import Limits as QueueLimits
from cstp_server.storage.engine import database_url
from cstp_server.storage.store import Store
from cstp_server.tooling import RpcCalls
from cstp_server.waiting import Waiters
from cstp_server.web.attempts import Attempts
from cstp_server.web.context import Dashboard
from cstp_server.web.nowhere import nowhere
from cstp_server.web.routes import routes as pages
from cstp_server.web.shared import SharedFragments
from cstp_server.web.streams import Streams
from cstp_server.worker import Worker

if TYPE_CHECKING:
    from cstp_server.telemetry import Telemetry

_log = structlog.get_logger(__name__)
_COLLECT_AFTER = 50_000
_LOOK_FOR_SUPERVISOR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that one server process is made of."""

    store: Store
    policy: LivePolicy
    worker: Worker
    deliverer: Deliverer
    waiters: Waiters
    feed: LiveFeed
    guardians: Guardians
    dimensions: Dimensions
    metrics: Metrics
    clock: Clock
    telemetry: "Telemetry | None" = None

    async def report(self) -> Mapping[str, bool]:
        """Whether the service can do its work, by name."""
        return {**await self.store.report(), "policy": True}

    def note(self, events: Sequence[Event]) -> None:
        """Count what happened, wake who waits or sends, tell who watches, and stop what blocked agents wait for, once it is durable."""
        self.waiters.note(events)
        self.feed.note(events)
        self.worker.note(events)
        self.deliverer.note(events)
        for event in events:
            self._count(event)

    def _count(self, event: Event) -> None:
        data = event.data
        if event.type is EventType.DECISION_CHECKED:
            held = data.get("constraints")
            if held is not None:
                self.metrics.evaluated(satisfied=held["satisfied"], failed=held["failed"], flags=held["flags"])
        elif event.type is EventType.DECISION_REVIEWED:
            self.metrics.reviewed(data["outcome"])
        elif event.type is EventType.ENFORCEMENT_BYPASSED:
            self.metrics.bypassed()
        elif event.type in POSTURE_MOVES:
            self.metrics.posture_moved(data["transition_type"], refused=not data["success"])
        elif event.type in CIRCUIT_MOVES:
            self.metrics.moved(event.subject, data["cause"], data["state"])


def assemble(settings: Settings, clock: Clock) -> Parts:
    """The parts of a server process, wired together and not yet started. Raises `BadPolicy`, `UnsupportedDatabase`."""
    dimensions = KnownDimensions.found(allow_unreviewed=settings.allow_unreviewed_dimensions)
    metrics = Metrics(metrics_folder(), [*dimensions.built_in, *dimensions.custom])
    file = PolicyFile(settings.config, optional="config" not in settings.model_fields_set, examine=_examine)
    policy = LivePolicy(file, metrics, clock, allow_unreviewed=dimensions.allow_unreviewed)
    limits = QueueLimits(settings.queue_limit, settings.batch_limit, settings.deadline_ms)
    keys = AuditKeys(settings.audit_keys)
    store = Store(
        database_url(settings.database_url), lambda: policy.current, clock, metrics, limits, keys, settings.audit_anchor_interval_ms
    )
    guardians = InstalledGuardians(load_guards())
    appraisal = Appraisal(store.transactor, store.reader, guardians, clock)
    appraising = Appraising(store, store.duties, store.reader, appraisal, lambda: policy.current, clock, new_id("process"))
    housekeeping = Housekeeping(store, store.duties, store.transactor, lambda: policy.current, clock, metrics.round_ended)
    worker = Worker(
        store,
        store.transactor,
        lambda: policy.current,
        clock,
        policy.follow,
        appraising,
        housekeeping,
        settings.sweep_interval_ms,
        metrics.round_ended,
    )
    deliverer = Deliverer(store.outbox, store.transactor, lambda: policy.current, _open_channel, clock, metrics, settings.public_url)
    waiters, telemetry = Waiters(store), _telemetry(settings)
    feed = LiveFeed(store, clock)
    parts = Parts(store, policy, worker, deliverer, waiters, feed, guardians, dimensions, metrics, clock, telemetry)
    store.transactor.on_versions = policy.follow
    store.transactor.on_committed = parts.note
    return parts


def _examine(policy: Policy) -> Iterable[tuple[Steps, str]]:
    return problems_of(policy.alerts, variable)


def _open_channel(channel: AlertChannel) -> Channel:
    return open_channel(channel, variable)


def _telemetry(settings: Settings) -> "Telemetry | None":
    """Who sends traces, if anybody is to."""
    if settings.otel_endpoint is None:
        return None
    from cstp_server.telemetry import Telemetry  # noqa: PLC0415 - takes packages that only those have installed who want it

    return Telemetry.to(settings.otel_endpoint, settings.otel_service_name, settings.otel_sample_ratio)


def create_app(settings: Settings | None = None, clock: Clock | None = None) -> ASGIApp:
    """The ASGI application of one server process."""
    settings = settings if settings is not None else Settings()
    logs.configure(settings.log_format, settings.log_level)
    clock = clock if clock is not None else SystemClock()
    parts = assemble(settings, clock)
    rate_limiter = RateLimiter(clock, settings.rate_limit_per_second, settings.rate_limit_burst)
    services = Services(
        transactor=parts.store.transactor,
        reader=parts.store.reader,
        waiting=parts.waiters,
        guardians=parts.guardians,
        dimensions=parts.dimensions,
        policy_source=parts.policy,
        authenticator=parts.store.tokens,
        readiness=parts,
        metrics=parts.metrics,
        census=Census(parts.store, clock),
        clock=clock,
        limits=Limits.of(settings),
        rate_limiter=rate_limiter,
        token_key=settings.key,
        tracer=parts.telemetry,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for warning in unknown_variables(named=parts.policy.current.alerts.variables):
            _log.warning("unknown_setting", problem=warning)
        async with running(parts), _following_supervisor():
            yield

    addresses = [*routes(services), Route(TOOLS, _tools(services, settings)), *pages(dashboard(parts, settings, rate_limiter))]
    router = Starlette(routes=addresses, lifespan=lifespan, exception_handlers={HTTPException: nowhere})
    return CorrelationIds(Front(CstpEndpoint(services), router))


def _tools(services: Services, settings: Settings) -> McpEndpoint:
    """The same service as tools."""
    identification = Identification(services.authenticator, services.token_key)
    return McpEndpoint(Edge(RpcCalls(services), identification, Hosts(settings.host_names), settings.max_body_bytes))


def dashboard(parts: Parts, settings: Settings, rate_limiter: RateLimiter) -> Dashboard:
    """What the pages for people are built on."""
    store, clock = parts.store, parts.clock
    identification = Identification(store.tokens, settings.key)
    return Dashboard(
        transactor=store.transactor,
        reader=store.reader,
        catalogue=store.catalogue,
        guardians=parts.guardians,
        policy_source=parts.policy,
        desk=SessionDesk(
            store.transactor, store.sessions, store.tokens, identification, clock, settings.session_idle_ms, settings.session_max_ms
        ),
        identification=identification,
        feed=parts.feed,
        clock=clock,
        metrics=parts.metrics,
        attempts=Attempts(clock),
        admit=rate_limiter.take,
        streams=Streams(settings.max_connections),
        shared=SharedFragments(clock),
    )


@contextlib.asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[Parts]:
    """The parts at work; at the end, everything that was accepted is carried out first."""
    loop = asyncio.get_running_loop()
    store = parts.store
    _settle_memory()
    store.start()
    parts.policy.start(PolicyRecord(store.transactor, store.reader, store.duties, parts.clock), parts.worker.align)
    parts.worker.start()
    parts.deliverer.start()
    parts.waiters.start()
    parts.feed.start()
    _close_before_ending(parts)
    with contextlib.suppress(RuntimeError):  # signals reach the main thread only, and a test may run the service in another
        loop.add_signal_handler(signal.SIGHUP, parts.policy.request)
    try:
        yield parts
    finally:
        with contextlib.suppress(RuntimeError):
            loop.remove_signal_handler(signal.SIGHUP)
        await parts.waiters.stop()
        await parts.feed.stop()
        await parts.worker.stop()
        await parts.deliverer.stop()
        await parts.policy.stop()
        await asyncio.to_thread(parts.store.stop)
        if parts.telemetry is not None:
            await asyncio.to_thread(parts.telemetry.stop)


def _close_before_ending(parts: Parts) -> None:
    """Whoever waits or watches gets an answer as soon as the service is told to end, so that it need not wait for them."""
    with contextlib.suppress(ValueError):  # signals are handled in the main thread only, and a test may run the service in another
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, functools.partial(_close_first, parts, handler))


def _close_first(parts: Parts, handler: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> None:
    parts.waiters.request_close()
    parts.feed.request_close()
    handler(number, frame)


@contextlib.asynccontextmanager
async def _following_supervisor() -> AsyncIterator[None]:
    """One of several processes ends when their supervisor has, however that ended: nobody would stop it, and it would keep the port."""
    supervisor = multiprocessing.parent_process()
    watching = asyncio.create_task(_end_without(supervisor)) if supervisor is not None else None
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()


async def _end_without(supervisor: BaseProcess) -> None:
    while supervisor.is_alive():  # noqa: ASYNC110 - nothing in this process tells when another one ends
        await asyncio.sleep(_LOOK_FOR_SUPERVISOR_SECONDS)
    _log.warning("supervisor_gone", consequence="this process finishes what it has accepted, and ends")
    signal.raise_signal(signal.SIGTERM)


def _settle_memory() -> None:
    """What is there at the start stays: the collector need not look at it again, nor look as often for the few cycles that calls make."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)

"""`governed`: ask before, wait where somebody has to say yes, run, report after.

    body ends                        success
    body raises an `Exception`       failure, with the name of its class as `errorType`
    body is cut short                abandoned: cancelled, interrupted, or stopped by a governed step inside it that was not allowed

The body may say otherwise through its handle (`decision.outcome(…)`). Neither an exception nor a result of the body is ever lost to a
report that fails.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar, get_args, overload
from weakref import WeakSet

from cstp_server.client import calls, courses
from cstp_server.client.calls import Call
from cstp_server.client.clients import AsyncClient, Client
from cstp_server.client.courses import MAY_PASS, Course
from cstp_server.client.errors import CstpError, DecisionBlocked, DecisionStillPending, Forbidden, Unreachable
from cstp_server.client.exchange import NO_RETRY, Limits, Retry
from cstp_server.client.proposals import Outcome, Proposal, Severity, Stakes, TrustDamageType
from cstp_server.client.results import Awaited, Check, Pending, Review
from cstp_server.clock import new_id

P = ParamSpec("P")
R = TypeVar("R")

Parameters = Mapping[str, Any] | Callable[[tuple[Any, ...], dict[str, Any]], Mapping[str, Any]]
WhenUnreachable = Literal["closed", "open"]
OnWait = Callable[[Pending], object]
"""Told once what a step waits for, before it waits. An `AsyncClient` awaits what it returns, if that can be awaited."""

DEFAULT_WAIT = 60.0

log = logging.getLogger("cstp_server.client")


@dataclass(slots=True)
class GovernedDecision:
    """What the body of a governed step holds.

    `check` is the answer that let it run; none when the service could not be asked and the step runs `ungoverned`. Where that answer
    was to wait, `settled` is the one that let it run. After the step, `review` is the answer to the report, or `report_error` says why
    there is none.
    """

    id: str
    check: Check | None = None
    settled: Awaited | None = None
    ungoverned: bool = False
    review: Review | None = None
    report_error: CstpError | None = None
    _said: dict[str, Any] | None = None

    def outcome(
        self,
        outcome: Outcome,
        *,
        severity: Severity | None = None,
        error_type: str | None = None,
        notes: str | None = None,
        lessons: str | None = None,
        actual_cost: float | None = None,
        actual_result: str | None = None,
        damage_type: TrustDamageType | str | None = None,
        user_explicit: bool | None = None,
    ) -> None:
        """Say how it went; the last word counts. An exception that leaves the body overrules `success`, and nothing else.

        `damage_type` and `user_explicit` are what a failure does to the trust of the user that the step was for.

        with governed(client, "Migrate 12 tables") as decision:
            moved = migrate()
            if moved < 12:
                decision.outcome("partial", notes=f"{moved} of 12")
        """
        if outcome not in get_args(Outcome):
            raise ValueError(f"`{outcome}` is no outcome: use {', '.join(f'`{name}`' for name in get_args(Outcome))}")
        self._said = {
            "outcome": outcome,
            "severity": severity,
            "error_type": error_type,
            "notes": notes,
            "lessons": lessons,
            "actual_cost": actual_cost,
            "actual_result": actual_result,
            "damage_type": damage_type,
            "user_explicit": user_explicit,
        }

    def verdict_on(self, error: BaseException | None, severity: Severity) -> dict[str, Any]:
        """What is reported when the body ended with `error`, or without any."""
        said = self._said
        if error is None:
            return said if said is not None else {"outcome": "success"}
        if said is not None and said["outcome"] != "success":
            return said
        name = type(error).__name__
        if was_cut_short(error):
            return {"outcome": "abandoned", "error_type": name}
        return {"outcome": "failure", "severity": severity, "error_type": name}


def was_cut_short(error: BaseException) -> bool:
    """Whether the body did not fail but was stopped: cancelled, interrupted, or refused a governed step of its own.

    A refusal inside the body is no failure of the agent's: denials are not failures (SPEC 5).
    """
    return not isinstance(error, Exception) or isinstance(error, DecisionBlocked | Unreachable)


_current: ContextVar[GovernedDecision | None] = ContextVar("cstp_governed_decision", default=None)


def current_decision() -> GovernedDecision:
    """The handle of the governed function that is running. Raises `LookupError` outside of one.

    @governed(client, "Migrate tables")
    def migrate() -> None:
        current_decision().outcome("partial")
    """
    decision = _current.get()
    if decision is None:
        raise LookupError("no governed function is running; in a `with governed(…) as decision:` use `decision`")
    return decision


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that one `governed(…)` says."""

    proposal: Proposal
    parameters: Parameters | None
    decision_id: str | None
    report: bool
    severity: Severity
    open_when_unreachable: bool
    wait: float
    on_wait: OnWait | None

    def bind(self, call: tuple[tuple[Any, ...], dict[str, Any]] | None) -> Proposal:
        """The proposal for one run, with the parameters of that call of the decorated function."""
        parameters = self.parameters
        if parameters is None:
            return self.proposal
        if not callable(parameters):
            return replace(self.proposal, parameters=parameters)
        if call is None:
            raise TypeError("`parameters` is a function of a call's arguments: that is for decorated functions; pass a mapping here")
        return replace(self.proposal, parameters=parameters(*call))


@dataclass(slots=True)
class _Run:
    """One run of a plan: its proposal and its handle."""

    plan: _Plan
    proposal: Proposal
    decision: GovernedDecision

    @classmethod
    def of(cls, plan: _Plan, call: tuple[tuple[Any, ...], dict[str, Any]] | None) -> "_Run":
        return cls(plan, plan.bind(call), GovernedDecision(plan.decision_id if plan.decision_id is not None else new_id("dec")))

    def asking(self) -> Call[Check]:
        return calls.check_proposal(self.proposal, self.decision.id)

    def answered(self, check: Check) -> Pending | None:
        """What there is to wait for, none when the body may run. Raises `DecisionBlocked` when it may not, and waiting would not help."""
        self.decision.check = check
        if check.allowed:
            return None
        if check.pending is None:
            raise DecisionBlocked(check)
        if not self.plan.wait:
            raise DecisionStillPending(check)
        log.info(
            "`%s` waits for %s as decision `%s`: %s",
            self.proposal.description,
            check.pending,
            self.decision.id,
            "; ".join(finding.message for finding in check.violations) or check.intervention,
        )
        return check.pending

    def waiting(self, limits: Limits) -> Course[Awaited]:
        return courses.waiting(self.decision.id, self.plan.wait, limits, grace_ms=0)

    def settled(self, check: Check, awaited: Awaited) -> None:
        """Let the body run, or raise."""
        if awaited.allowed is not True:
            still = awaited.status == "pending"
            raise DecisionStillPending(check, awaited) if still else DecisionBlocked(check, awaited)
        self.decision.settled = awaited
        log.info("`%s` may go on as decision `%s`, which is %s", self.proposal.description, self.decision.id, awaited.status)

    def unanswered(self, error: Unreachable) -> None:
        """Go on without an answer if the plan says so, else raise: fail closed."""
        if not self.plan.open_when_unreachable:
            raise error
        self.decision.ungoverned = True
        log.warning("`%s` runs UNGOVERNED as decision `%s`: %s", self.proposal.description, self.decision.id, error)

    def reporting(self, error: BaseException | None) -> tuple[Call[Review], Retry | None]:
        """The report, and how long to try: whoever is being stopped is not kept waiting, nor is one whom nobody governs."""
        verdict = self.decision.verdict_on(error, self.plan.severity)
        inline = self.proposal if self.decision.ungoverned else None
        hurried = self.decision.ungoverned or (error is not None and not isinstance(error, Exception))
        return calls.review(self.decision.id, decision=inline, **verdict), NO_RETRY if hurried else None

    def reported(self, review: Review) -> None:
        self.decision.review = review

    def unreported(self, error: CstpError, reviewer: Client | AsyncClient) -> None:
        """Keep the reason, and log it; that the token may not review is said once for each client."""
        self.decision.report_error = error
        if not isinstance(error, Forbidden):
            log.warning("the outcome of decision `%s` could not be reported: %s", self.decision.id, error)
        elif reviewer not in _told:
            _told.add(reviewer)
            log.warning(
                "outcomes cannot be reported with this token: %s; pass `reviewer=` a client whose token has the role `ci`, "
                "or `report=False` where something else reviews",
                error,
            )


_told: WeakSet[Client | AsyncClient] = WeakSet()


class Governed:
    """A step that a `Client` governs: use it as a context manager or to decorate functions. Made by `governed`."""

    def __init__(self, client: Client, reviewer: Client, plan: _Plan) -> None:
        self._client = client
        self._reviewer = reviewer
        self._plan = plan
        self._entered: AbstractContextManager[GovernedDecision] | None = None

    def __enter__(self) -> GovernedDecision:
        _require_free(self._entered)
        self._entered = run = self._running(None)
        try:
            return run.__enter__()
        except BaseException:
            self._entered = None
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        run, self._entered = self._entered, None
        if run is not None:
            run.__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Govern every call of a function."""
        _require_decorable(function, self._plan, wants_async=False)

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._running((args, kwargs)) as decision:
                token = _current.set(decision)
                try:
                    return function(*args, **kwargs)
                finally:
                    _current.reset(token)

        return run

    @contextmanager
    def _running(self, call: tuple[tuple[Any, ...], dict[str, Any]] | None) -> Iterator[GovernedDecision]:
        run = _Run.of(self._plan, call)
        self._ask(run)
        try:
            yield run.decision
        except BaseException as error:
            self._report(run, error)
            raise
        self._report(run, None)

    def _ask(self, run: _Run) -> None:
        try:
            check = self._client.run(run.asking())
        except Unreachable as error:
            run.unanswered(error)
        else:
            pending = run.answered(check)
            if pending is not None:
                self._wait(run, check, pending)

    def _wait(self, run: _Run, check: Check, pending: Pending) -> None:
        if self._plan.on_wait is not None:
            self._plan.on_wait(pending)
        try:
            awaited = self._client.follow(run.waiting(self._client.limits))
        except MAY_PASS as error:
            raise DecisionStillPending(check) from error
        run.settled(check, awaited)

    def _report(self, run: _Run, error: BaseException | None) -> None:
        if not self._plan.report:
            return
        call, retry = run.reporting(error)
        try:
            run.reported(self._reviewer.run(call, retry=retry))
        except CstpError as failed:
            run.unreported(failed, self._reviewer)


class AsyncGoverned:
    """A step that an `AsyncClient` governs: use it with `async with` or to decorate `async def` functions. Made by `governed`."""

    def __init__(self, client: AsyncClient, reviewer: AsyncClient, plan: _Plan) -> None:
        self._client = client
        self._reviewer = reviewer
        self._plan = plan
        self._entered: AbstractAsyncContextManager[GovernedDecision] | None = None

    async def __aenter__(self) -> GovernedDecision:
        _require_free(self._entered)
        self._entered = run = self._running(None)
        try:
            return await run.__aenter__()
        except BaseException:
            self._entered = None
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        run, self._entered = self._entered, None
        if run is not None:
            await run.__aexit__(kind, error, trace)

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """Govern every call of an `async def` function."""
        _require_decorable(function, self._plan, wants_async=True)

        @wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self._running((args, kwargs)) as decision:
                token = _current.set(decision)
                try:
                    return await function(*args, **kwargs)
                finally:
                    _current.reset(token)

        return run

    @asynccontextmanager
    async def _running(self, call: tuple[tuple[Any, ...], dict[str, Any]] | None) -> AsyncIterator[GovernedDecision]:
        run = _Run.of(self._plan, call)
        await self._ask(run)
        try:
            yield run.decision
        except BaseException as error:
            await self._report(run, error)
            raise
        await self._report(run, None)

    async def _ask(self, run: _Run) -> None:
        try:
            check = await self._client.run(run.asking())
        except Unreachable as error:
            run.unanswered(error)
        else:
            pending = run.answered(check)
            if pending is not None:
                await self._wait(run, check, pending)

    async def _wait(self, run: _Run, check: Check, pending: Pending) -> None:
        if self._plan.on_wait is not None and inspect.isawaitable(told := self._plan.on_wait(pending)):
            await told
        try:
            awaited = await self._client.follow(run.waiting(self._client.limits))
        except MAY_PASS as error:
            raise DecisionStillPending(check) from error
        run.settled(check, awaited)

    async def _report(self, run: _Run, error: BaseException | None) -> None:
        """Report, even while the task is being cancelled; cancelled once more, the report goes on by itself.

        A coroutine that is closed rather than cancelled may not wait for anything, so that its outcome stays unreported.
        """
        if not self._plan.report or isinstance(error, GeneratorExit):
            return
        reporting = asyncio.ensure_future(self._send_report(run, error))
        _reports.add(reporting)
        reporting.add_done_callback(_reports.discard)
        await asyncio.shield(reporting)

    async def _send_report(self, run: _Run, error: BaseException | None) -> None:
        call, retry = run.reporting(error)
        try:
            run.reported(await self._reviewer.run(call, retry=retry))
        except CstpError as failed:
            run.unreported(failed, self._reviewer)


_reports: set["asyncio.Future[None]"] = set()
"""Reports on their way; the event loop itself holds tasks only weakly."""


@overload
def governed(
    client: Client,
    description: str,
    *,
    type: str | None = None,
    category: str | None = None,
    stakes: Stakes | str | None = None,
    confidence: float | None = None,
    tags: Sequence[str] = (),
    parameters: Parameters | None = None,
    context: Mapping[str, Any] | None = None,
    agent: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    ctq: float | None = None,
    decision_id: str | None = None,
    wait: float | None = DEFAULT_WAIT,
    on_wait: OnWait | None = None,
    report: bool = True,
    reviewer: Client | None = None,
    failure_severity: Severity = "medium",
    unreachable: WhenUnreachable = "closed",
) -> Governed: ...


@overload
def governed(
    client: AsyncClient,
    description: str,
    *,
    type: str | None = None,
    category: str | None = None,
    stakes: Stakes | str | None = None,
    confidence: float | None = None,
    tags: Sequence[str] = (),
    parameters: Parameters | None = None,
    context: Mapping[str, Any] | None = None,
    agent: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    ctq: float | None = None,
    decision_id: str | None = None,
    wait: float | None = DEFAULT_WAIT,
    on_wait: OnWait | None = None,
    report: bool = True,
    reviewer: AsyncClient | None = None,
    failure_severity: Severity = "medium",
    unreachable: WhenUnreachable = "closed",
) -> AsyncGoverned: ...


def governed(
    client: Client | AsyncClient,
    description: str,
    *,
    type: str | None = None,
    category: str | None = None,
    stakes: Stakes | str | None = None,
    confidence: float | None = None,
    tags: Sequence[str] = (),
    parameters: Parameters | None = None,
    context: Mapping[str, Any] | None = None,
    agent: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    ctq: float | None = None,
    decision_id: str | None = None,
    wait: float | None = DEFAULT_WAIT,
    on_wait: OnWait | None = None,
    report: bool = True,
    reviewer: Client | AsyncClient | None = None,
    failure_severity: Severity = "medium",
    unreachable: WhenUnreachable = "closed",
) -> Governed | AsyncGoverned:
    """Check before, wait if somebody has to say yes, raise `DecisionBlocked` if it may not be, run, and report the outcome.

        with governed(client, "Refund order 1142", type="issue_refund", parameters={"amount": 40}) as decision:
            refund(1142)

        @governed(client, "Refund an order", type="issue_refund", parameters=lambda args, kwargs: {"amount": args[1]})
        def refund(order: int, amount: float) -> None: ...

        async with governed(async_client, "Deploy build 7", category="deployment", stakes="high"): ...

    A `Client` governs `with` and plain functions, an `AsyncClient` `async with` and `async def` functions.

    A decision may have to wait: for the end of the time in which it can be cancelled, for its user's confirmation, for an approval.
    The step then waits up to `wait` seconds, through restarts of the service too, and the body runs only when it has been let through;
    after that time it raises `DecisionStillPending`, at once where `wait` is 0 or none. It goes on waiting in the service: the same step
    under the same `decision_id` takes up the waiting again, `client.cancel` ends it. `on_wait` is told once what is waited for:

        governed(client, "Refund order 1142", ..., wait=600, on_wait=lambda pending: print(f"`cstp approve {pending.decision_id}`"))

    `parameters` may be a function of a decorated call's `(args, kwargs)`. `report=False` leaves the outcome to somebody else, such as
    CI. Reviewing takes the role `ci`, which an agent's token often lacks: `reviewer` is a client with a token that has it.
    `failure_severity` is how bad an exception is. `unreachable` says what to do when nobody answers the check: `closed` raises
    `Unreachable` and the body does not run; `open` logs a warning and runs it, marked `ungoverned`, and then tries to report the
    action together with its outcome. A service that answers and cannot decide (overloaded, its database down, the token refused) has
    answered: the body does not run, or flooding it would be a way around it.
    """
    if unreachable not in get_args(WhenUnreachable):
        raise ValueError(f"`unreachable` is `{unreachable}` and should be `closed` or `open`")
    if wait is not None and not wait >= 0:
        raise ValueError(f"`wait` is {wait} and should be a number of seconds from 0 on, or none")
    proposal = Proposal(description, type, category, stakes, confidence, tags, {}, context or {}, agent, user, domain, ctq)
    plan = _Plan(proposal, parameters, decision_id, report, failure_severity, unreachable == "open", wait or 0.0, on_wait)
    reviewer = client if reviewer is None else reviewer
    if isinstance(client, Client) and isinstance(reviewer, Client):
        return Governed(client, reviewer, plan)
    if isinstance(client, AsyncClient) and isinstance(reviewer, AsyncClient):
        return AsyncGoverned(client, reviewer, plan)
    raise TypeError("`client` and `reviewer` must both be a `Client`, or both an `AsyncClient`")


def _require_free(entered: object) -> None:
    if entered is not None:
        raise RuntimeError("this `governed(…)` is already running: make one for each decision")


def _require_decorable(function: Callable[..., object], plan: _Plan, *, wants_async: bool) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if plan.decision_id is not None:
        raise TypeError(f"`{name}` cannot be governed under one `decision_id`: every call is a decision of its own")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"`{name}` is a generator, which does its work after the call: use `with governed(…)` inside it")
    if inspect.iscoroutinefunction(function) is not wants_async:
        wanted = "an `AsyncClient`" if not wants_async else "a `Client`"
        raise TypeError(f"`{name}` is {'' if not wants_async else 'not '}an `async def` function: govern it with {wanted}")

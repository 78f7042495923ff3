"""What takes several calls: to wait for a decision longer than one call may, and to settle one although the answer was lost.

Without input or output of its own, like `exchange`: a course says `Ask` or `Pause`, and is told what came of it, be it an error.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from cstp_server.client import calls
from cstp_server.client.calls import Call
from cstp_server.client.errors import Conflict, CstpError, Overloaded, RateLimited, StoreUnavailable, Unreachable
from cstp_server.client.exchange import NO_RETRY, Limits, Pause, Retry
from cstp_server.client.proposals import Resolution
from cstp_server.client.results import Awaited, Decision, Resolved

T = TypeVar("T")
LONGEST_STEP_SECONDS = 30.0
"""One call waits no longer than that: many a proxy cuts off what is silent for a minute."""

_LEAST_SECONDS = 0.001
"""What cannot be said in a whole number of milliseconds is no time to wait."""

MAY_PASS = (Unreachable, StoreUnavailable, Overloaded, RateLimited)
"""What is borne while a decision waits."""

_SETTLES_AS = {"approve": "approved", "confirm": "approved", "deny": "denied", "cancel": "cancelled"}


@dataclass(frozen=True, slots=True)
class Ask:
    """Carry out a call, with other retries than the client's own if given."""

    call: Call[Any]
    retry: Retry | None = None


Course = Generator[Ask | Pause, Any, T]
"""It is sent the result of an `Ask`, or the `CstpError` that it ended with."""


def await_decision(id: str, seconds: float, limits: Limits) -> Course[Awaited]:
    """How the decision stands once it waits no more, or when the time is up; failures are borne at least as long as by any other call."""
    return waiting(id, seconds, limits, grace_ms=limits.retry.total_ms if limits.retry.attempts > 1 else 0)


def waiting(id: str, seconds: float, limits: Limits, *, grace_ms: int) -> Course[Awaited]:
    """How the decision stands once it waits no more, or when the time is up.

    What may pass, such as a server that restarts, is borne for as long, and for `grace_ms` at least. Raises `CstpError`.
    """
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"the time to wait is {seconds} and should be a number of seconds from 0 on")
    clock, retry = limits.clock, limits.retry
    started = clock.monotonic()
    until, bears_until = started + seconds, started + max(seconds, grace_ms / 1000)
    failures = 0
    while True:
        asked_at = clock.monotonic()
        step = min(max(until - asked_at, 0.0), LONGEST_STEP_SECONDS)
        answer = yield Ask(calls.await_step(id, math.ceil(step * 1000)), NO_RETRY)
        now = clock.monotonic()
        if isinstance(answer, CstpError):
            failures += 1
            delay = _delay_ms(answer, failures, retry) / 1000
            if not isinstance(answer, MAY_PASS) or now + delay >= bears_until:
                raise answer
            yield Pause(delay)
        elif answer.status != "pending" or until - now < _LEAST_SECONDS:
            awaited: Awaited = answer
            return awaited
        else:
            failures = 0
            if now - asked_at < step / 2:  # a server that is about to end answers at once
                yield Pause(min(retry.delay_ms(1) / 1000, until - now))


def _delay_ms(error: CstpError, failures: int, retry: Retry) -> int:
    asked_for = error.retry_after_ms if isinstance(error, Overloaded | RateLimited) else None
    return asked_for if asked_for is not None else retry.delay_ms(failures)


def resolve_decision(id: str, resolution: Resolution, *, note: str | None = None) -> Course[Resolved]:
    """Settle a decision that waits (SPEC 4). `allowed` says whether it may go on: what has come up meanwhile may stand against it.

    `approve` and `deny` need the role `ops`; an agent may `confirm` for its user, and `cancel`. `Conflict`: it does not wait for this.
    When the answer to a first delivery was lost, the second one finds the decision settled: if as was asked for, that is the answer.

        client.resolve_decision("dec_01J…", "approve", note="the customer was promised it")
    """
    answer = yield Ask(calls.resolve_step(id, resolution, note))
    if isinstance(answer, Conflict) and answer.repeated:
        found = yield Ask(calls.get_decision(id))
        before = _settled_as(resolution, found)
        if before is not None:
            return before
    if isinstance(answer, CstpError):
        raise answer
    resolved: Resolved = answer
    return resolved


def approve(id: str, *, note: str | None = None) -> Course[Resolved]:
    """Let a decision go on that waits for somebody. Needs the role `ops`."""
    return resolve_decision(id, "approve", note=note)


def deny(id: str, *, note: str | None = None) -> Course[Resolved]:
    """Do not let a decision go on. Needs the role `ops`."""
    return resolve_decision(id, "deny", note=note)


def confirm(id: str, *, note: str | None = None) -> Course[Resolved]:
    """Say that the user has confirmed a decision that waits for it."""
    return resolve_decision(id, "confirm", note=note)


def cancel(id: str, *, note: str | None = None) -> Course[Resolved]:
    """Say that a decision that waits is not wanted any more."""
    return resolve_decision(id, "cancel", note=note)


def _settled_as(resolution: Resolution, found: Decision | CstpError) -> Resolved | None:
    """The answer that was lost, as far as the record shows it; none when the decision was settled otherwise."""
    if isinstance(found, CstpError) or found.resolution is None or found.resolution.status != _SETTLES_AS[resolution]:
        return None
    record = found.resolution
    return Resolved(
        id=found.id,
        resolution=resolution,
        status=record.status,
        allowed=record.status == "approved",
        resolved_by=record.by,
        resolved_at=record.at,
        reason=record.reason,
        raw=found.raw,
    )

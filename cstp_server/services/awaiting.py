"""Waiting for a decision to be settled (SPEC 4)."""

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller
from cstp_server.domain.decisions import ALLOWING, Decision
from cstp_server.domain.refusals import DecisionNotFound, Refusal
from cstp_server.services.decisions import may_see
from cstp_server.services.ports import Reader, Transactor, Waiting
from cstp_server.services.requests import AwaitAnswer, AwaitRequest
from cstp_server.services.settling import RunOut
from cstp_server.services.stopping import stopped

_AGAIN_SECONDS = 0.1
"""How soon to look again when time is up by this process's clock and not yet by the database's."""


async def await_decision(
    waiting: Waiting, transactor: Transactor, reader: Reader, clock: Clock, caller: Caller, request: AwaitRequest
) -> AwaitAnswer | Refusal:
    """How the decision stands as soon as it waits no more, or when the time is up. Holds neither the transactor nor a thread."""
    until = clock.monotonic() + request.timeout_ms / 1000
    with waiting.expect(caller.tenant, request.id) as expected:
        while True:
            decision = await expected.look()
            if decision is None or not may_see(caller, decision):
                return DecisionNotFound(f"no decision `{request.id}`", request.id)
            if await stopped(transactor, reader, decision):
                continue
            pending, left = decision.waits_for, until - clock.monotonic()
            if pending is None or left <= 0:
                return _answer(decision)
            due_in = (pending.until - clock.now()) / 1000
            if due_in <= 0 and await transactor.run(RunOut(caller.tenant, request.id)) is True:
                continue
            if not await expected.wait(min(left, due_in if due_in > 0 else _AGAIN_SECONDS)):
                return _answer(decision)


def _answer(decision: Decision) -> AwaitAnswer:
    pending = decision.waits_for
    return AwaitAnswer(
        id=decision.id,
        status=decision.status,
        allowed=decision.intervention.allows or (decision.resolved is not None and decision.resolved.status in ALLOWING),
        reason=_reason(decision),
        pending=pending,
    )


def _reason(decision: Decision) -> str | None:
    """Why it is as it is: what was said when it was settled, else what the most severe guard said."""
    if decision.resolved is not None:
        return decision.resolved.reason
    if decision.answer is None or not decision.answer.verdict.violations:
        return None
    return max(decision.answer.verdict.violations, key=lambda finding: finding.intervention).message

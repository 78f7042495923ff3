"""`cstp.awaitDecision` (SPEC 4)."""

from typing import Annotated

from pydantic import Field

from cstp_server.domain.refusals import Refusal
from cstp_server.rpc.context import Context
from cstp_server.rpc.pending import PendingResult
from cstp_server.rpc.wire import DecisionId, Params, Result, omitted, taken_id
from cstp_server.services import awaiting
from cstp_server.services.requests import AwaitAnswer, AwaitRequest

DEFAULT_TIMEOUT_MS = 30_000
LONGEST_TIMEOUT_MS = 60_000


class AwaitParams(Params):
    """Wait for a decision to be settled."""

    id: DecisionId = taken_id("the decision; also taken as `decisionId`")
    timeout_ms: Annotated[int, Field(ge=0, le=LONGEST_TIMEOUT_MS)] | None = Field(
        default=None,
        description=f"how long to wait at most; {DEFAULT_TIMEOUT_MS} when left out. "
        f"All that one batch waits for together takes at most {LONGEST_TIMEOUT_MS}",
    )


class AwaitResult(Result):
    """How the decision stands; its `status` is `pending` when the time was up first. `allowed` alone is safe to act on."""

    id: str
    status: str
    allowed: bool
    reason: str | None = omitted("why it is as it is")
    pending: PendingResult | None = omitted("what it still waits for")

    @classmethod
    def of(cls, answer: AwaitAnswer) -> "AwaitResult":
        """The answer as it goes out."""
        return cls(
            id=answer.id,
            status=answer.status.value,
            allowed=answer.allowed,
            reason=answer.reason,
            pending=PendingResult.of(answer.pending),
        )


async def await_decision(context: Context, params: AwaitParams) -> AwaitResult | Refusal:
    """How the decision stands, as soon as it waits no more."""
    services = context.services
    request = AwaitRequest(params.id, min(_asked_for(params), _left(context)))
    context.concerns(params.id)
    answer = await awaiting.await_decision(services.waiting, services.transactor, services.reader, services.clock, context.caller, request)
    return answer if isinstance(answer, Refusal) else AwaitResult.of(answer)


def _asked_for(params: AwaitParams) -> int:
    return params.timeout_ms if params.timeout_ms is not None else DEFAULT_TIMEOUT_MS


def _left(context: Context) -> int:
    """What is left of the time that one request may wait: a batch of waits holds its caller no longer than one of them."""
    spent_ms = int(1000 * (context.services.clock.monotonic() - context.since))
    return max(0, LONGEST_TIMEOUT_MS - spent_ms)

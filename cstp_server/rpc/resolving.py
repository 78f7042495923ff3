"""`cstp.resolveDecision` (SPEC 4)."""

from typing import Literal

from pydantic import Field

from cstp_server.domain.decisions import ALLOWING
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.resolutions import Resolution
from cstp_server.rpc.context import Context
from cstp_server.rpc.findings import FindingResult
from cstp_server.rpc.wire import DecisionId, Params, Result, Time, omitted, taken_id
from cstp_server.services import resolving
from cstp_server.services.requests import ResolveAnswer, ResolveRequest

ResolutionName = Literal["approve", "deny", "cancel", "confirm"]


class ResolveParams(Params):
    """What somebody says of a decision that waits."""

    id: DecisionId = taken_id("the decision; also taken as `decisionId`")
    resolution: ResolutionName = Field(description="an agent may `confirm` for its user and `cancel`; `approve` and `deny` take `ops`")
    note: str | None = Field(default=None, description="a remark, for the record")


class ResolveResult(Result):
    """What became of the decision; `allowed` alone is safe to act on."""

    id: str
    resolution: str
    status: str
    allowed: bool
    resolved_by: str
    resolved_at: Time
    reason: str | None = omitted("why it may not go on")
    violations: list[FindingResult] = Field(description="what looking at it again found against it")

    @classmethod
    def of(cls, answer: ResolveAnswer) -> "ResolveResult":
        """The answer as it goes out."""
        return cls(
            id=answer.id,
            resolution=answer.resolution.value,
            status=answer.status.value,
            allowed=answer.status in ALLOWING,
            resolved_by=answer.by,
            resolved_at=answer.at,
            reason=answer.reason,
            violations=[FindingResult.of(finding) for finding in answer.objections],
        )


async def resolve(context: Context, params: ResolveParams) -> ResolveResult | Refusal:
    """Settle a decision that waits."""
    request = ResolveRequest(params.id, Resolution(params.resolution), params.note)
    context.concerns(params.id)
    services = context.services
    answer = await resolving.resolve(
        services.transactor,
        services.reader,
        services.guardians,
        services.policy_source.current,
        services.clock,
        context.caller,
        request,
    )
    return answer if isinstance(answer, Refusal) else ResolveResult.of(answer)

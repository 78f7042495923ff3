"""`cstp.listGuardrails` (SPEC 6)."""

from pydantic import Field

from cstp_server.domain.scopes import BadScope, parse_scope
from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import Params, Result, ScopeText, omitted
from cstp_server.services import guardrails
from cstp_server.services.requests import GuardrailInfo

AGENT = "cstp-server"


class ListGuardrailsParams(Params):
    """Which guards to list."""

    scope: ScopeText | None = Field(default=None, description="only guards of this scope, and those that have none")


class GuardrailResult(Result):
    """One guard of any type. `scope` is empty when the guard looks at every decision."""

    id: str
    type: str
    description: str
    action: str
    mode: str
    scope: list[str]
    condition: str | None = omitted("when the guard matches")
    requires: list[str]


class ListGuardrailsResult(Result):
    """Every guard of every type, in the policy's order."""

    guardrails: list[GuardrailResult]
    count: int
    agent: str


async def list_guardrails(context: Context, params: ListGuardrailsParams) -> ListGuardrailsResult:
    """The guards of the policy in force."""
    every = guardrails.list_guardrails(context.services.policy_source.current, context.services.guardians.installed)
    scope = _canonical(params.scope) if params.scope is not None else None
    found = [_guardrail(info) for info in every if scope is None or info.scope is None or info.scope == scope]
    return ListGuardrailsResult(guardrails=found, count=len(found), agent=AGENT)


def _canonical(scope: str) -> str:
    """The scope as the policy has it; a text that is none, such as a project's name in CSTP, matches no guard's scope."""
    try:
        return str(parse_scope(scope))
    except BadScope:
        return scope


def _guardrail(info: GuardrailInfo) -> GuardrailResult:
    return GuardrailResult(
        id=info.id,
        type=info.type,
        description=info.description,
        action=info.action,
        mode=info.mode,
        scope=[info.scope] if info.scope is not None else [],
        condition=info.condition,
        requires=list(info.requires),
    )

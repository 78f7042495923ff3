"""`cstp.recordDecision`: CSTP's way to store a decision that was taken without asking (SPEC 4)."""

from typing import Any

from pydantic import Field

from cstp_server.domain.facts import DEFAULT_USER_DOMAIN, Facts
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.words import words_of
from cstp_server.rpc.actions import (
    Agent,
    Background,
    Share,
    User,
    background_of,
    digest_of_content,
    folded,
    folded_tags,
    stakes_of,
)
from cstp_server.rpc.context import Context
from cstp_server.rpc.errors import BadParams
from cstp_server.rpc.findings import FindingResult
from cstp_server.rpc.limits import Limits
from cstp_server.rpc.wire import DecisionId, JsonObject, Name, Result, StakesName, Text, Time
from cstp_server.services import recording
from cstp_server.services.requests import RecordRequest


class RecordParams(Background):
    """A decision that was taken without asking."""

    decision: Text = Field(description="what was decided, for people")
    type: Name | None = None
    category: Name | None = Field(default=None, description="compared without case")
    stakes: StakesName | None = Field(default=None, description="`medium` when left out")
    confidence: Share | None = None
    ctq: Share | None = None
    tags: list[Name] | None = None
    context: Any = Field(default=None, description="the situation as a text, or an object that guards may ask about")
    parameters: JsonObject | None = None
    agent: Agent | None = None
    agent_id: Name | None = Field(default=None, description="the same as `agent.id`")
    user: User | None = None
    decision_id: DecisionId | None = Field(default=None, description="makes the call idempotent")


class RecordResult(Result):
    """Where the decision is on record, and what the guards would have said of it."""

    success: bool
    id: str
    timestamp: Time
    guardrail_warnings: list[FindingResult]


async def record(context: Context, params: RecordParams) -> RecordResult | Refusal:
    """Store a decision that was taken without asking."""
    services = context.services
    named = _agent_named(params)
    facts = _facts_of(params, services.limits)
    request = RecordRequest(facts, named, digest_of_content("record", named, facts), params.decision_id)
    answer = await recording.record(services.transactor, context.caller, request)
    if isinstance(answer, Refusal):
        return answer
    context.concerns(answer.id)
    warnings = [FindingResult.of(finding) for finding in answer.warnings]
    return RecordResult(success=True, id=answer.id, timestamp=answer.at, guardrail_warnings=warnings)


def _agent_named(params: RecordParams) -> str | None:
    named = params.agent.id if params.agent is not None else None
    if named is not None and params.agent_id is not None and named != params.agent_id:
        raise BadParams("agentId", "must agree with `agent.id`: give one of them")
    return named or params.agent_id


def _facts_of(params: RecordParams, limits: Limits) -> Facts:
    user = params.user
    details = background_of(params)
    context = params.context
    if isinstance(context, str):
        details["context"] = context
    elif context is not None and not isinstance(context, dict):
        raise BadParams("context", "must be a string or an object")
    return Facts(
        description=params.decision,
        agent_id="",
        type=folded(params.type),
        type_words=words_of(params.type) if params.type is not None else (),
        category=folded(params.category),
        stakes=stakes_of(params.stakes),
        confidence=params.confidence,
        ctq=params.ctq,
        tags=folded_tags(params.tags, limits, "tags") if params.tags else (),
        parameters=params.parameters or {},
        context=context if isinstance(context, dict) else {},
        user_id=user.id if user is not None else None,
        user_domain=(user.domain if user is not None else None) or DEFAULT_USER_DOMAIN,
        details=details,
    )

"""The params that describe an action, as `checkGuardrails`, `recordDecision` and a review's inline context have them (SPEC 3)."""

import hashlib
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any

import orjson
from pydantic import Field

from cstp_server.domain.callers import Caller
from cstp_server.domain.facts import DEFAULT_USER_DOMAIN, Facts, Stakes, fold_name
from cstp_server.domain.words import words_of
from cstp_server.rpc.errors import BadParams
from cstp_server.rpc.limits import Limits
from cstp_server.rpc.wire import DecisionId, FreeObject, JsonObject, Name, Params, StakesName, Text, UserDomain, UserId
from cstp_server.services.identity import agent_of
from cstp_server.services.requests import CheckRequest

Share = Annotated[float, Field(ge=0, le=1)]
_STAKES = {stakes.value: stakes for stakes in Stakes}


class Background(Params):
    """What CSTP's clients say of a decision besides; stored, and not looked at by any guard."""

    reasons: list[Any] | None = Field(default=None, description="why: `{type, text, strength}` each")
    pattern: str | None = Field(default=None, description="the abstract pattern that this decision is a case of")
    bridge: JsonObject | None = Field(default=None, description="structure and function")
    deliberation: JsonObject | None = Field(default=None, description="inputs and steps")
    trace: list[Any] | None = Field(default=None, description="the steps of the reasoning")
    related_to: list[Any] | None = Field(default=None, description="earlier decisions: `{id, summary, distance}` each")
    kpi_indicators: list[Any] | None = Field(default=None, description="what will tell whether it was right")
    mental_state: str | None = None
    review_in: str | None = Field(default=None, description="when to look again, such as `7d`")
    pre_decision: JsonObject | None = Field(default=None, description="what was looked up and checked before")
    project: str | None = Field(default=None, description="owner and repository")
    feature: str | None = None
    pr: int | None = Field(default=None, description="number of the pull request")
    file: str | None = None
    line: int | None = None
    commit: str | None = None
    project_context: JsonObject | None = None


BACKGROUND = tuple(Background.model_fields)
_BACKGROUND = frozenset(BACKGROUND)


class Action(Background):
    """What is about to be done."""

    description: Text = Field(description="what the agent is about to do, for people")
    type: Name | None = Field(default=None, description="the kind of action, such as `issue_refund`; compared without case")
    category: Name | None = Field(default=None, description="the area that the decision belongs to; compared without case")
    stakes: StakesName | None = Field(default=None, description="how much is at risk; `medium` when left out")
    confidence: Share | None = Field(default=None, description="how sure the agent is")
    ctq: Share | None = Field(default=None, description="quality of the reasoning; it lifts no limit")
    tags: list[Name] | None = Field(default=None, description="compared without case")
    parameters: FreeObject | None = Field(default=None, description="the action's own arguments; any names")
    context: FreeObject | None = Field(default=None, description="what guards may ask about; any names")


class Agent(Params):
    """Who is about to do it."""

    id: Name | None = Field(default=None, description="the agent; a token that is bound to an agent must agree with it")
    url: str | None = None
    name: str | None = None
    version: str | None = None


class User(Params):
    """For whom it is done."""

    id: UserId | None = Field(default=None, description="the user")
    domain: UserDomain | None = Field(default=None, description="the domain of trust; `general` when left out")


class CheckParams(Params):
    """May this action go on?"""

    action: Action
    agent: Agent | None = None
    user: User | None = None
    decision_id: DecisionId | None = Field(default=None, description="makes the call idempotent: the same id and content is answered alike")
    dry_run: bool | None = Field(default=None, description="evaluate, and store nothing")


def check_request(params: CheckParams, limits: Limits, field: str = "", caller: Caller | None = None) -> CheckRequest:
    """What the use case is asked; `field` is where these params are on the wire when they are not the call's own.

    With `caller` the facts name its agent at once; whether it may be that agent, the use case says.
    """
    named = params.agent.id if params.agent is not None else None
    agent = agent_of(caller, named) if caller is not None else None
    facts = facts_of(params, limits, field, agent if isinstance(agent, str) else "")
    return CheckRequest(facts, named, digest_of_content("check", named, facts), params.decision_id, params.dry_run is True)


def facts_of(params: CheckParams, limits: Limits, field: str = "", agent_id: str = "") -> Facts:
    """The facts as declared.

    They are made by position, in the order of their fields: by name, so many take twice as long.
    """
    action, user = params.action, params.user
    return Facts(
        action.description,
        agent_id,
        folded(action.type),
        words_of(action.type) if action.type is not None else (),
        folded(action.category),
        stakes_of(action.stakes),
        action.confidence,
        action.ctq,
        folded_tags(action.tags, limits, f"{field}action.tags") if action.tags else (),
        action.parameters or {},
        action.context or {},
        user.id if user is not None else None,
        (user.domain if user is not None else None) or DEFAULT_USER_DOMAIN,
        _details(action, params.agent),
    )


def stakes_of(name: str | None) -> Stakes:
    """The level of that name; `medium` for none."""
    return _STAKES[name] if name is not None else Stakes.MEDIUM


def folded(name: str | None) -> str | None:
    """The name in the form in which it is compared."""
    return _folded(name) if name is not None else None


def folded_tags(tags: list[str], limits: Limits, field: str) -> tuple[str, ...]:
    """The tags in the form in which they are compared, each once, in the order given."""
    if len(tags) > limits.tags:
        raise BadParams(field, f"must have at most {limits.tags} tags")
    return tuple(dict.fromkeys(map(_folded, tags)))


_folded = lru_cache(maxsize=4096)(fold_name)
"""The few names that agents use are folded over and over."""


def background_of(params: Background) -> dict[str, Any]:
    """What was said besides."""
    given = params.model_fields_set
    if _BACKGROUND.isdisjoint(given):
        return {}
    return {name: value for name in BACKGROUND if name in given and (value := getattr(params, name)) is not None}


def _details(action: Action, agent: Agent | None) -> dict[str, Any]:
    details = background_of(action)
    if agent is not None and len(agent.model_fields_set) > 1:
        said = {name: value for name in ("url", "name", "version") if (value := getattr(agent, name)) is not None}
        if said:
            details["agent"] = said
    return details


_content = attrgetter(*(field.name for field in fields(Facts) if field.name != "type_words"))
"""All that was said; the words of the type depend on its casing, which makes no other content."""


def digest_of_content(kind: str, agent_named: str | None, facts: Facts) -> str:
    """Identifies a call's content, whatever the order, the casing or the spelling of its names."""
    return hashlib.sha256(orjson.dumps((kind, agent_named, _content(facts)), option=orjson.OPT_SORT_KEYS)).hexdigest()

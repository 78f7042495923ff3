"""Which agent a call is for: no identity is taken from a parameter when the token knows better (SPEC 2 and 3)."""

from cstp_server.domain.callers import ANONYMOUS, Caller, Role
from cstp_server.domain.decisions import Decision, Source
from cstp_server.domain.refusals import Forbidden


def agent_of(caller: Caller, named: str | None) -> str | Forbidden:
    """The token's agent, else the one that the call names, else the token's principal, else `anonymous`: never nobody."""
    if caller.agent_id is None:
        return named or caller.own_agent or ANONYMOUS
    if named is not None and named != caller.agent_id:
        message = f"this token speaks for agent `{caller.agent_id}` alone, not for `agent.id` `{named}`"
        return Forbidden(message)
    return caller.agent_id


def is_own(caller: Caller, decision: Decision) -> bool:
    """Whether the caller is the decision's own agent, or the very agent's token that asked for it, or told of it, under another name."""
    if caller.own_agent == decision.facts.agent_id:
        return True
    told_itself = decision.source is not Source.PROPOSED and decision.principal == caller.principal
    return caller.authenticated and Role.AGENT in caller.roles and told_itself


def is_agent(caller: Caller, agent_id: str) -> bool:
    """Whether the caller's own token is that agent: bound to it, or named like it."""
    return caller.own_agent == agent_id or (caller.authenticated and caller.principal == agent_id)


def agent_of_reviewed(caller: Caller, named: str | None) -> str | Forbidden:
    """Whose decision a review tells of that was never checked here: a reviewer that names nobody does not thereby name itself."""
    if caller.agent_id is None and named is None:
        return ANONYMOUS
    return agent_of(caller, named)

"""Decisions on record, for those who may see them (SPEC 4)."""

from collections.abc import Sequence
from dataclasses import replace

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Decision
from cstp_server.domain.refusals import DecisionNotFound, Refusal
from cstp_server.services.ports import DecisionQuery, Reader, Transactor
from cstp_server.services.stopping import stopped


async def get(transactor: Transactor, reader: Reader, caller: Caller, id: str) -> Decision | Refusal:
    """One decision of the caller's tenant. A caller that is only an agent sees its own; another's is as if it were not there."""
    decision = await reader.decision(caller.tenant, id)
    if decision is None or not may_see(caller, decision):
        return DecisionNotFound(f"no decision `{id}`", id)
    if await stopped(transactor, reader, decision):
        return await reader.decision(caller.tenant, id) or decision
    return decision


async def list_decisions(reader: Reader, caller: Caller, query: DecisionQuery) -> Sequence[Decision]:
    """Decisions that match, newest first; a caller that is only an agent gets its own."""
    if _sees_all(caller):
        return await reader.decisions(caller.tenant, query)
    own = caller.own_agent
    if own is None or (query.agent is not None and query.agent != own):
        return []
    return await reader.decisions(caller.tenant, replace(query, agent=own))


def _sees_all(caller: Caller) -> bool:
    return caller.may(Role.VIEWER, Role.CI)


def may_see(caller: Caller, decision: Decision) -> bool:
    """Whether the caller may know of the decision: an agent of its own, and of those that it asked for."""
    return _sees_all(caller) or asked_for(caller, decision)


def asked_for(caller: Caller, decision: Decision) -> bool:
    """Whether it is the caller's own decision, or one that the caller asked for."""
    return decision.facts.agent_id == caller.own_agent or decision.principal == caller.principal

"""Agents: the list, one of them with its record, and moving it to another posture."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.postures import POSTURES, Posture
from cstp_server.domain.refusals import InvalidInput, Refusal
from cstp_server.services import decisions, postures, tripwires
from cstp_server.services.catalogue import GLANCED
from cstp_server.services.identity import is_agent
from cstp_server.services.ports import DecisionQuery
from cstp_server.services.quotas import agent_quotas
from cstp_server.services.requests import PostureRequest, TransitionAnswer
from cstp_server.web.access import refused
from cstp_server.web.context import Visit
from cstp_server.web.links import link
from cstp_server.web.names import agent_of
from cstp_server.web.notices import Notice, go_on
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_PAGE = 25
_DECISIONS = 15
_HISTORY = 25
HIGHEST_FIRST = tuple(sorted(Posture, reverse=True))


async def list_agents(visit: Visit) -> Response:
    """A page of agents, by their ids."""
    dashboard, policy, tenant, now = visit.dashboard, visit.policy, visit.tenant, visit.now
    text, posture, after = visit.asked("q"), POSTURES.get(visit.asked("posture") or ""), visit.asked("after")
    found = await dashboard.catalogue.agents(tenant, text=text, posture=posture, after=after, limit=_PAGE + 1)
    ids = list(found)[:_PAGE]
    pulse, counts, stored, records = await asyncio.gather(
        pulse_of(visit),
        dashboard.catalogue.posture_counts(tenant),
        dashboard.reader.postures(tenant, ids),
        dashboard.reader.records(
            tenant,
            ids,
            since=now - policy.postures.score_window_ms,
            due_before=now - policy.postures.review_due_ms,
            self_reported=policy.self_reported,
        ),
    )
    agents = [(policy.postures.of(agent_id, stored.get(agent_id)), records[agent_id], found[agent_id]) for agent_id in ids]
    values = {
        "pulse": pulse,
        "agents": agents,
        "counts": counts,
        "postures": HIGHEST_FIRST,
        "posture": posture,
        "q": text,
        "after": after,
        "following": ids[-1] if len(found) > _PAGE else None,
    }
    return await show(visit, "agents.html", values)


async def agent(visit: Visit) -> Response:
    """One agent: how it stands, what it has used and done."""
    agent_id = agent_of(visit)
    if isinstance(agent_id, InvalidInput):
        return await refused(visit, agent_id)
    dashboard, policy, tenant, caller = visit.dashboard, visit.policy, visit.tenant, visit.caller
    pulse, view, latest, history, hits = await asyncio.gather(
        pulse_of(visit),
        postures.get(dashboard.reader, policy, dashboard.clock, caller, agent_id),
        decisions.list_decisions(dashboard.reader, caller, DecisionQuery(agent=agent_id, limit=_DECISIONS)),
        postures.history(dashboard.reader, caller, agent_id, _HISTORY),
        dashboard.catalogue.hits(tenant, since=visit.now - policy.postures.score_window_ms, agent=agent_id, limit=GLANCED),
    )
    values = {
        "pulse": pulse,
        "agent_id": agent_id,
        "view": view,
        "acl_tier": policy.agents.acl_tier(agent_id),
        "quotas": await agent_quotas(dashboard.catalogue, policy, tenant, agent_id, latest, visit.now),
        "latest": latest,
        "history": history,
        "hits": tripwires.stats_of(hits.counts),
        "is_more_hits": not hits.is_all,
        "window_ms": policy.postures.score_window_ms,
    }
    return await show(visit, "agent.html", values)


async def ask_move(visit: Visit) -> Response:
    """Where to move it, and why."""
    return await _ask(visit, "agent_move.html")


async def ask_block(visit: Visit) -> Response:
    """Whether to block it at once, and why."""
    return await _ask(visit, "agent_block.html")


async def move(visit: Visit) -> Response:
    """Move it, if every guard lets it."""
    dashboard, form, agent_id = visit.dashboard, visit.form, agent_of(visit)
    if isinstance(agent_id, InvalidInput):
        return await refused(visit, agent_id)
    to = POSTURES.get(form.text("to"))
    if to is None:
        return await _ask(visit, "agent_move.html", "choose a posture", 422)
    request = PostureRequest(agent_id, to, form.text("reason"), POSTURES.get(form.text("from")))
    answer = await postures.transition(
        dashboard.transactor, dashboard.reader, dashboard.guardians, visit.policy, dashboard.clock, visit.caller, request
    )
    if isinstance(answer, InvalidInput):
        return await _ask(visit, "agent_move.html", answer.message, 422)
    return await _answered(visit, answer)


async def block(visit: Visit) -> Response:
    """Block it at once, past all guards."""
    agent_id = agent_of(visit)
    if isinstance(agent_id, InvalidInput):
        return await refused(visit, agent_id)
    answer = await postures.emergency_downgrade(visit.dashboard.transactor, visit.caller, agent_id, visit.form.text("reason"))
    if isinstance(answer, InvalidInput):
        return await _ask(visit, "agent_block.html", answer.message, 422)
    return await _answered(visit, answer)


async def _answered(visit: Visit, answer: TransitionAnswer | Refusal) -> Response:
    if isinstance(answer, Refusal):
        return await refused(visit, answer)
    address = link("/agent", id=answer.agent_id)
    if not answer.success:
        return go_on(address, Notice("bad", f"guard `{answer.blocked_by}` refused the move: {answer.reason}"))
    return go_on(address, Notice("good", f"agent `{answer.agent_id}` is `{answer.after.label}`"))


async def _ask(visit: Visit, template: str, problem: str | None = None, status: int = 200) -> Response:
    agent_id = agent_of(visit)
    if isinstance(agent_id, InvalidInput):
        return await refused(visit, agent_id)
    dashboard = visit.dashboard
    view = await postures.get(dashboard.reader, visit.policy, dashboard.clock, visit.caller, agent_id)
    values = {
        "pulse": await pulse_of(visit),
        "agent_id": agent_id,
        "view": view,
        "postures": HIGHEST_FIRST,
        "is_self": is_agent(visit.caller, agent_id),
        "problem": problem,
        "form": visit.form,
    }
    return await show(visit, template, values, status=status)

"""How the agents of a tenant stand, what moved them, and how evaluations of constraints turned out (SPEC 11)."""

from collections import Counter

from cstp_server.domain.callers import Caller
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Reader
from cstp_server.services.requests import GovernanceMetrics
from cstp_server.services.tallying import evaluation_counts


async def metrics(reader: Reader, policy: Policy, caller: Caller, *, since: int | None) -> GovernanceMetrics:
    """The measures of the caller's tenant: agents as they stand now, and what happened since a time (ms since the epoch), or ever."""
    tenant = caller.tenant
    agents = await reader.known_agents(tenant)
    standing = Counter(policy.postures.of(agent_id, stored).posture for agent_id, stored in agents.items())
    moves = await reader.moves(tenant, since=since)
    return GovernanceMetrics(
        agents={posture: standing[posture] for posture in sorted(Posture, reverse=True)},
        average_level=sum(posture * count for posture, count in standing.items()) / len(agents) if agents else None,
        moves={kind: moves.get(kind, 0) for kind in TransitionType},
        openings=await reader.openings(tenant, since=since),
        evaluations=evaluation_counts(await reader.tallies(tenant, since=since)),
    )

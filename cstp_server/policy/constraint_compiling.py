"""From the constraints as they are written to the bounds of an action (SPEC 9)."""

from collections.abc import Iterable, Mapping
from typing import Any

from cstp_server.dimensions.built_in import built_in
from cstp_server.dimensions.installed import known_dimensions
from cstp_server.dimensions.internal_hosts import read_domains
from cstp_server.dimensions.reading import read_bounds
from cstp_server.domain.constraints import Interaction
from cstp_server.policy.agent_models import EVERY_AGENT, AgentModel
from cstp_server.policy.compiled import ConstraintPolicy, ConstraintSource
from cstp_server.policy.constraint_models import ConstraintsModel


def compile_constraints(model: ConstraintsModel, agents: Mapping[str, AgentModel]) -> ConstraintPolicy:
    """The bounds of everybody, of categories and of agents, read by the dimensions."""
    dimensions = known_dimensions(built_in(read_domains(model.internal_domains)))

    def source(place: tuple[str, ...], written: Mapping[str, Any]) -> ConstraintSource:
        return ConstraintSource(place, written, read_bounds(written, dimensions))

    of_every_agent = _own(agents.get(EVERY_AGENT))
    return ConstraintPolicy(
        mode=model.mode,
        enforcement=model.enforcement,
        missing_passes=model.missing_context == "pass",
        anti_gaming=model.anti_gaming,
        internal_domains=tuple(model.internal_domains),
        dimensions=dimensions,
        of_all=source(("constraints", "global"), model.global_),
        of_categories={name: source(("constraints", "categories", name), bounds) for name, bounds in model.by_category.items() if bounds},
        of_every_agent=source(("agents", EVERY_AGENT, "constraints"), of_every_agent),
        of_agents={
            agent_id: source(("agents", agent_id, "constraints"), {**of_every_agent, **_own(agent)})
            for agent_id, agent in agents.items()
            if agent_id != EVERY_AGENT and _own(agent)
        },
    )


def constraints_document(constraints: ConstraintPolicy) -> dict[str, Any]:
    """The constraints in a canonical form; the order of dimensions matters only where the first one decides."""
    ordered = constraints.mode is Interaction.HIERARCHICAL
    return {
        "mode": constraints.mode,
        "enforcement": constraints.enforcement,
        "missing_passes": constraints.missing_passes,
        "anti_gaming": constraints.anti_gaming,
        "internal_domains": sorted(constraints.internal_domains),
        "bounds": {"/".join(place): _pairs(written.items(), ordered=ordered) for place, written, _ in constraints.sources if written},
    }


def _own(agent: AgentModel | None) -> Mapping[str, Any]:
    return agent.constraints if agent is not None and agent.constraints is not None else {}


def _pairs(written: Iterable[tuple[str, Any]], *, ordered: bool) -> list[list[Any]]:
    pairs = [[name, value] for name, value in written]
    return pairs if ordered else sorted(pairs, key=lambda pair: str(pair[0]))

"""Dimensions of a test's own, and their reviews, as the edge has them done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.reading import read_bounds
from cstp_server.domain.callers import Caller
from cstp_server.domain.constraints import CheckResult, Dimension, Interaction
from cstp_server.domain.refusals import Refusal
from cstp_server.policy.compiled import ConstraintPolicy, ConstraintSource, Policy
from cstp_server.services.constraints import evaluate_constraints, validate_tightening
from cstp_server.services.dimensions import list_dimensions, review_dimension
from cstp_server.services.ports import Reloaded
from cstp_server.services.requests import DimensionInfo, DimensionRequest, EvaluateRequest, EvaluationAnswer
from tests.services.world import OPS, World, policy_of


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens an action may take."""

    name: str = "token_limit"
    version: str = "1.0.0"
    description: str = "tokens of a request"

    def parse(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not `{value}`")
        return value

    def check(self, constraint: int, context: Mapping[str, Any]) -> CheckResult:
        used = context.get("tokens_used")
        if used is None:
            return CheckResult(satisfied=False, reason="`tokens_used` is missing", limit=constraint, missing="tokens_used")
        return CheckResult(used <= constraint, f"{used} of {constraint} tokens", used, constraint, max(0, constraint - used))

    def tightens(self, parent: int, child: int) -> bool:
        return child <= parent

    def compose(self, constraints: Sequence[int]) -> int:
        return min(constraints)


@dataclass(frozen=True, slots=True)
class Known:
    """What a process knows of dimensions (`services.ports.Dimensions`)."""

    custom: Mapping[str, Dimension] = field(default_factory=dict)
    built_in: Mapping[str, Dimension] = field(default_factory=lambda: BUILT_IN)
    allow_unreviewed: bool = False


def installed(*dimensions: Dimension) -> Known:
    """These are installed, and nothing else is known."""
    return Known({dimension.name: dimension for dimension in dimensions})


def say(
    world: World,
    known: Known,
    name: str = "token_limit",
    *,
    approve: bool = True,
    version: str | None = None,
    note: str | None = None,
    caller: Caller = OPS,
) -> DimensionInfo | Refusal:
    """Approve or reject a dimension."""
    request = DimensionRequest(name, version, note)
    return world.do(review_dimension(world.store.transactor, known, caller, request, approve=approve))


def listed(world: World, known: Known, caller: Caller = OPS) -> dict[str, DimensionInfo]:
    """Every dimension, by name."""
    return {info.name: info for info in world.do(list_dimensions(world.store.reader, known, caller))}


def bounded(
    *, agents: Mapping[str, Mapping[str, Any]] | None = None, sections: Mapping[str, Any] | None = None, **constraints: Any
) -> Policy:
    """A policy of constraints; `everybody` are those for every action, `agents` those of agents."""
    if "everybody" in constraints:
        constraints["global"] = constraints.pop("everybody")
    of_agents = {agent_id: {"constraints": bounds} for agent_id, bounds in (agents or {}).items()}
    return policy_of(constraints=constraints, agents=of_agents, **(sections or {}))


def bounded_by(dimension: Dimension, value: Any, *, reviews: bool = True, **others: Any) -> Policy:
    """A policy that bounds every action by an installed dimension, and by others."""
    dimensions = {**BUILT_IN, dimension.name: dimension}
    written = {dimension.name: value, **others}
    source = ConstraintSource(("constraints", "global"), written, read_bounds(written, dimensions))
    return Policy("sha256:custom", constraints=ConstraintPolicy(dimensions=dimensions, reviews=reviews, of_all=source))


@dataclass(frozen=True, slots=True)
class InForce:
    """A policy that is in force (`services.ports.PolicySource`)."""

    current: Policy
    problems: tuple[str, ...] = ()

    async def reload(self, _caller: Caller) -> Reloaded:
        return Reloaded(self.current.version, changed=False)


def evaluation(
    world: World,
    constraints: Mapping[str, Any],
    context: Mapping[str, Any] | None = None,
    *,
    agent: str | None = None,
    mode: str = "conjunctive",
    caller: Caller = OPS,
    known: Known | None = None,
) -> EvaluationAnswer | Refusal:
    """Hold a context against constraints, on demand."""
    store, request = world.store, EvaluateRequest(constraints, context or {}, Interaction(mode), agent)
    source = InForce(world.policy)
    return world.do(evaluate_constraints(store.transactor, store.reader, known or installed(), source, caller, request))


def evaluated(world: World, constraints: Mapping[str, Any], context: Mapping[str, Any] | None = None, **details: Any) -> EvaluationAnswer:
    """As `evaluation`, where nothing speaks against it."""
    answer = evaluation(world, constraints, context, **details)
    assert isinstance(answer, EvaluationAnswer), answer
    return answer


def tightened(world: World, parent: Mapping[str, Any], child: Mapping[str, Any], known: Known | None = None) -> tuple[str, ...]:
    """What is looser in the child."""
    return world.do(validate_tightening(world.store.reader, known or installed(), InForce(world.policy), OPS, parent, child))

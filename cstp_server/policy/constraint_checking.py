"""What is legal in a policy's constraints and hardly meant (`cstp policy check`)."""

from collections.abc import Iterator

from cstp_server.dimensions.reading import composed
from cstp_server.dimensions.tightening import is_tighter
from cstp_server.dimensions.time_window import TimeWindow
from cstp_server.domain.constraints import Bound
from cstp_server.domain.findings import Mode
from cstp_server.policy.compiled import ConstraintSource, Policy
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.yaml_nodes import Node


def constraint_warnings(policy: Policy, root: Node) -> Iterator[PolicyProblem]:
    """All of them, each with its place in the document that the policy was read from."""
    constraints = policy.constraints
    if constraints.enforcement is Mode.OFF:
        return
    held = {bound.name: bound for bound in constraints.of_all.bounds}
    narrower = (*constraints.of_categories.values(), constraints.of_every_agent, *constraints.of_agents.values())
    for source in narrower:
        for bound in source.bounds:
            message = _about(bound, held.get(bound.name))
            if message is not None and _is_written(root, source, bound.name):
                yield PolicyProblem(*root.place_of((*source.place, bound.name)), f"`{'.'.join((*source.place, bound.name))}` {message}")


def _is_written(root: Node, source: ConstraintSource, name: str) -> bool:
    """Whether it stands there itself, and is not what all agents have."""
    return root.at((*source.place, name)) is not None


def _about(bound: Bound, held: Bound | None) -> str | None:
    if held is None:
        return None
    if is_tighter(bound, held) and not is_tighter(held, bound):
        return f"has no effect: the `{bound.name}` in `constraints.global` is tighter, and the most restrictive one holds"
    both = composed((held, bound)).constraint
    if isinstance(both, TimeWindow) and not both.minutes:
        return "admits nothing: it has no minute in common with the one in `constraints.global`"
    return None

"""What an agent is given may only tighten what holds for all (SPEC 7 and 12)."""

from collections.abc import Iterator, Mapping

from cstp_server.policy.agent_models import EVERY_AGENT, AgentModel
from cstp_server.policy.built_in import BUILT_IN
from cstp_server.policy.fields import Path
from cstp_server.policy.short_form import Bound, form_of
from cstp_server.policy.tripwire_models import LIMITS, RULES, TripwiresModel


def loosened(of_all: TripwiresModel, agents: Mapping[str, AgentModel]) -> Iterator[tuple[Path, str]]:
    """Every limit of an agent that lets through what the one for all refuses, and every name that belongs to another; with its place."""
    rules = {rule.name for rule in of_all.rules}
    every = agents.get(EVERY_AGENT)
    shared = every.tripwires if every is not None else None
    for agent_id, agent in agents.items():
        if agent.tripwires is None:
            continue
        taken = rules | (_rule_names(shared) if agent_id != EVERY_AGENT else set())
        place: Path = ("agents", agent_id, "tripwires")
        for name, bound in agent.tripwires.limits.items():
            message = _about_limit(name, bound, of_all.limits, taken)
            if message is not None:
                yield (*place, LIMITS, name), message
        reserved = rules | of_all.limits.keys() | (shared.limits.keys() if shared is not None and agent_id != EVERY_AGENT else set())
        for index, rule in enumerate(agent.tripwires.rules):
            message = _about_rule(rule.name, reserved)
            if message is not None:
                yield (*place, RULES, index, "name"), message


def _rule_names(model: TripwiresModel | None) -> set[str]:
    return {rule.name for rule in model.rules} if model is not None else set()


def _about_limit(name: str, bound: Bound, limits: Mapping[str, Bound], rules: set[str]) -> str | None:
    if name in rules:
        return f"is the name of a rule for all agents: give this limit another name, or change `{name}` there"
    held = limits.get(name)
    direction = form_of(name).direction
    if held is None or direction.tightens(bound, held):
        return None
    return f"is `{bound}`, which loosens the `{held}` that holds for all agents: an agent's own limit must be {direction.value} or equal"


def _about_rule(name: str, reserved: set[str]) -> str | None:
    if name in BUILT_IN:
        return f"`{name}` is a built-in tripwire, and can only be changed for all agents: under `tripwires`, with `applies_to`"
    if name in reserved:
        return f"`{name}` is the name of a tripwire for all agents: give this one another name"
    return None

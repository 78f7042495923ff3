"""What is legal in a policy's tripwires and hardly meant (`cstp policy check`)."""

import re
from collections.abc import Iterator

from cstp_server.domain.expressions import EvaluationFailed, subject_of
from cstp_server.domain.facts import Facts
from cstp_server.domain.tripwire_rules import Condition, Limit, Measure, Pattern, Quota
from cstp_server.domain.tripwires import Applies, Tripwire
from cstp_server.policy.agent_models import EVERY_AGENT
from cstp_server.policy.cel import is_constant
from cstp_server.policy.compiled import Policy
from cstp_server.policy.fields import Path
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.tripwire_models import LIMITS, RULES
from cstp_server.policy.yaml_nodes import Node

_BARE = Facts(description="an action that says nothing else of itself", agent_id="agent")
_PLACEHOLDER = re.compile(r"\{\w+\}")
_WINDOWED = re.compile(r"(?:max|min)_(?:hourly|daily|weekly|monthly|yearly|total)_\w+|(?:max|min)_\w+_(?:budget|limit|quota)")
_QUALITY = "min_ctq"


def tripwire_warnings(policy: Policy, root: Node) -> Iterator[PolicyProblem]:
    """All of them, each with its place in the document that the policy was read from."""
    for path, name, agent_id in _written(root):
        listed = policy.tripwires.of(agent_id) if agent_id is not None else policy.tripwires.of_everyone
        tripwire = next((tripwire for tripwire in listed if tripwire.name == name), None)
        for message in _about(tripwire, agent_id, is_limit=path[-1] == name) if tripwire is not None else ():
            yield PolicyProblem(*root.place_of(path), f"tripwire `{name}` {message}")


def _written(root: Node) -> Iterator[tuple[Path, str, str | None]]:
    """The place and the name of every tripwire in the document, and the agent that it is for."""
    yield from _named_at(root, ("tripwires",), None)
    agents = root.at(("agents",))
    for agent_id in agents.value if agents is not None and isinstance(agents.value, dict) else ():
        yield from _named_at(root, ("agents", agent_id, "tripwires"), agent_id)


def _named_at(root: Node, place: Path, agent_id: str | None) -> Iterator[tuple[Path, str, str | None]]:
    limits, rules = root.at((*place, LIMITS)), root.at((*place, RULES))
    for name in limits.value if limits is not None and isinstance(limits.value, dict) else ():
        yield (*place, LIMITS, name), name, agent_id
    for index in range(len(rules.value) if rules is not None and isinstance(rules.value, list) else 0):
        named = root.at((*place, RULES, index, "name"))
        if named is not None:
            yield (*place, RULES, index, "name"), str(named.value), agent_id


def _about(tripwire: Tripwire, agent_id: str | None, *, is_limit: bool) -> Iterator[str]:
    rule, applies = tripwire.rule, tripwire.applies
    if tripwire.message is not None and _PLACEHOLDER.search(tripwire.message):
        yield "has a placeholder in its message, which is shown as it stands"
    if agent_id not in {None, EVERY_AGENT} and applies.agents and agent_id not in applies.agents:
        yield f"is never reached: it stands under the agent `{agent_id}`, which its `applies_to` leaves out"
    if is_limit:
        yield from _about_name(tripwire.name)
    if isinstance(rule, Limit | Quota):
        yield from _about_bound(rule, applies)
    elif isinstance(rule, Condition):
        yield from _about_condition(rule, applies)
    elif isinstance(rule, Pattern) and rule.detector.finds(""):
        yield "matches every text, an empty one too"


def _about_name(name: str) -> Iterator[str]:
    if name == _QUALITY:
        yield "looks at `action.parameters.ctq`; the quality of the reasoning has a section of its own: `quality: {min_ctq: …}`"
    elif _WINDOWED.fullmatch(name) is not None:
        yield (
            f"looks at the parameter `{name.split('_', 1)[1]}` of one action; "
            "what adds up is limited by `daily_budget`, `budget_limit` or a `quota`"
        )


def _about_bound(rule: Limit | Quota, applies: Applies) -> Iterator[str]:
    if rule.max == 0:
        yield "has a limit of 0: " + (
            "it lets no such action through" if isinstance(rule, Quota) and rule.sums is None else "only 0 passes"
        )
    measures = rule.measures if isinstance(rule, Limit) else (rule.sums,) if rule.sums is not None else ()
    for measure in measures:
        if _is_wanted_of_all(measure, applies):
            yield (
                f"trips every action that has no `{measure.text}`: say with `applies_to` which actions it is about, "
                "or use a limit of the short form"
            )


def _is_wanted_of_all(measure: Measure, applies: Applies) -> bool:
    return not measure.optional and not measure.words and len(measure.path) > len(("action", "confidence")) and not _is_narrow(applies)


def _is_narrow(applies: Applies) -> bool:
    return bool(applies.categories or applies.types or applies.tags or applies.words)


def _about_condition(rule: Condition, applies: Applies) -> Iterator[str]:
    matched = rule.when(subject_of(_BARE, posture="supervised"))
    if is_constant(rule.when.source):
        yield "never trips: its condition is false for every action" if matched is False else "trips every action that it applies to"
    elif isinstance(matched, EvaluationFailed) and not _is_narrow(applies):
        yield (
            f"trips every action that lacks a key: `{rule.when.source}` cannot be evaluated then ({matched.reason}) and counts as "
            "matched; ask `has(…)` first, or say with `applies_to` which actions it is about"
        )

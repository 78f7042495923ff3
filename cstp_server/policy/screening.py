"""Screens: one condition that is false only where none of many would say anything.

CEL's `||` is false only when both sides are; an error on one side stays an error unless the other side is true. So a screen that is
false has seen every condition, and none held or failed. Anything else sends the action to the rules one by one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from cstp_server.domain.expressions import Predicate
from cstp_server.domain.findings import Intervention, Mode
from cstp_server.domain.guardrails import Guardrail, RuleGroup
from cstp_server.domain.tripwire_rules import Condition
from cstp_server.policy.cel import BadExpression, compile_predicate
from cstp_server.policy.compiled import ClassificationRule, TripwireSet

_GROUP = 32
_GROUP_BEHIND = 4
"""Behind a screen before them all, small groups soon tell which rules it is that have something to say."""
_PLAIN_PATH = re.compile(r"action\.(context|parameters)\.[A-Za-z_][A-Za-z0-9_]*")


def rule_groups(rules: Iterable[Guardrail], *, behind: bool = False) -> tuple[RuleGroup, ...]:
    """The rules that may have findings, in their order, in groups that are screened as one; `behind` a screen before all, or not."""
    groups = _groups([rule for rule in rules if _speaks(rule)], _GROUP_BEHIND if behind else _GROUP)
    return tuple(RuleGroup(tuple(group), _screen([_condition(rule) for rule in group]) if len(group) > 1 else None) for group in groups)


def screen_of(classification: Sequence[ClassificationRule], guardrails: Sequence[Guardrail], tripwires: TripwireSet) -> Predicate | None:
    """The screen before all classification rules, guardrails and tripwires' conditions; none where there are too many for one."""
    conditions = [rule.when.source for rule in classification] + [_condition(rule) for rule in guardrails if _speaks(rule)]
    conditions += _conditions_of(tripwires)
    return _screen(conditions, alone=True) if 0 < len(conditions) <= _GROUP else None


def sources_of(classification: Sequence[ClassificationRule], guardrails: Sequence[Guardrail], tripwires: TripwireSet) -> list[str]:
    """Every condition that is evaluated."""
    rules = [rule.when.source for rule in guardrails if _speaks(rule) and rule.when is not None]
    return [*(rule.when.source for rule in classification), *rules, *_conditions_of(tripwires)]


def _conditions_of(tripwires: TripwireSet) -> list[str]:
    """The conditions of tripwires, those of single agents among them, each once."""
    listed = [*tripwires.of_everyone, *(tripwire for own in tripwires.of_agents.values() for tripwire in own)]
    return list(dict.fromkeys(tripwire.rule.when.source for tripwire in listed if isinstance(tripwire.rule, Condition)))


def _speaks(rule: Guardrail) -> bool:
    return rule.mode is not Mode.OFF and rule.action is not Intervention.ALLOW


def _condition(rule: Guardrail) -> str:
    """Where this is false, the rule has no finding: its condition does not hold, or all that it requires is true."""
    matched = _enclosed(rule.when.source) if rule.when is not None else "true"
    if not rule.requires or not all(_PLAIN_PATH.fullmatch(path) for path in rule.requires):
        return matched
    missing = " || ".join(f"{path} != true" for path in rule.requires)
    return f"{matched} && ({missing})"


def _screen(conditions: Sequence[str], *, alone: bool = False) -> Predicate | None:
    try:
        return compile_predicate(" || ".join(_enclosed(condition) for condition in conditions), alone=alone)
    except BadExpression:  # too long together, though each is good: the rules are then looked at one by one
        return None


def _enclosed(condition: str) -> str:
    """In parentheses that a comment at the end cannot swallow."""
    return f"({condition}\n)"


def _groups(rules: Sequence[Guardrail], size: int) -> Iterator[Sequence[Guardrail]]:
    for start in range(0, len(rules), size):
        yield rules[start : start + size]

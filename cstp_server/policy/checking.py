"""What is wrong with a policy, and what is legal but hardly meant (`cstp policy check`)."""

import re
from collections.abc import Iterator
from pathlib import Path

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.expressions import EvaluationFailed, Subject, subject_of
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.findings import Intervention
from cstp_server.domain.guardrails import Guardrail
from cstp_server.domain.scopes import USER_TEMPLATE, ScopeKind, parse_scope
from cstp_server.domain.values import dataclass
from cstp_server.policy.cel import is_constant
from cstp_server.policy.compiled import Policy
from cstp_server.policy.constraint_checking import constraint_warnings
from cstp_server.policy.loading import read_policy
from cstp_server.policy.notification_compiling import Variables, unset_variables
from cstp_server.policy.posture_checking import about_lowering, posture_warnings
from cstp_server.policy.problems import BadPolicy, PolicyProblem
from cstp_server.policy.tripwire_checking import tripwire_warnings
from cstp_server.policy.yaml_nodes import Node

_BARE = Facts(description="an action that says nothing else of itself", agent_id="agent")
_POSTURE = "supervised"
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """The policy, when it can be used, what keeps it from being used, and what is probably not meant."""

    policy: Policy | None
    problems: tuple[PolicyProblem, ...] = ()
    warnings: tuple[PolicyProblem, ...] = ()


def check_policy(path: Path, variables: Variables | None = None) -> PolicyReport:
    """Read the policy at `path` and look at it closely. Never raises for what is in the files.

    With `variables`, the values of those of the environment, it warns of those that channels need and that are not set here.
    """
    try:
        policy, root = read_policy(path)
    except BadPolicy as bad:
        return PolicyReport(None, bad.problems)
    unset = unset_variables(policy.alerts, variables) if variables is not None else ()
    missing = [
        PolicyProblem(*root.place_of(place), f"{message} here: the service refuses the policy where it is not") for place, message in unset
    ]
    return PolicyReport(policy, warnings=(*warnings_of(policy, root), *missing))


def warnings_of(policy: Policy, root: Node) -> tuple[PolicyProblem, ...]:
    """What is legal and probably not meant, with its places in the document that the policy was read from."""
    found = [
        *_rule_warnings(policy, root),
        *_circuit_warnings(policy, root),
        *tripwire_warnings(policy, root),
        *posture_warnings(policy, root),
        *constraint_warnings(policy, root),
    ]
    return tuple(sorted(found, key=lambda problem: (problem.file, problem.line or 0)))


def _rule_warnings(policy: Policy, root: Node) -> Iterator[PolicyProblem]:
    for index, rule in enumerate(policy.guardrails):
        for message in _about_rule(rule):
            yield _at(root, ("guardrails", index, "id"), f"rule `{rule.id}` {message}")


def _about_rule(rule: Guardrail) -> Iterator[str]:
    if _PLACEHOLDER.search(rule.message):
        yield "has a placeholder in its message, which is shown as it stands"
    if rule.action is Intervention.ALLOW:
        yield "allows, which has no effect: no rule lifts another's objection"
        return
    if rule.when is None or (is_constant(rule.when.source) and rule.when(_bare_subject()) is True):
        if not rule.requires:
            yield f"applies to every action: it has the action `{rule.action.label}` and no condition that could be false"
        return
    matched = rule.when(_bare_subject())
    if isinstance(matched, EvaluationFailed):
        yield (
            f"matches every action that lacks a key: `{rule.when.source}` cannot be evaluated then ({matched.reason}) and counts as "
            "matched; ask `has(…)` first, or join it with `&&` to what tells the actions it is about"
        )


def _bare_subject() -> Subject:
    return subject_of(_BARE, posture=_POSTURE)


def _circuit_warnings(policy: Policy, root: Node) -> Iterator[PolicyProblem]:
    circuits = {**policy.circuits.exact, **policy.circuits.templates}
    for index, scope in enumerate(_scopes_in_order(root)):
        for message in (*_about_circuit(scope, circuits[scope]), *about_lowering(scope, circuits[scope], policy.postures)):
            yield _at(root, ("circuit_breakers", index, "scope"), f"circuit `{scope}` {message}")
        if scope == _ALL_STAKES and all(f"{ScopeKind.STAKES}:{level}" in policy.circuits.exact for level in Stakes):
            yield _at(root, ("circuit_breakers", index, "scope"), f"circuit `{scope}` is never used: every level has a circuit of its own")
        if scope == USER_TEMPLATE and policy.circuits.trust is not None:
            yield _at(
                root,
                ("circuit_breakers", index, "scope"),
                f"circuit `{scope}` covers every user: `trust` never applies; take it out, or say `trust: {{mode: off}}`",
            )


_ALL_STAKES = f"{ScopeKind.STAKES}:*"


def _about_circuit(scope: str, settings: CircuitSettings) -> Iterator[str]:
    for severity, weight in settings.severity_weights.items():
        if weight == 0:
            yield f"gives failures of severity `{severity}` no weight: they never open it"
    if settings.min_distinct_agents > 1 and parse_scope(scope).kind is ScopeKind.AGENT:
        yield f"can never open: it wants failures of {settings.min_distinct_agents} agents and sees those of one"


def _scopes_in_order(root: Node) -> list[str]:
    if not isinstance(root.value, dict) or "circuit_breakers" not in root.value:
        return []
    listed = root.value["circuit_breakers"][1].plain()
    return [str(parse_scope(str(item["scope"]))) for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _at(root: Node, path: tuple[str | int, ...], message: str) -> PolicyProblem:
    file, line = root.place_of(path)
    return PolicyProblem(file, line, message)

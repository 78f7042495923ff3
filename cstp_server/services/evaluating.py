"""All guards over one set of facts. A guard is a function from what it looks at to findings; a new kind of guard is one more of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cstp_server.domain.circuit_findings import circuit_finding
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.expressions import Subject, subject_of
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import CLEAN, Finding, Mode, Verdict, judge
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import CircuitNeed

DEFAULT_POSTURE = "supervised"


@dataclass(frozen=True, slots=True)
class Case:
    """One action as the policy sees it: classified, and with the circuits that it belongs to."""

    policy: Policy
    facts: Facts
    subject: Subject
    circuits: tuple[tuple[str, CircuitSettings], ...]
    is_quiet: bool = False
    """The policy's screen has seen that no guardrail has anything to say."""

    @property
    def evaluated(self) -> int:
        """How many guards look at it."""
        return len(self.circuits) + self.policy.active_guardrails

    def circuit_needs(self, *, writes: bool = False) -> dict[str, CircuitNeed]:
        """The circuits it belongs to, as needs."""
        return {scope: CircuitNeed(settings, writes) for scope, settings in self.circuits}


def case_of(policy: Policy, declared: Facts) -> Case:
    """Classify what was declared, before anything else looks at it: an agent cannot talk its stakes down (SPEC 3)."""
    subject = subject_of(declared, posture=DEFAULT_POSTURE)
    if policy.screen is not None and policy.screen(subject) is False:
        return Case(policy, declared, subject, _active_circuits(policy, declared), is_quiet=True)
    facts = declared
    for rule in policy.classification:
        if rule.when(subject) is True:
            facts = facts.raised(rule.stakes, rule.tags, rule.category)
    if facts is not declared:
        subject = subject_of(facts, posture=DEFAULT_POSTURE)
    return Case(policy, facts, subject, _active_circuits(policy, facts))


def _active_circuits(policy: Policy, facts: Facts) -> tuple[tuple[str, CircuitSettings], ...]:
    return tuple([found for found in policy.circuits.matching(facts) if found[1].mode is not Mode.OFF])


def evaluate(case: Case, circuits: Mapping[str, Circuit], now: int) -> Verdict:
    """The verdict of all guards, the circuits being as time has left them at `now`."""
    findings = [*_circuit_findings(case, circuits, now), *_guardrail_findings(case)]
    return judge(findings) if findings else CLEAN


def _circuit_findings(case: Case, circuits: Mapping[str, Circuit], now: int) -> Iterable[Finding]:
    for scope, settings in case.circuits:
        circuit = circuits[scope]
        if circuit.state is not State.CLOSED and (finding := circuit_finding(circuit, settings, now)) is not None:
            yield finding


def _guardrail_findings(case: Case) -> Iterable[Finding]:
    if case.is_quiet:
        return
    for group in case.policy.rule_groups:
        yield from group.check(case.subject)

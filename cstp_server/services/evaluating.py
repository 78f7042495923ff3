"""All guards over one set of facts. A guard is a function from what it looks at to findings; a new kind of guard is one more of them."""

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import NamedTuple

from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.charges import Charge, examine
from cstp_server.domain.circuit_findings import circuit_finding
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.expressions import Subject, subject_of
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import CLEAN, Finding, Intervention, Mode, Verdict, judge
from cstp_server.domain.posture_findings import posture_finding
from cstp_server.domain.postures import DEFAULT_POSTURE, Posture
from cstp_server.domain.trust import trust_finding
from cstp_server.domain.usage import Usage
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.bounding import Bounding, Held, Reviews, bounding_of, hold
from cstp_server.services.ledger import Charge as Claimable
from cstp_server.services.ports import CircuitNeed, Needs

_POSTURE_GUARDS = 1
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Case:
    """One action as the policy sees it: classified, with the circuits it belongs to and what it would take of quotas.

    `findings` are those that depend on nothing but the action, `credentials` those of them that a search for credentials made.
    `recorded` are the facts as they may be stored: without credentials.
    """

    policy: Policy
    facts: Facts
    recorded: Facts
    subject: Subject
    posture: Posture
    acl_tier: int
    circuits: tuple[tuple[str, CircuitSettings], ...]
    charges: tuple[Charge, ...]
    credentials: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    evaluated: int
    """How many guards look at it."""
    bounding: Bounding | None = None
    """The constraints that the policy has for it; none where it has none."""

    @property
    def claimed(self) -> tuple[Claimable, ...]:
        """All that it would take of tallies: of quotas and budgets, and of the windows that its agent's checks are counted in."""
        return self.charges if self.bounding is None else (*self.charges, *self.bounding.rates.values())

    def needs(
        self, decisions: frozenset[str] = frozenset(), usage: Collection[str] = (), *, writes: bool = False, observes: bool = False
    ) -> Needs:
        """What must be read to decide on it, besides these decisions and this usage. `observes`: the agent's habits too."""
        policy, agent, bounding = self.policy, frozenset((self.facts.agent_id,)), self.bounding
        claimed = self.claimed
        return Needs(
            decisions=decisions,
            circuits={scope: CircuitNeed(settings, writes) for scope, settings in self.circuits},
            usage=frozenset([charge.subject for charge in claimed]).union(usage) if claimed or usage else _NOBODY,
            postures=agent,
            moves=agent if (self.findings or self.charges) and self._may_halt() else _NOBODY,
            habits=agent if observes and bounding is not None and bounding.shows_habits else _NOBODY,
            dimensions=bounding.custom if bounding is not None else _NOBODY,
            final=not policy.speaks_of_posture,
        )

    def _may_halt(self) -> bool:
        """Whether the agent may be blocked for this: nobody is to raise it between the look and that."""
        if Intervention.HALT in [finding.intervention for finding in self.findings]:
            return True
        return Intervention.HALT in [charge.tripwire.intervention(self.acl_tier) for charge in self.charges]


@dataclass(frozen=True, slots=True)
class Situation:
    """What the guards look at besides the action: circuits as time has left them, usage, the agent's posture, what was said of custom
    dimensions, and the agent's habits, where anybody looks at them.
    """

    circuits: Mapping[str, Circuit]
    usage: Mapping[str, Usage]
    posture: Posture
    reviews: Reviews = field(default_factory=dict)
    habits: AgentHabits | None = None


class Assessment(NamedTuple):
    """The verdict of all guards, and what the constraints said, where there are any."""

    verdict: Verdict
    held: Held | None = None


def case_of(policy: Policy, declared: Facts, posture: Posture = DEFAULT_POSTURE, credentials: tuple[Finding, ...] | None = None) -> Case:
    """Classify what was declared, before anything else looks at it: an agent cannot talk its stakes down (SPEC 3).

    `credentials` are what the search for them has found already, where it need not be done again.
    """
    acl_tier = policy.agents.acl_tier(declared.agent_id)
    subject = subject_of(declared, posture=posture.label, acl_tier=acl_tier)
    facts, is_quiet = declared, policy.screen is not None and policy.screen(subject) is False
    if not is_quiet:
        facts = _classified(policy, declared, subject)
        if facts is not declared:
            subject = subject_of(facts, posture=posture.label, acl_tier=acl_tier)
    tripwires = policy.tripwires.of(facts.agent_id)
    examined = examine(tripwires, subject, facts, acl_tier, is_quiet=is_quiet, credentials=credentials)
    circuits = tuple([found for found in policy.circuits.matching(examined.recorded) if found[1].mode is not Mode.OFF])
    rules = [] if is_quiet else [finding for group in policy.rule_groups for finding in group.check(subject)]
    bounding = bounding_of(policy, facts)
    quality = policy.quality.check(facts) if policy.quality is not None and policy.quality.mode is not Mode.OFF else None
    return Case(
        policy=policy,
        facts=facts,
        recorded=examined.recorded,
        subject=subject,
        posture=posture,
        acl_tier=acl_tier,
        circuits=circuits,
        charges=examined.charges,
        credentials=examined.credentials,
        findings=(*examined.findings, *rules, *((quality,) if quality is not None else ())),
        evaluated=_POSTURE_GUARDS
        + len(circuits)
        + policy.active_guardrails
        + len(tripwires)
        + (policy.quality is not None)
        + (len(bounding.bounds) if bounding is not None else 0),
        bounding=bounding,
    )


def _refused_by(circuit: Circuit, settings: CircuitSettings, action: str | None, now: int) -> Finding | None:
    """What a circuit that is not closed says against one more action of that type."""
    if settings.trust is not None:
        return trust_finding(circuit, settings, action, now)
    return circuit_finding(circuit, settings, now)


def _classified(policy: Policy, declared: Facts, subject: Subject) -> Facts:
    facts = declared
    for rule in policy.classification:
        if rule.when(subject) is True:
            facts = facts.raised(rule.stakes, rule.tags, rule.category)
    return facts


def evaluate(case: Case, situation: Situation, now: int) -> Verdict:
    """The verdict of all guards, the circuits being as time has left them at `now`."""
    return assess(case, situation, now).verdict


def assess(case: Case, situation: Situation, now: int) -> Assessment:
    """As `evaluate`, with what the constraints alone had to say."""
    posture = posture_finding(situation.posture)
    findings = [posture] if posture is not None else []
    for charge in case.charges:
        exceeded = charge.finding(situation.usage[charge.subject], now, case.policy.time_zone, case.acl_tier)
        if exceeded is not None:
            findings.append(exceeded)
    for scope, settings in case.circuits:
        circuit = situation.circuits[scope]
        if circuit.state is not State.CLOSED and (refused := _refused_by(circuit, settings, case.facts.type, now)) is not None:
            findings.append(refused)
    held = None
    if case.bounding is not None:
        held = hold(case.bounding, case.policy, situation.usage, situation.reviews, situation.habits, now)
        findings += held.findings
    findings += case.findings
    return Assessment(judge(findings) if findings else CLEAN, held)

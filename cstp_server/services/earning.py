"""Autonomy that agents earn by their record, and lose when nobody tells how their decisions turned out (SPEC 8)."""

import hashlib

from cstp_server.clock import Clock
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.decisions import Answer, Decision, Source, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding, GuardType, Intervention, Lift, Verdict
from cstp_server.domain.posture_events import Attempt
from cstp_server.domain.posture_guards import GuardRefusal, TransitionRequest
from cstp_server.domain.postures import EARNED_BY, AgentPosture, Posture, demoted, promoted, transition_type
from cstp_server.domain.trust_scores import Record
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Earned, Policy
from cstp_server.services.looking import posture_in
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Decided, DecisionQuery, Guardians, Needs, Reader, Transactor, View

PROPOSAL_TYPE = "posture_upgrade"


def next_earned(policy: Policy, current: AgentPosture) -> Earned | None:
    """The lowest posture above the agent's own that a good record earns; none for an agent that is blocked or held down."""
    if current.posture is Posture.BLOCKED or current.holds:
        return None
    above = [earned for earned in policy.postures.earned if earned.to > current.posture]
    return min(above, key=lambda earned: earned.to) if above else None


def evidence_since(policy: Policy, current: AgentPosture, now: int) -> int:
    """Since when an agent's record counts for its next posture: whatever it did before it was last moved has been judged already."""
    return max(now - policy.postures.score_window_ms, current.since)


async def records_of(reader: Reader, policy: Policy, tenant: str, current: AgentPosture, now: int) -> tuple[Record, Record]:
    """The agent's record since it was last moved, and that of the whole window."""
    fresh = await record_since(reader, policy, tenant, current.agent_id, evidence_since(policy, current, now), now)
    whole = await record_since(reader, policy, tenant, current.agent_id, now - policy.postures.score_window_ms, now)
    return fresh, whole


async def record_since(reader: Reader, policy: Policy, tenant: str, agent_id: str, since: int, now: int) -> Record:
    """What the agent's decisions since a time come to, as the policy counts it."""
    due_before = now - policy.postures.review_due_ms
    return await reader.record(tenant, agent_id, since=since, due_before=due_before, self_reported=policy.self_reported)


def is_earned(policy: Policy, earned: Earned, fresh: Record, whole: Record) -> bool:
    """Whether a record is good enough, rests on enough, and is not full of holes.

    The score is that of the whole window: no move makes failures undone. What it rests on must have come since the agent was last moved.
    """
    enough = fresh.reviewed >= earned.min_reviewed and whole.score >= earned.min_score
    return enough and fresh.coverage >= policy.postures.min_review_coverage


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Looks at agents' records from time to time, and proposes, grants or takes what follows from them."""

    transactor: Transactor
    reader: Reader
    guardians: Guardians
    clock: Clock

    async def look_at(self, policy: Policy, tenant: str, agent_id: str) -> None:
        """Look at one agent."""
        now, postures = self.clock.now(), policy.postures
        current = postures.of(agent_id, await self.reader.posture(tenant, agent_id))
        earned = next_earned(policy, current)
        if earned is None and not may_lose(policy, current):
            return
        fresh, whole = await records_of(self.reader, policy, tenant, current, now)
        if may_lose(policy, current) and fresh.coverage < postures.min_review_coverage:
            await self.transactor.run(MoveEarned(tenant, current, current.earned_from[-1], _debt(fresh)))
        elif earned is not None and is_earned(policy, earned, fresh, whole):
            await self._raise(policy, tenant, Propose(tenant, current, earned, fresh, reason_of(whole)), whole)

    async def _raise(self, policy: Policy, tenant: str, proposal: "Propose", whole: Record) -> None:
        """Ask the guards, and then people, unless neither is to be asked again about the same."""
        current, earned = proposal.current, proposal.earned
        if not earned.auto and await self._is_proposed(proposal):
            return
        asked = transition_asked(policy, current, earned.to, whole)
        refusal = await self.guardians.ask(policy.postures.guards, asked)
        if refusal is not None:
            await self._note(tenant, proposal, refusal)
        elif earned.auto:
            await self.transactor.run(MoveEarned(tenant, current, earned.to, proposal.reason, earned=True))
        else:
            await self.transactor.run(proposal)

    async def _note(self, tenant: str, proposal: "Propose", refusal: GuardRefusal) -> None:
        """Put a guard's refusal on record, once as long as nobody moves the agent and the same guard refuses the same."""
        current, to = proposal.current, proposal.earned.to
        before = await self.reader.last_refusal(tenant, current.agent_id, EARNED_BY)
        if before is not None and before.at >= current.since:
            data = before.data
            if (data["from_posture"], data["to_posture"], data["blocked_by"]) == (current.posture.label, to.label, refusal.guard):
                return
        await self.transactor.run(NoteRefusal(tenant, current, to, proposal.reason, refusal))

    async def _is_proposed(self, proposal: "Propose") -> bool:
        """Whether the same was proposed before, or anything for this agent still waits."""
        tenant, agent_id = proposal.tenant, proposal.current.agent_id
        if await self.reader.decision(tenant, proposal.id) is not None:
            return True
        before: tuple[int, str] | None = None
        while page := await self.reader.decisions(tenant, DecisionQuery(status=Status.PENDING, agent=agent_id, before=before)):
            if any(decision.source is Source.PROPOSED for decision in page):
                return True
            before = (page[-1].at, page[-1].id)
        return False


def may_lose(policy: Policy, current: AgentPosture) -> bool:
    """Whether the agent has a posture by its record that missing reviews may cost it."""
    owes = policy.postures.min_review_coverage > 0 and not current.holds
    return owes and bool(current.earned_from) and current.earned_from[-1] < current.posture


def reason_of(record: Record) -> str:
    """Why a record raises an agent."""
    return f"{record.succeeded} of {record.reviewed} reviewed decisions succeeded: a trust score of {record.score:.2f}"


def transition_asked(
    policy: Policy, current: AgentPosture, to: Posture, record: Record, *, requester: str = EARNED_BY, reason: str | None = None
) -> TransitionRequest:
    """What guards are asked before an agent is raised for its record."""
    return TransitionRequest(
        agent_id=current.agent_id,
        from_posture=current.posture,
        to_posture=to,
        type=transition_type(current.posture, to),
        requester=requester,
        reason=reason or reason_of(record),
        metadata={},
        acl_tier=policy.agents.acl_tier(current.agent_id),
        score=record.score,
        reviewed=record.reviewed,
    )


def _debt(record: Record) -> str:
    return f"only {record.covered} of {record.due} decisions that are due were reviewed"


@dataclass(frozen=True, slots=True)
class MoveEarned(OwnWork):
    """Give an agent a posture for its record, or take one away; nothing when it is not what was `seen` any more."""

    tenant: str
    seen: AgentPosture
    to: Posture
    reason: str
    earned: bool = False

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The agent's posture, which nobody else may move meanwhile."""
        agent = frozenset((self.seen.agent_id,))
        return Needs(postures=agent, moves=agent, final=True)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[bool]:
        """Move it."""
        current = posture_in(view, policy, self.seen.agent_id)
        if current != self.seen:
            return Decided(answer=False)
        after = self._moved(current, now)
        if after is current:
            return Decided(answer=False)
        attribution = Attribution(self.tenant, EARNED_BY, now, policy.version)
        attempt = Attempt(current.agent_id, current.posture, self.to, transition_type(current.posture, self.to), self.reason)
        return Decided(answer=True, postures=(after,), events=(attempt.succeeded(attribution),))

    def _moved(self, current: AgentPosture, now: int) -> AgentPosture:
        if self.earned:
            return promoted(current, self.to, by=EARNED_BY, reason=self.reason, at=now)
        return demoted(current, by=EARNED_BY, reason=self.reason, at=now)


@dataclass(frozen=True, slots=True)
class NoteRefusal(OwnWork):
    """Record that a guard does not let an agent have what it has earned."""

    tenant: str
    seen: AgentPosture
    to: Posture
    reason: str
    refusal: GuardRefusal

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[None]:
        """The event."""
        before = self.seen.posture
        attempt = Attempt(self.seen.agent_id, before, self.to, transition_type(before, self.to), self.reason)
        event = attempt.refused(Attribution(self.tenant, EARNED_BY, now, policy.version), self.refusal.guard, self.refusal.reason)
        return Decided(None, events=(event,))


@dataclass(frozen=True, slots=True)
class Propose(OwnWork):
    """Ask people to raise an agent that has earned it: a decision that waits for an approval.

    Its id follows from what it proposes and from how much it rests on, so that the same is not proposed twice.
    """

    tenant: str
    current: AgentPosture
    earned: Earned
    record: Record
    reason: str

    @property
    def id(self) -> str:
        """The decision's id."""
        basis = (self.current.agent_id, self.earned.to.label, self.current.since, self.record.reviewed // self.earned.min_reviewed)
        return f"dec_earned_{hashlib.sha256(repr(basis).encode()).hexdigest()[:24]}"

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The decision, in case it was proposed already, and the agent's posture."""
        return Needs(frozenset((self.id,)), postures=frozenset((self.current.agent_id,)), final=True)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[bool]:
        """Propose it, once."""
        if view.decision(self.id) is not None or posture_in(view, policy, self.current.agent_id) != self.current:
            return Decided(answer=False)
        decision = self._decision(policy, now)
        data = {
            "kind": Lift.APPROVAL.label,
            "agent": self.current.agent_id,
            "until": _until(decision),
            "reason": self.reason,
            "description": decision.facts.description,
            "reasons": [self.reason],
        }
        event = Event(EventType.DECISION_PENDING, self.tenant, self.id, EARNED_BY, now, policy.version, data)
        return Decided(answer=True, new_decision=decision, events=(event,))

    def _decision(self, policy: Policy, now: int) -> Decision:
        before, after = self.current.posture.label, self.earned.to.label
        finding = Finding("earned_autonomy", GuardType.POSTURE, Intervention.ESCALATE, self.reason)
        answer = Answer(
            decision_id=self.id,
            verdict=Verdict(Intervention.ESCALATE, (finding,)),
            posture=before,
            evaluated=1,
            evaluated_at=now,
            policy_version=policy.version,
            pending=policy.waits.pending(Lift.APPROVAL, now),
        )
        facts = Facts(
            description=f"raise agent `{self.current.agent_id}` from `{before}` to `{after}`: {self.reason}",
            agent_id=self.current.agent_id,
            type=PROPOSAL_TYPE,
            parameters={"fromPosture": before, "toPosture": after},
        )
        return Decision(
            tenant=self.tenant,
            id=self.id,
            at=now,
            status=Status.PENDING,
            source=Source.PROPOSED,
            facts=facts,
            intervention=Intervention.ESCALATE,
            policy_version=policy.version,
            principal=EARNED_BY,
            answer=answer,
        )


def _until(decision: Decision) -> int | None:
    pending = decision.waits_for
    return pending.until if pending is not None else None

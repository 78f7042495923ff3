"""Agents under everything that moves them: a plain telling of the rules says the same at every step.

Operators move agents and circuits; decisions halt, wait, are approved and reviewed, alone and many in one transaction; outcomes are
amended; the policy is reloaded, a circuit archived and taken back, the process restarted; time goes by.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Answer, Outcome, ReviewAnswer, Severity
from cstp_server.domain.postures import POSTURES, Posture
from cstp_server.policy.compiled import Policy
from cstp_server.services.policies import Align
from cstp_server.services.requests import ResolveAnswer
from tests.domain.naive import Input, NaiveCircuit
from tests.services.governing import block, history, move
from tests.services.test_state_machine import new_database
from tests.services.world import World, checking, circuits_policy, moving, resolving, reviewing, tripping

AGENTS = "abc"
FIRST = {"a": Posture.FULL_AUTONOMY, "b": Posture.SUPERVISED, "c": Posture.SUPERVISED}
COMMON = ["category:tooling", "global"]
SCOPES = [*COMMON, *(f"agent:{agent}" for agent in AGENTS)]
TEMPLATES = [*COMMON, "agent:*"]
LABELS = [posture.label for posture in Posture]
OUTCOMES = ["failure", "failure", "failure", "success", "partial"]
SEVERE = {"name": "severe", "severity": "severe", "when": "action.context.evil == true"}
WINDOW_MS, COOLDOWN_MS, PROBE_MS = 400, 100, 150


@st.composite
def circuits(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """What the policy says of each circuit."""
    return {
        scope: {
            "scope": scope,
            "failure_threshold": draw(st.sampled_from([1, 2, 3])),
            "window_ms": WINDOW_MS,
            "cooldown_ms": COOLDOWN_MS,
            "probe_timeout_ms": PROBE_MS,
            "half_open_probes": draw(st.integers(1, 2)),
            "on_open": {"downgrade_to": draw(st.sampled_from(["human_decides"] * 4 + ["assisted"] * 2 + ["blocked", "none"]))},
            "on_close": draw(st.sampled_from(["restore", "restore", "keep"])),
            "mode": draw(st.sampled_from(["enforce"] * 8 + ["shadow", "off"])),
        }
        for scope in TEMPLATES
    }


@dataclass
class Blaming(NaiveCircuit):
    """The naive circuit, which remembers whose failures have opened it, and how often it has moved."""

    scope: str = ""
    moves: int = 0
    blamed: set[str] = field(default_factory=set)

    def _open(self, given: Input) -> None:
        super()._open(given)
        self._moved(self.blamed | set(self.failed_by))

    def _trip(self, given: Input) -> None:
        super()._trip(given)
        self._moved(self.blamed | set(self.failed_by))

    def _half_open(self, at: int) -> None:
        super()._half_open(at)
        self._moved(self.blamed)

    def _close(self) -> None:
        super()._close()
        self._moved(set())

    def _moved(self, blamed: set[str]) -> None:
        self.moves += 1
        self.blamed = blamed

    @property
    def holds(self) -> set[str]:
        """Whom it holds down."""
        own = {self.scope.removeprefix("agent:")} if self.scope.startswith("agent:") else set()
        return self.blamed | own if self.state is not State.CLOSED else set()


@dataclass(slots=True)
class Agent:
    """What somebody gave the agent, and what each circuit that holds it allows at most."""

    base: Posture
    holds: dict[str, Posture] = field(default_factory=dict)
    restores: dict[str, bool] = field(default_factory=dict)
    given_at: int = 0

    @property
    def posture(self) -> Posture:
        return min([self.base, *self.holds.values()])

    def give(self, to: Posture, at: int) -> None:
        if to is not self.posture or to is Posture.BLOCKED:
            self.base, self.holds, self.given_at = to, {}, at

    def halt(self, at: int) -> None:
        self.give(Posture.BLOCKED, at)

    def hold(self, scope: str, settings: CircuitSettings) -> None:
        if self.base is not Posture.BLOCKED:
            to = POSTURES[str(settings.downgrade_to)]
            self.holds[scope] = min(to, self.holds.get(scope, to))
            self.restores[scope] = settings.restore_posture

    def let_go(self, scope: str, settings: CircuitSettings | None) -> None:
        held = self.holds.pop(scope, None)
        if held is not None and not (settings.restore_posture if settings is not None else self.restores[scope]):
            self.base = min(self.base, held)


def lowers(settings: CircuitSettings) -> bool:
    return settings.downgrade_to is not None and settings.mode.value == "enforce"


class PosturesThroughTheService(RuleBasedStateMachine):
    """The service, and beside it the rules told plainly."""

    checked = Bundle("checked")
    reviewed = Bundle("reviewed")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cstp-postures-"))
        self.inputs: dict[str, list[Input]] = {scope: [] for scope in SCOPES}
        self.agents = {agent: Agent(first) for agent, first in FIRST.items()}
        self.asked_by: dict[str, str] = {}
        self.said: dict[str, str] = {}
        self.number = 0

    @initialize(circuits=circuits())
    def begin(self, circuits: dict[str, dict[str, Any]]) -> None:
        self.circuits = circuits
        self.world = World(new_database(self.folder), self.policy())

    def policy(self, without: str = "") -> Policy:
        found = [circuit for scope, circuit in self.circuits.items() if scope != without]
        agents = {agent: {"posture": posture.label} for agent, posture in FIRST.items()}
        return circuits_policy(*found, agents=agents, tripwires=[SEVERE])

    @property
    def now(self) -> int:
        return self.world.hand.now()

    def settings(self, scope: str) -> CircuitSettings:
        return self.world.settings(scope)

    def circuit(self, scope: str) -> Blaming:
        """The circuit now, from the first input on."""
        circuit = Blaming(scope=scope)
        for given in self.inputs[scope]:
            circuit.apply(given)
        circuit.pass_time(self.settings(scope), self.now)
        return circuit

    def note(self, scope: str, kind: str, decision: str = "", outcome: str = "success") -> None:
        """Something is done to a circuit, and what follows from that for agents."""
        before = self.circuit(scope)
        agent = self.asked_by.get(decision, "")
        self.inputs[scope].append(Input(self.now, kind, self.settings(scope), decision, agent, Outcome(outcome), Severity.MEDIUM))
        self.follow(before, self.circuit(scope))

    def follow(self, before: Blaming, after: Blaming) -> None:
        settings = self.settings(after.scope)
        for agent in before.holds - after.holds:
            self.agents[agent].let_go(after.scope, settings)
        if not lowers(settings):
            return
        opens = after.state is State.OPEN and after.moves != before.moves and (before.state is not State.OPEN or after.forced)
        for agent in after.holds if opens else after.holds - before.holds:
            self.agents[agent].hold(after.scope, settings)

    def align(self, scope: str) -> None:
        """What another policy does to those whom an open circuit may hold."""
        settings, opened_at = self.world.policy.circuits.covering_text(scope), self.world.stored(scope).opened_at
        for name in self.circuit(scope).holds if self.inputs[scope] else ():
            agent = self.agents[name]
            if settings is None or not lowers(settings):
                agent.let_go(scope, settings)
            elif not agent.given_at or agent.given_at < (opened_at or 0):
                agent.hold(scope, settings)

    def note_claims(self) -> None:
        """Which decisions were given probes, the circuits' own test has proved."""
        for scope, inputs in self.inputs.items():
            known = {given.decision for given in inputs if given.kind == "claim"}
            for line in self.world.log(scope):
                if line.kind.value == "claim" and line.decision_id not in known:
                    self.note(scope, "claim", str(line.decision_id))

    def note_review(self, answer: Any, outcome: str) -> None:
        assert isinstance(answer, ReviewAnswer), answer
        self.said[answer.id] = outcome
        for found in answer.circuits:
            self.note(found.scope, "outcome", answer.id, outcome)

    def call(self, agent: str, *, evil: bool = False) -> Any:
        self.number += 1
        id = f"d{self.number}"
        self.asked_by[id] = agent
        return checking(id, agent=agent, context={"evil": evil})

    def note_check(self, answer: Any, *, evil: bool = False) -> None:
        """The check has met the posture of that moment; one that halts blocks its agent."""
        assert isinstance(answer, Answer), answer
        agent = self.agents[self.asked_by[answer.decision_id]]
        assert answer.posture == agent.posture.label
        told = {finding.intervention.label for finding in answer.verdict.violations if finding.guardrail == "posture"}
        expected = {Posture.BLOCKED: {"block"}, Posture.HUMAN_DECIDES: {"escalate"}, Posture.ASSISTED: {"delay"}}
        assert told == expected.get(agent.posture, set())
        if evil:
            assert answer.verdict.intervention.label == "halt"
            agent.halt(self.now)

    @rule(target=checked, agent=st.sampled_from(AGENTS), evil=st.sampled_from([False] * 15 + [True]))
    def check(self, agent: str, evil: bool) -> str:
        return self.check_one(agent, evil=evil)

    def check_one(self, agent: str, *, evil: bool = False) -> str:
        call = self.call(agent, evil=evil)
        self.note_check(self.world.run(call), evil=evil)
        self.note_claims()
        return str(call.decision_id)

    @rule(id=checked)
    def approve(self, id: str) -> None:
        """An agent that is blocked by now does not get its decision through."""
        answer = self.world.run(resolving(id))
        if isinstance(answer, ResolveAnswer) and answer.status.value == "approved":
            assert self.agents[self.asked_by[id]].posture is not Posture.BLOCKED
        self.note_claims()

    @rule(target=reviewed, agent=st.sampled_from(AGENTS), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=2, max_size=4))
    def work(self, agent: str, outcomes: list[str]) -> Any:
        """Several decisions, one after another, each with its outcome."""
        ids = [self.check_one(agent) for _ in outcomes]
        for id, outcome in zip(ids, outcomes, strict=True):
            self.note_review(self.world.run(reviewing(id, outcome)), outcome)
        return multiple(*ids)

    @rule(target=reviewed, agents=st.lists(st.sampled_from(AGENTS), min_size=1, max_size=2), outcome=st.sampled_from(OUTCOMES))
    def probe(self, agents: list[str], outcome: str) -> Any:
        """Once circuits have cooled down: decisions that are approved where they have to be, with the same outcome."""
        self.world.hand.advance(COOLDOWN_MS)
        ids = [self.check_one(agent) for agent in agents]
        for id in ids:
            self.world.run(resolving(id))
            self.note_claims()
            self.note_review(self.world.run(reviewing(id, outcome)), outcome)
        return multiple(*ids)

    @rule(target=reviewed, id=checked, outcome=st.sampled_from(OUTCOMES))
    def review(self, id: str, outcome: str) -> Any:
        if id in self.said:
            return multiple()
        self.note_review(self.world.run(reviewing(id, outcome)), outcome)
        return id

    @rule(ids=st.lists(reviewed, min_size=1, max_size=4, unique=True), outcome=st.sampled_from(OUTCOMES))
    def amend(self, ids: list[str], outcome: str) -> None:
        for id in ids:
            self.amend_one(id, outcome)

    @rule(
        target=reviewed,
        told=st.lists(st.tuples(st.sampled_from(AGENTS), st.sampled_from(["failure", "partial"])), min_size=2, max_size=4),
        which=st.integers(0, 3),
        ms=st.sampled_from([0, COOLDOWN_MS]),
    )
    def second_thoughts(self, told: list[tuple[str, str]], which: int, ms: int) -> Any:
        """Outcomes of several agents, one of which is soon put right."""
        ids = [self.check_one(agent) for agent, _ in told]
        for id, (_, outcome) in zip(ids, told, strict=True):
            self.note_review(self.world.run(reviewing(id, outcome)), outcome)
        self.world.hand.advance(ms)
        index = which % len(ids)
        self.amend_one(ids[index], "partial" if told[index][1] == "failure" else "failure")
        return multiple(*ids)

    def amend_one(self, id: str, outcome: str) -> None:
        """Those to blame may be others now, in a circuit that is open or half-open or closed by now."""
        decision = self.world.decision(id)
        assert decision is not None
        assert decision.reviewed is not None
        scopes = [scope for scope, _ in decision.reviewed.entries]
        before = {scope: self.circuit(scope) for scope in scopes}
        assert isinstance(self.world.run(reviewing(id, outcome, amend=True)), ReviewAnswer)
        if outcome == self.said[id]:
            return
        self.said[id] = outcome
        for scope in scopes:
            for given in self.inputs[scope]:
                if given.kind == "outcome" and given.decision == id:
                    given.outcome = Outcome(outcome)
            self.follow(before[scope], self.circuit(scope))

    @rule(agents=st.lists(st.sampled_from(AGENTS), min_size=1, max_size=5), halts=st.sampled_from([False] * 3 + [True]), data=st.data())
    def burst(self, agents: list[str], halts: bool, data: st.DataObject) -> None:
        """Decisions, failures, a halt and a reset in one transaction, each of which sees what the ones before it left."""
        calls: list[Any] = []
        for agent in agents:
            check = self.call(agent)
            calls += [check, reviewing(check.decision_id, data.draw(st.sampled_from(OUTCOMES)))]
        if halts:
            calls.insert(data.draw(st.integers(0, len(calls))), self.call(data.draw(st.sampled_from(AGENTS)), evil=True))
        scope = data.draw(st.sampled_from(SCOPES))
        calls.insert(data.draw(st.integers(0, len(calls))), data.draw(st.sampled_from([moving(scope), tripping(scope)])))
        for call, answer in zip(calls, self.world.batch(*calls), strict=True):
            if isinstance(answer, Answer):
                self.note_check(answer, evil=bool(call.declared.context["evil"]))
                for probe in answer.probes:
                    self.note(probe.scope, "claim", answer.decision_id)
            elif isinstance(answer, ReviewAnswer):
                self.note_review(answer, call.request.review.outcome.value)
            else:
                self.note(answer.move.scope, "trip" if call.forces else "reset")

    @rule(agent=st.sampled_from(AGENTS), to=st.sampled_from([*LABELS, "assisted", "full_autonomy", "full_autonomy"]))
    def transition(self, agent: str, to: str) -> None:
        answer = move(self.world, agent, to)
        assert (answer.before, answer.after) == (self.agents[agent].posture, POSTURES[to])
        self.agents[agent].give(POSTURES[to], self.now)

    @precondition(lambda self: self.number > 20)
    @rule(agent=st.sampled_from(AGENTS))
    def emergency(self, agent: str) -> None:
        block(self.world, agent)
        self.agents[agent].halt(self.now)

    @rule(scope=st.sampled_from(SCOPES))
    def trip(self, scope: str) -> None:
        self.world.trip(scope)
        self.note(scope, "trip")

    @rule(scope=st.sampled_from(SCOPES), probe_first=st.booleans())
    def reset(self, scope: str, probe_first: bool) -> None:
        self.world.reset(scope, probe_first=probe_first)
        self.note(scope, "probe_first" if probe_first else "reset")

    @rule(ms=st.sampled_from([1, 50, COOLDOWN_MS, COOLDOWN_MS, PROBE_MS, WINDOW_MS]))
    def wait(self, ms: int) -> None:
        self.world.hand.advance(ms)

    @rule()
    def sweep(self) -> None:
        self.world.sweep()
        self.note_claims()

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.world.hand.advance(1)

    @rule(circuits=circuits())
    def reload(self, circuits: dict[str, dict[str, Any]]) -> None:
        """Circuits that are open lower whom they say by now, unless somebody has moved them, or let go of them."""
        self.circuits = circuits
        self.world.policy = self.policy()
        assert self.world.run(Align("default", SCOPES)) == 0
        for scope in SCOPES:
            self.align(scope)

    @rule(scope=st.sampled_from(COMMON))
    def archive_and_take_back(self, scope: str) -> None:
        """Whomever it holds it lets go, as it had said it would; taken back, it lowers them again."""
        if not self.inputs[scope]:
            return
        holds = self.circuit(scope).holds
        self.world.policy = self.policy(without=scope)
        assert self.world.run(Align("default", [scope])) == 1
        for agent in holds:
            self.agents[agent].let_go(scope, None)
        self.world.policy = self.policy()
        assert self.world.run(Align("default", [scope])) == 1
        self.align(scope)

    @invariant()
    def every_agent_is_where_the_rules_put_it(self) -> None:
        if not hasattr(self, "world"):
            return
        for name, agent in self.agents.items():
            stored = self.world.posture(name)
            if stored is None:
                assert (agent.base, agent.holds) == (FIRST[name], {})
                continue
            assert (stored.posture, stored.base) == (agent.posture, agent.base)
            assert {hold.scope: hold.to for hold in stored.holds} == agent.holds
            assert (stored.original is None) == (not stored.holds)

    @invariant()
    def the_history_leads_from_the_first_posture_to_this_one(self) -> None:
        if not hasattr(self, "world"):
            return
        for name, agent in self.agents.items():
            at = FIRST[name].label
            for entry in reversed(history(self.world, name, 10_000)):
                assert (entry.before, entry.success, bool(entry.reason), bool(entry.by)) == (at, True, True, True)
                at = entry.after
            assert at == agent.posture.label

    @invariant()
    def only_circuits_that_are_not_closed_hold_anybody(self) -> None:
        if hasattr(self, "world"):
            for agent in self.agents.values():
                assert all(self.world.seen(scope).state is not State.CLOSED for scope in agent.holds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
        shutil.rmtree(self.folder, ignore_errors=True)


PosturesThroughTheService.TestCase.settings = hypothesis_settings(
    max_examples=24, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestPosturesThroughTheService(PosturesThroughTheService.TestCase):  # type: ignore[misc,valid-type]  # made by the library
    """Run by unittest's rules, as the library has it."""

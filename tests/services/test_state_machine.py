"""The circuit through the service, under everything that befalls it: the naive count says the same at every step.

Probes are lost, reviews come twice, late, or are amended; operators reset and trip; the policy is reloaded, the process restarted on its
file; time goes by with and without somebody looking.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Answer, Outcome, ReviewAnswer, Severity
from cstp_server.domain.refusals import Conflict
from cstp_server.storage.engine import database_url
from cstp_server.storage.migrating import upgrade
from tests.domain.comparing import assert_same, comparable, folded
from tests.domain.naive import Input, NaiveCircuit, replay
from tests.services.world import World, checking, circuits_policy, moving, reviewing, tripping

TOOLING = "category:tooling"
MEDIUM_SHARE = ["failure", "failure", "failure", "success", "success", "partial", "abandoned"]


@st.composite
def circuits(draw: st.DrawFn) -> dict[str, Any]:
    """A circuit of the policy, with small numbers so that everything happens soon."""
    return {
        "scope": TOOLING,
        "failure_threshold": draw(st.sampled_from([1, 2, 2.5, 3, 1000])),
        "window_ms": draw(st.sampled_from([100, 1_000, 5_000])),
        "cooldown_ms": draw(st.sampled_from([50, 300])),
        "cooldown_multiplier": draw(st.sampled_from([1, 2])),
        "half_open_probes": draw(st.integers(1, 3)),
        "half_open_successes": draw(st.integers(1, 3)),
        "half_open_tolerance": draw(st.sampled_from([0, 1])),
        "probe_timeout_ms": draw(st.sampled_from([40, 400])),
        "on_success": draw(st.sampled_from(["decrement", "reset", "none"])),
        "min_distinct_agents": draw(st.sampled_from([1, 1, 2])),
        "failure_rate_threshold": draw(st.sampled_from([None, 0.5])),
        "minimum_decisions": draw(st.integers(1, 6)),
    }


_TEMPLATE: dict[str, Path] = {}


def new_database(folder: Path) -> str:
    """A SQLite file with the schema at head, copied from one that was migrated once."""
    if "file" not in _TEMPLATE:
        _TEMPLATE["file"] = Path(tempfile.mkdtemp(prefix="cstp-template-")) / "template.db"
        upgrade(database_url(f"sqlite:///{_TEMPLATE['file']}"))
    shutil.copy(_TEMPLATE["file"], folder / "machine.db")
    return f"sqlite:///{folder / 'machine.db'}"


class CircuitThroughTheService(RuleBasedStateMachine):
    """One circuit, the service, and the plain list of what was acknowledged."""

    open_decisions = Bundle("open_decisions")
    reviewed = Bundle("reviewed")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cstp-machine-"))
        self.inputs: list[Input] = []
        self.agents: dict[str, str] = {}
        self.said: dict[str, tuple[str, str]] = {}
        self.count = 0
        self.most_probes = 0

    @initialize(circuit=circuits())
    def begin(self, circuit: dict[str, Any]) -> None:
        self.circuit = circuit
        self.world = World(new_database(self.folder), circuits_policy(circuit))

    @property
    def settings(self) -> CircuitSettings:
        return self.world.settings(TOOLING)

    @property
    def now(self) -> int:
        return self.world.hand.now()

    def naive(self) -> NaiveCircuit:
        return replay(self.inputs, self.settings, self.now)

    def note(self, kind: str, decision: str = "", outcome: str = "success", severity: str = "medium") -> None:
        agent = self.agents.get(decision, "")
        self.inputs.append(Input(self.now, kind, self.settings, decision, agent, Outcome(outcome), Severity(severity)))

    @rule(target=open_decisions, agent=st.sampled_from("ab"))
    def check(self, agent: str) -> Any:
        """The naive count agrees on allowed and blocked, and on who gets a probe; a blocked check claims nothing."""
        self.count += 1
        id, before = f"d{self.count}", self.naive()
        answer = self.world.run(checking(id, agent=agent))
        assert isinstance(answer, Answer)
        self.agents[id] = agent
        assert answer.verdict.allowed is before.admits(self.settings)
        assert bool(answer.probes) is (answer.verdict.allowed and before.state is State.HALF_OPEN)
        if answer.probes:
            self.note("claim", id)
        return id

    @rule(agent=st.sampled_from("ab"))
    def dry_run(self, agent: str) -> None:
        """It says the same and leaves nothing."""
        log = self.world.log(TOOLING)
        answer = self.world.run(checking(agent=agent, dry_run=True))
        assert answer.verdict.allowed is self.naive().admits(self.settings)
        assert self.world.log(TOOLING) == log

    @rule(id=open_decisions, content=st.sampled_from(["", "other"]))
    def check_again(self, id: str, content: str) -> None:
        """The recorded answer, or a conflict; no probe more."""
        log = self.world.log(TOOLING)
        answer = self.world.run(checking(id, agent=self.agents[id], content=content))
        assert isinstance(answer, Conflict if content else Answer)
        assert self.world.log(TOOLING) == log

    @rule(target=reviewed, id=open_decisions, outcome=st.sampled_from(MEDIUM_SHARE), severity=st.sampled_from(["medium", "medium", "high"]))
    def review(self, id: str, outcome: str, severity: str) -> Any:
        """A first review counts; the same again is a duplicate; another one a conflict. Late ones come by waiting."""
        answer = self.world.run(reviewing(id, outcome, severity))
        if id in self.said:
            if (outcome, severity) == self.said[id]:
                assert answer.duplicate
            else:
                assert isinstance(answer, Conflict)
            return multiple()
        assert isinstance(answer, ReviewAnswer)
        assert not answer.duplicate
        self.said[id] = (outcome, severity)
        self.note("outcome", id, outcome, severity)
        return id

    @rule(id=reviewed, outcome=st.sampled_from(MEDIUM_SHARE), severity=st.sampled_from(["medium", "high"]))
    def amend(self, id: str, outcome: str, severity: str) -> None:
        """Another outcome in the first one's place and time."""
        answer = self.world.run(reviewing(id, outcome, severity, amend=True))
        assert isinstance(answer, ReviewAnswer)
        assert answer.duplicate is ((outcome, severity) == self.said[id])
        self.said[id] = (outcome, severity)
        for given in self.inputs:
            if given.kind == "outcome" and given.decision == id:
                given.outcome, given.severity = Outcome(outcome), Severity(severity)

    @rule(ms=st.sampled_from([1, 39, 40, 50, 99, 100, 150, 300, 400, 1_000, 6_000]))
    def wait(self, ms: int) -> None:
        self.world.hand.advance(ms)

    @precondition(lambda self: len(self.inputs) > 3)
    @rule()
    def reset(self) -> None:
        assert self.world.run(moving(TOOLING)).move.state == "closed"
        self.note("reset")

    @precondition(lambda self: len(self.inputs) > 3)
    @rule()
    def probe_first(self) -> None:
        self.world.run(moving(TOOLING, probe_first=True))
        self.note("probe_first")

    @precondition(lambda self: len(self.inputs) > 6)
    @rule()
    def trip(self) -> None:
        self.world.run(tripping(TOOLING))
        self.note("trip")

    @rule()
    def sweep(self) -> None:
        """Whatever was due is not due any more."""
        self.world.sweep()
        assert self.world.do(self.world.store.due_circuits()) == []

    @rule(circuit=circuits())
    def reload(self, circuit: dict[str, Any]) -> None:
        """Another policy for what comes; the window stays, since what a look has dropped does not come back."""
        before = self.world.seen(TOOLING)
        self.circuit = {**circuit, "window_ms": self.circuit["window_ms"]}
        self.world.policy = circuits_policy(self.circuit)
        assert comparable(self.world.seen(TOOLING)) == comparable(before)

    @rule()
    def restart(self) -> None:
        """The same service, begun anew on the same file."""
        self.world.restart()

    @rule(outcomes=st.lists(st.sampled_from(MEDIUM_SHARE), min_size=2, max_size=6))
    def burst(self, outcomes: list[str]) -> None:
        """Checks and reviews of them, all in one transaction."""
        calls: list[Any] = []
        for outcome in outcomes:
            self.count += 1
            id = f"d{self.count}"
            self.agents[id], self.said[id] = "a", (outcome, "medium")
            calls += [checking(id, agent="a"), reviewing(id, outcome)]
        answers = self.world.batch(*calls)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Answer):
                before = self.naive()
                assert answer.verdict.allowed is before.admits(self.settings)
                if answer.probes:
                    self.note("claim", call.decision_id)
            else:
                self.note("outcome", answer.id, answer.outcome.value)

    @invariant()
    def the_service_says_what_the_naive_count_says(self) -> None:
        if hasattr(self, "world"):
            assert_same(self.world.seen(TOOLING), self.naive())

    @invariant()
    def the_stored_circuit_is_the_fold_of_its_log(self) -> None:
        if hasattr(self, "world"):
            log = self.world.log(TOOLING)
            again = folded(log, self.world.settings_on_record(), self.settings, self.now)
            assert comparable(self.world.seen(TOOLING)) == comparable(replace(again, scope=TOOLING))
            assert [(line.kind.value, line.decision_id or "") for line in log] == [(given.kind, given.decision) for given in self.inputs]

    @invariant()
    def no_more_probes_are_out_than_a_policy_ever_allowed(self) -> None:
        if hasattr(self, "world"):
            self.most_probes = max(self.most_probes, self.circuit["half_open_probes"])
            assert len(self.world.seen(TOOLING).leases) <= self.most_probes

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
        shutil.rmtree(self.folder, ignore_errors=True)


CircuitThroughTheService.TestCase.settings = hypothesis_settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestCircuitThroughTheService(CircuitThroughTheService.TestCase):  # type: ignore[misc,valid-type]  # made by the library
    """Run by unittest's rules, as the library has it."""

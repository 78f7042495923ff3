"""The verdict, and what circuits say about a decision that they do not let through (SPEC 1 and 3)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.circuit_findings import circuit_finding, circuit_id, duration_text
from cstp_server.domain.circuit_settings import MICRO, Effect
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.findings import CLEAN, Finding, GuardType, Intervention, Mode, Remedy, judge
from tests.domain.machine import Machine, settings

ORDER = ["allow", "warn", "delay", "confirm", "escalate", "block", "halt"]
FINDINGS = st.builds(
    Finding,
    guardrail=st.just("rule"),
    type=st.sampled_from(GuardType),
    intervention=st.sampled_from(Intervention),
    message=st.just("why"),
    mode=st.sampled_from(Mode),
)


def test_interventions_rise_in_the_order_of_the_contract() -> None:
    """And only the first two allow."""
    assert [intervention.label for intervention in sorted(Intervention)] == ORDER
    assert [intervention.label for intervention in Intervention if intervention.allows] == ["allow", "warn"]


@given(st.lists(FINDINGS))
def test_the_most_severe_finding_decides_and_none_lowers_another(findings: list[Finding]) -> None:
    """Every enforced finding is told, shadowed ones stand apart, those that are off are not there."""
    verdict = judge(findings)
    enforced = [finding for finding in findings if finding.mode is Mode.ENFORCE]
    assert verdict.intervention == max((finding.intervention for finding in enforced), default=Intervention.ALLOW)
    assert list(verdict.violations) == [finding for finding in enforced if not finding.intervention.allows]
    assert list(verdict.warnings) == [finding for finding in enforced if finding.intervention.allows]
    assert list(verdict.shadow) == [finding for finding in findings if finding.mode is Mode.SHADOW]
    assert verdict.allowed is not bool(verdict.violations)


def test_nothing_found_is_an_allow() -> None:
    """With nothing to tell."""
    assert judge([]) == CLEAN
    assert CLEAN.allowed


def tooling_breaker(failures: int = 5, cooldown_ms: int = 1_800_000) -> Machine:
    policy = settings(
        id="category-tooling-breaker", failure_threshold=5 * MICRO, window_ms=3_600_000, cooldown_ms=cooldown_ms, probe_timeout_ms=60_000
    )
    return Machine(policy).fail(failures)


def finding_of(machine: Machine) -> Finding | None:
    machine.look()
    return circuit_finding(machine.circuit, machine.policy, machine.now)


def test_an_open_circuit_says_what_the_contract_says() -> None:
    """The message, to the letter, with the cooldown that is left."""
    machine = tooling_breaker().wait(8 * 60_000)
    finding = finding_of(machine)
    assert finding is not None
    assert finding.message == "Circuit breaker OPEN: 5/5 recent tooling decisions failed. Cooldown: 22m remaining."
    assert (finding.guardrail, finding.type, finding.intervention) == (
        "category-tooling-breaker",
        GuardType.CIRCUIT_BREAKER,
        Intervention.BLOCK,
    )
    detail = finding.circuit
    assert detail is not None
    assert (detail.scope, detail.state, detail.failure_rate) == ("category:tooling", "open", 1.0)
    assert detail.recent_failures == ("dec_5", "dec_4", "dec_3", "dec_2", "dec_1")
    assert detail.reset_at == machine.circuit.reset_at
    assert finding.changes == (Remedy("wait", until=machine.circuit.reset_at),)


def test_the_message_counts_failures_among_the_reviewed_decisions_of_the_window() -> None:
    """Two successes after the opening: five of seven failed."""
    finding = finding_of(tooling_breaker().succeed(2))
    assert finding is not None
    assert "5/7 recent tooling decisions failed" in finding.message


@pytest.mark.parametrize(
    ("scope", "decisions"),
    [("global", "recent decisions"), ("stakes:high", "recent high-stakes decisions"), ("agent:Bot", "recent Bot decisions")],
)
def test_the_message_names_the_scope(scope: str, decisions: str) -> None:
    """The way a person would."""
    machine = tooling_breaker()
    finding = circuit_finding(replace(machine.circuit, scope=scope), machine.policy, machine.now)
    assert finding is not None
    assert f"5/5 {decisions} failed" in finding.message


def test_a_forced_circuit_says_who_forced_it_and_why() -> None:
    """There is no cooldown to speak of, and nothing to wait for."""
    machine = Machine()
    machine.trip()
    finding = finding_of(machine)
    assert finding is not None
    assert finding.message == "Circuit breaker OPEN: forced open by ops: incident. It stays open until it is reset."
    assert finding.suggestion == "ask an operator to reset the circuit"
    assert finding.circuit is not None
    assert (finding.circuit.reset_at, finding.changes) == (None, ())


def test_a_half_open_circuit_without_a_free_probe_says_when_one_will_be() -> None:
    """At the latest when the lease runs out."""
    machine = tooling_breaker(cooldown_ms=500).wait(500)
    assert finding_of(machine) is None
    assert machine.claim("one")
    finding = finding_of(machine)
    assert finding is not None
    assert finding.message == (
        "Circuit breaker HALF_OPEN: the one probe is waiting for review of tooling decisions. Next slot in 1m at the latest."
    )
    assert finding.changes == (Remedy("wait", until=machine.now + 60_000),)


def test_a_closed_circuit_says_nothing() -> None:
    """Whatever it has counted."""
    assert finding_of(tooling_breaker(failures=4)) is None


def test_a_circuit_may_want_a_confirmation_instead_of_blocking() -> None:
    """`on_open: {effect: confirm}`."""
    machine = Machine(settings(effect=Effect.CONFIRM)).opened()
    finding = finding_of(machine)
    assert finding is not None
    assert finding.intervention is Intervention.CONFIRM
    assert not judge([finding]).allowed


def test_a_shadowed_circuit_objects_without_effect() -> None:
    """Its finding is under `shadow`."""
    finding = finding_of(Machine(settings(mode=Mode.SHADOW)).opened())
    assert finding is not None
    assert judge([finding]).allowed


def test_the_id_of_a_template_names_the_value() -> None:
    """`agent-*-breaker` of `agent:x` is `agent-x-breaker`; another id stays."""
    assert circuit_id("agent:x", settings(id="agent-*-breaker")) == "agent-x-breaker"
    assert circuit_id("agent:x", settings(id="mine")) == "mine"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (1, "1s"),
        (45_000, "45s"),
        (59_999, "60s"),
        (60_000, "1m"),
        (60_001, "2m"),
        (3_600_000, "60m"),
        (3_600_001, "1h 01m"),
        (3_900_000, "1h 05m"),
        (90_000_000, "25h 00m"),
    ],
)
def test_durations_are_rounded_up_so_that_nobody_comes_too_early(ms: int, text: str) -> None:
    """Seconds below a minute, minutes up to an hour, hours and minutes beyond."""
    assert duration_text(ms) == text


@given(st.integers(0, 10**9))
def test_a_finding_is_there_exactly_when_the_circuit_lets_nothing_through(wait: int) -> None:
    """At any moment after the opening: while open, and never while half-open with a free probe."""
    machine = tooling_breaker().wait(wait)
    assert (finding_of(machine) is not None) is (machine.state is State.OPEN)
    assert circuit_finding(Circuit("global"), machine.policy, machine.now) is None

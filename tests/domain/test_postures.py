"""Postures: their order, their moves, and what circuits hold down and let go again (SPEC 8)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstp_server.domain.posture_findings import posture_finding
from cstp_server.domain.postures import (
    POSTURES,
    AgentPosture,
    Hold,
    Posture,
    TransitionType,
    demoted,
    halted,
    lowered,
    moved,
    promoted,
    released,
    transition_type,
)

BLOCKED, HUMAN, SUPERVISED, ASSISTED, FULL = Posture
AT_FIRST = AgentPosture("bot", FULL)


def low(current: AgentPosture, scope: str, to: Posture, at: int = 5) -> AgentPosture:
    """Held down by a circuit that opens."""
    return lowered(current, scope, to, reason=f"circuit `{scope}` opened", at=at)


def let_go(current: AgentPosture, scope: str, *, restore: bool = True, at: int = 9) -> AgentPosture:
    """Let go by a circuit that closes."""
    return released(current, scope, restore=restore, reason=f"circuit `{scope}` closed", at=at)


def by_hand(current: AgentPosture, to: Posture, at: int = 7) -> AgentPosture:
    """Moved by somebody."""
    return moved(current, to, by="ops", reason="because", at=at)


def halt(current: AgentPosture, at: int = 8) -> AgentPosture:
    """Blocked in an emergency."""
    return halted(current, by="tripwire", reason="exfiltration", at=at)


def test_postures_compare_by_autonomy() -> None:
    """As in the seed's guide: full autonomy above supervised, blocked below human decides; five levels."""
    assert FULL > SUPERVISED
    assert BLOCKED < HUMAN
    assert [(posture.label, int(posture)) for posture in sorted(Posture)] == [
        ("blocked", 1),
        ("human_decides", 2),
        ("supervised", 3),
        ("assisted", 4),
        ("full_autonomy", 5),
    ]
    assert {label: POSTURES[label] for label in POSTURES} == {posture.label: posture for posture in Posture}


@pytest.mark.parametrize("before", Posture)
@pytest.mark.parametrize("after", Posture)
def test_a_transition_is_what_it_does_to_autonomy(before: Posture, after: Posture) -> None:
    """More is an upgrade, less a downgrade, the same neither."""
    expected = {1: TransitionType.UPGRADE, -1: TransitionType.DOWNGRADE, 0: TransitionType.MAINTAIN}
    assert transition_type(before, after) is expected[(after > before) - (after < before)]


@pytest.mark.parametrize(
    ("posture", "intervention"),
    [(BLOCKED, "block"), (HUMAN, "escalate"), (SUPERVISED, None), (ASSISTED, "delay"), (FULL, None)],
)
def test_what_each_posture_does_to_an_action(posture: Posture, intervention: str | None) -> None:
    """Blocked blocks, human decides asks, assisted waits, and the other two let it happen."""
    finding = posture_finding(posture)
    assert (finding.intervention.label if finding is not None else None) == intervention


def test_a_move_says_who_when_and_why() -> None:
    """And nothing of what was before."""
    assert by_hand(AT_FIRST, HUMAN) == AgentPosture("bot", HUMAN, 7, "ops", "because", moved_at=7)


def test_to_stay_is_no_move() -> None:
    """By hand; and a halt of who is blocked only stops what has begun since."""
    assert by_hand(AT_FIRST, FULL) is AT_FIRST
    blocked = by_hand(AT_FIRST, BLOCKED)
    again = halt(blocked)
    assert again == replace(blocked, blocked_at=8, moved_at=8)


def test_a_circuit_lowers_keeps_the_original_and_restores_it() -> None:
    """The posture breaker's life."""
    held = low(AT_FIRST, "agent:bot", HUMAN)
    assert held == AgentPosture("bot", HUMAN, 5, "agent:bot", "circuit `agent:bot` opened", FULL, (Hold("agent:bot", HUMAN),))
    assert let_go(held, "agent:bot") == AgentPosture("bot", FULL, 9, "agent:bot", "circuit `agent:bot` closed")


def test_a_circuit_that_keeps_leaves_the_agent_where_it_brought_it() -> None:
    """Without anything that would raise it later."""
    kept = let_go(low(AT_FIRST, "agent:bot", HUMAN), "agent:bot", restore=False)
    assert (kept.posture, kept.original, kept.holds, kept.since, kept.set_by) == (HUMAN, None, (), 5, "agent:bot")


@pytest.mark.parametrize("to", [SUPERVISED, ASSISTED])
def test_a_circuit_never_raises(to: Posture) -> None:
    """Who has no more autonomy than that stays where it is, though held, and is as it was when the circuit closes."""
    current = by_hand(AT_FIRST, SUPERVISED)
    held = low(current, "global", to)
    assert held == replace(current, original=SUPERVISED, holds=(Hold("global", to),))
    assert let_go(held, "global") == current


def test_who_is_blocked_is_not_held() -> None:
    """No circuit lets go of what somebody has blocked."""
    current = by_hand(AT_FIRST, BLOCKED)
    assert low(current, "global", HUMAN) is current


def test_whom_a_circuit_has_blocked_somebody_can_block_for_good() -> None:
    """It was no move for the agent, and is one for the circuit, which has nothing to give back any more."""
    blocked = by_hand(low(AT_FIRST, "global", BLOCKED), BLOCKED)
    assert blocked == AgentPosture("bot", BLOCKED, 7, "ops", "because", blocked_at=7, moved_at=7)
    assert let_go(blocked, "global") is blocked
    assert by_hand(blocked, BLOCKED, at=9) is blocked


def test_what_was_earned_is_lost_step_by_step() -> None:
    """Each time the last step; whoever moves the agent makes it theirs."""
    raised = promoted(promoted(by_hand(AT_FIRST, HUMAN), SUPERVISED, by="ops", reason="good", at=8), FULL, by="ops", reason="good", at=9)
    assert raised.earned_from == (HUMAN, SUPERVISED)
    fallen = demoted(raised, by="record", reason="debt", at=10)
    assert (fallen.posture, fallen.earned_from, fallen.since, fallen.set_by) == (SUPERVISED, (HUMAN,), 10, "record")
    assert demoted(fallen, by="record", reason="debt", at=11).posture is HUMAN
    assert demoted(by_hand(raised, ASSISTED), by="record", reason="debt", at=10).posture is ASSISTED
    held = low(raised, "global", HUMAN)
    assert demoted(held, by="record", reason="debt", at=10) is held


def test_what_a_circuit_keeps_was_not_earned() -> None:
    """Of the steps upwards only those are left that lead to where the agent is kept."""
    raised = promoted(promoted(by_hand(AT_FIRST, HUMAN), SUPERVISED, by="ops", reason="good", at=8), FULL, by="ops", reason="good", at=9)
    kept = let_go(low(raised, "global", SUPERVISED), "global", restore=False)
    assert (kept.posture, kept.earned_from) == (SUPERVISED, (HUMAN,))


@pytest.mark.parametrize("restores", [True, False])
def test_a_circuit_that_does_not_say_restores_as_it_said_when_it_opened(restores: bool) -> None:
    """What a circuit's policy had said stands when there is none any more."""
    held = lowered(AT_FIRST, "global", HUMAN, restores=restores, reason="circuit `global` opened", at=5)
    assert released(held, "global", reason="gone", at=9).posture is (FULL if restores else HUMAN)


def test_several_circuits_hold_until_the_last_has_closed() -> None:
    """The lowest decides, and each that closes lets go of its own only."""
    held = low(low(low(AT_FIRST, "a", ASSISTED), "b", BLOCKED), "c", HUMAN)
    assert (held.posture, held.original, held.set_by) == (BLOCKED, FULL, "b")
    after_b = let_go(held, "b")
    assert (after_b.posture, after_b.original) == (HUMAN, FULL)
    after_a = let_go(after_b, "a")
    assert (after_a.posture, after_a.original, after_a.since) == (HUMAN, FULL, after_b.since)
    after_all = let_go(after_a, "c")
    assert (after_all.posture, after_all.original, after_all.holds) == (FULL, None, ())


def test_a_circuit_that_opens_again_and_asks_for_less_raises_nobody() -> None:
    """Its policy may have changed meanwhile; what it held it goes on holding."""
    held = low(low(AT_FIRST, "a", BLOCKED), "a", ASSISTED, at=6)
    assert (held.posture, held.original, held.since) == (BLOCKED, FULL, 5)
    assert low(held, "a", FULL) is held
    assert let_go(held, "a").posture is FULL


def test_a_circuit_that_opens_again_and_asks_for_more_lowers_further() -> None:
    """It holds once, at the lower one."""
    held = low(low(AT_FIRST, "a", ASSISTED), "a", HUMAN)
    assert (held.posture, held.original, held.holds) == (HUMAN, FULL, (Hold("a", HUMAN),))


@pytest.mark.parametrize("to", [BLOCKED, HUMAN, ASSISTED])
def test_a_move_by_hand_forgets_what_circuits_held(to: Posture) -> None:
    """The circuit that closes afterwards moves nobody."""
    after = by_hand(low(AT_FIRST, "a", SUPERVISED), to)
    assert (after.posture, after.original, after.holds) == (to, None, ())
    assert let_go(after, "a") is after


def test_a_halt_forgets_what_circuits_held() -> None:
    """Also where a circuit had blocked the agent already: no circuit that closes gives back what a halt has taken."""
    after = halt(low(AT_FIRST, "a", BLOCKED))
    assert (after.posture, after.original, after.holds, after.set_by) == (BLOCKED, None, (), "tripwire")
    assert let_go(after, "a") is after


@dataclass
class Naive:
    """The rules, told simply: what somebody set, and what each open circuit allows at most."""

    base: Posture
    holds: dict[str, Posture] = field(default_factory=dict)

    @property
    def posture(self) -> Posture:
        """The least of all."""
        return min([self.base, *self.holds.values()])

    def set(self, to: Posture) -> None:
        """Somebody sets it; who blocks does so for good."""
        if to is not self.posture or to is BLOCKED:
            self.base, self.holds = to, {}

    def halt(self) -> None:
        """Somebody pulls the brake."""
        self.base, self.holds = BLOCKED, {}

    def open(self, scope: str, to: Posture) -> None:
        """A circuit opens."""
        if self.base is not BLOCKED:
            self.holds[scope] = min(to, self.holds.get(scope, to))

    def close(self, scope: str, *, restore: bool) -> None:
        """A circuit closes."""
        held = self.holds.pop(scope, None)
        if held is not None and not restore:
            self.base = min(self.base, held)


SCOPES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(Posture)),
        st.tuples(st.just("halt")),
        st.tuples(st.just("open"), SCOPES, st.sampled_from(list(Posture)[:-1])),
        st.tuples(st.just("close"), SCOPES, st.booleans()),
    ),
    max_size=30,
)


def step(current: AgentPosture, naive: Naive, move: tuple[object, ...], at: int) -> AgentPosture:
    """One move, of the posture and of the naive rules."""
    match move:
        case ("set", Posture() as to):
            naive.set(to)
            return by_hand(current, to, at)
        case ("open", str() as scope, Posture() as to):
            naive.open(scope, to)
            return low(current, scope, to, at)
        case ("close", str() as scope, bool() as restore):
            naive.close(scope, restore=restore)
            return let_go(current, scope, restore=restore, at=at)
        case _:
            naive.halt()
            return halt(current, at)


@settings(max_examples=300)
@given(st.sampled_from(Posture), STEPS)
def test_moves_in_any_order_give_what_the_rules_say(first: Posture, moves: list[tuple[object, ...]]) -> None:
    """No circuit ever raises above what it found, no posture is above its base, and each step does what the simple rules do."""
    current, naive = AgentPosture("bot", first), Naive(first)
    for at, move in enumerate(moves, 10):
        before, current = current, step(current, naive, move, at)
        assert (current.posture, current.base, _by_scope(current)) == (naive.posture, naive.base, naive.holds)
        assert current.posture <= current.base
        assert (current.original is None) == (current.holds == ())
        assert move[0] != "open" or current.posture <= before.posture
        assert move[0] != "close" or current.posture <= before.base
        assert current.posture is before.posture or current.since == at
    for scope in ("a", "b", "c"):
        current = let_go(current, scope)
    assert (current.posture, current.original, current.holds) == (naive.base, None, ())


def _by_scope(current: AgentPosture) -> Mapping[str, Posture]:
    assert len({hold.scope for hold in current.holds}) == len(current.holds)
    return {hold.scope: hold.to for hold in current.holds}

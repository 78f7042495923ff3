"""Trust as the use cases see it: checks that ask the user, whose trust moves whose, and how all users stand (SPEC 10)."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cstp_server.domain.circuit_state import State
from cstp_server.domain.findings import Finding
from cstp_server.domain.refusals import CircuitNotFound, InvalidInput
from cstp_server.domain.trust import TrustState
from cstp_server.policy.compiled import Policy
from cstp_server.services import trust
from cstp_server.services.requests import ConfirmationAnswer, ScopeAnswer, TrustView
from tests.domain.comparing import comparable
from tests.services.conftest import MakeWorld
from tests.services.world import OPS, World, damaging, policy_of, reviewing, succeeding

HOUR = 3_600_000
DAY = 24 * HOUR
TRUST = policy_of()
SHADOW = policy_of(trust={"mode": "shadow"})
USERS = ["anna", "bob", "team/anna"]
DOMAINS = ["general", "code", "anna"]


def autonomy(world: World, user: str = "anna", domain: str = "general") -> TrustView:
    view = world.do(trust.autonomy(world.store.reader, world.policy, OPS, user, domain))
    assert isinstance(view, TrustView)
    return view


def confirmation(world: World, action: str) -> ConfirmationAnswer:
    answer = world.do(trust.confirmation(world.store.reader, world.policy, OPS, "anna", "general", action))
    assert isinstance(answer, ConfirmationAnswer)
    return answer


def damage_to_reduce(world: World, user: str = "anna", domain: str = "general") -> None:
    for _ in range(3):
        world.damage(user, domain)


def found_by(world: World, action: str, **details: Any) -> tuple[Finding, ...]:
    return world.check(user_id="anna", type=action, **details).verdict.violations


def test_checks_ask_the_user_as_the_state_has_it(make_world: MakeWorld) -> None:
    """Nothing, then everything, then what is of high impact, then nothing again; a check gives no leases and waits for none."""
    world = make_world(TRUST)
    assert found_by(world, "file_write") == ()
    damage_to_reduce(world)
    assert [finding.type.value for finding in found_by(world, "read_docs")] == ["trust"]
    world.hand.advance(DAY)
    for number in range(3):
        answer = world.check(f"read {number}", user_id="anna", type="read_docs")
        assert (answer.verdict.allowed, answer.probes) == (True, ())
    assert [finding.type.value for finding in found_by(world, "Git_Push")] == ["trust"]
    for number in range(3):
        world.review(f"read {number}", "success")
    world.succeed()
    assert world.succeed().after.state is TrustState.FULL_AUTONOMY
    assert found_by(world, "file_write") == ()


def test_what_the_user_confirms_goes_through_and_its_outcome_counts(make_world: MakeWorld) -> None:
    """The check waits for a confirmation; confirmed, it is allowed, though trust is reduced as it was."""
    world = make_world(TRUST)
    damage_to_reduce(world)
    answer = world.check("ask", user_id="anna", type="read_docs")
    assert answer.pending is not None
    assert (answer.verdict.allowed, answer.pending.kind) == (False, "confirmation")
    world.resolve("ask", "confirm")
    assert world.status("ask") == "approved"
    world.review("ask", "failure")
    assert world.seen("user:anna/general").window.failures == 4
    assert world.seen("user:anna/general").state is State.OPEN


def test_another_guards_block_is_lifted_by_no_confirmation(make_world: MakeWorld) -> None:
    """Trust asks the user; what the policy forbids stays forbidden, and nothing waits."""
    rule = {"id": "never", "when": 'action.type == "drop_table"', "action": "block", "message": "never"}
    world = make_world(policy_of(guardrails=[rule]))
    damage_to_reduce(world)
    answer = world.check(user_id="anna", type="drop_table")
    assert {finding.type.value for finding in answer.verdict.violations} == {"trust", "guardrail"}
    assert answer.pending is None


def test_in_shadow_everything_is_measured_and_nothing_is_asked(make_world: MakeWorld) -> None:
    """The check says what it would have said, and whoever asks beforehand is told the same."""
    world = make_world(SHADOW)
    damage_to_reduce(world)
    verdict = world.check(user_id="anna", type="file_write").verdict
    assert (verdict.allowed, [finding.type.value for finding in verdict.shadow]) == (True, ["trust"])
    assert autonomy(world).autonomy.state is TrustState.REDUCED_AUTONOMY
    asked = confirmation(world, "file_write")
    assert (asked.required, asked.state) == (False, TrustState.REDUCED_AUTONOMY)
    assert "shadow" in asked.reason


def test_whoever_asks_beforehand_is_told_what_the_check_will_say(make_world: MakeWorld) -> None:
    """In every state, for actions of high impact and others."""
    world = make_world(TRUST)
    for step in (lambda: None, lambda: damage_to_reduce(world), lambda: world.hand.advance(DAY), lambda: world.reset("user:anna/general")):
        step()
        for action in ("file_write", "read_docs"):
            asked, found = confirmation(world, action), found_by(world, action)
            assert asked.required is bool(found)
            assert asked.reason == (found[0].message if found else asked.reason)


OTHERS = st.tuples(st.sampled_from(USERS), st.sampled_from(DOMAINS))
DONE = st.sampled_from(["damage", "damage", "success", "failure", "reset", "wait", "sweep"])


@given(st.lists(st.tuples(OTHERS, DONE), max_size=25))
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_domains_never_influence_each_other(make_world: MakeWorld, done: list[tuple[tuple[str, str], str]]) -> None:
    """Each user's trust in each domain is what it had been if nothing had happened but to it, at the times at which it did."""
    together = Happening(make_world(TRUST))
    for whom, what in done:
        together.take(whom, what)
    for own in {whom for whom, _ in done}:
        alone = Happening(make_world(TRUST))
        for whom, what in done:
            if whom == own or what == "wait":
                alone.take(whom, what)
        assert alone.told(own) == together.told(own)
        alone.world.store.stop()
    together.world.store.stop()


class Happening:
    """Damage, successes and time, to users of a run of their own, all beginning at the same moment."""

    def __init__(self, world: World) -> None:
        self.world, self.run, self.count = world, f"r{next(_RUNS)}", 0

    def take(self, whom: tuple[str, str], what: str) -> None:
        user, domain = f"{self.run}-{whom[0]}", whom[1]
        self.count += 1
        if what == "damage":
            self.world.damage(user, domain, kind="ignored_preference")
        elif what == "success":
            self.world.succeed(user, domain)
        elif what == "failure":
            id = f"{self.run}-{self.count}"
            self.world.check(id, user_id=user, user_domain=domain, category=None, agent=f"{self.run}")
            self.world.review(id, "failure", damage_type="slow_response")
        elif what == "reset":
            self.world.reset(f"user:{user}/{domain}")
        elif what == "wait":
            self.world.hand.advance(7 * HOUR)
        else:
            self.world.sweep()

    def told(self, whom: tuple[str, str]) -> object:
        """What is known of a user's trust, without the names that differ from run to run."""
        view = autonomy(self.world, f"{self.run}-{whom[0]}", whom[1])
        seen = comparable(self.world.seen(f"user:{self.run}-{whom[0]}/{whom[1]}"))
        return view.autonomy, seen.state, seen.seq, seen.window.weighted, seen.window.fading, seen.since


_RUNS = iter(range(10**9))


def test_how_all_users_stand(make_world: MakeWorld) -> None:
    """By state, with the damage that still counts, the share of tests that were passed, and how long a recovery takes."""
    world = make_world(TRUST)
    empty = world.do(trust.metrics(world.store.reader, world.policy, OPS))
    assert (set(empty.states.values()), empty.average_damage, empty.recovery_rate, empty.average_recovery_hours) == ({0}, 0.0, None, None)
    for user in ("anna", "bob", "carol"):
        damage_to_reduce(world, user)
    world.hand.advance(DAY)
    for _ in range(5):
        world.succeed("anna")
    world.damage("bob")
    world.damage("bob")
    world.damage("dora", severity=0.5)
    world.hand.advance(HOUR)
    metrics = world.do(trust.metrics(world.store.reader, world.policy, OPS))
    assert {state.value: count for state, count in metrics.states.items()} == {"full_autonomy": 2, "supervised": 1, "reduced_autonomy": 1}
    assert metrics.average_damage == (2 + 0.5) / 4
    assert (metrics.recovery_rate, metrics.average_recovery_hours) == (0.5, 24.0)


def test_other_circuits_and_other_tenants_are_no_part_of_it(make_world: MakeWorld) -> None:
    """An agent's breaker is no user's trust; neither are users whose trust is switched off."""
    world = make_world(policy_of(circuit_breakers=[{"scope": "agent:*"}]))
    world.fail("a", user_id="anna", agent="bot")
    metrics = world.do(trust.metrics(world.store.reader, world.policy, OPS))
    assert sum(metrics.states.values()) == 1
    off = policy_of(circuit_breakers=[{"scope": "agent:*"}], trust={"mode": "off"})
    assert sum(world.do(trust.metrics(world.store.reader, off, OPS)).states.values()) == 0


@pytest.mark.parametrize("scope", ["user:*", "user:anna/general"])
def test_a_policys_own_breaker_of_users_is_not_taken_for_trust(make_world: MakeWorld, scope: str) -> None:
    """It is no part of how users stand, and resetting their trust leaves it as it is and says why."""
    world = make_world(policy_of(circuit_breakers=[{"scope": scope, "failure_threshold": 1}]))
    world.fail("a", user_id="anna")
    assert world.seen("user:anna/general").state is State.OPEN
    assert sum(world.do(trust.metrics(world.store.reader, world.policy, OPS)).states.values()) == 0
    answer = world.do(trust.reset(world.store.transactor, world.policy, OPS, "anna", "general", None))
    assert isinstance(answer, CircuitNotFound)
    assert "circuit breaker of its own" in answer.message
    assert world.seen("user:anna/general").state is State.OPEN


@pytest.mark.parametrize(("user", "domain", "named"), [("anna", "b/general", "domain"), ("anna", "", "domain"), ("", "general", "userId")])
def test_a_name_that_might_be_anothers_is_refused_everywhere(make_world: MakeWorld, user: str, domain: str, named: str) -> None:
    """A slash in the domain would name the trust of another user: reading, recording and resetting all refuse it."""
    world = make_world(TRUST)
    damage_to_reduce(world, "anna/b", "general")
    reader, policy, transactor = world.store.reader, world.policy, world.store.transactor
    answers = [
        world.do(trust.autonomy(reader, policy, OPS, user, domain)),
        world.do(trust.confirmation(reader, policy, OPS, user, domain, "x")),
        world.do(trust.reset(transactor, policy, OPS, user, domain, None)),
        world.run(damaging(user, domain)),
        world.run(succeeding(user, domain)),
    ]
    assert all(isinstance(answer, InvalidInput) and answer.field == named for answer in answers)
    assert world.seen("user:anna/b/general").state is State.OPEN


def test_the_agents_own_word_moves_trust_as_far_as_the_policy_lets_it(make_world: MakeWorld) -> None:
    """Under `failures_only` an agent that reviews itself can damage trust and not repair it."""
    world = make_world(policy_of(reviews={"self_reported": "failures_only"}))
    mine = OPS.__class__("bot", OPS.roles, OPS.tenant, "bot")
    for id, outcome in (("a", "success"), ("b", "failure")):
        world.check(id, user_id="anna")
        world.run(reviewing(id, outcome, caller=mine))
    window = world.seen("user:anna/general").window
    assert (window.succeeded, window.failures) == (0, 1)


def test_a_reset_makes_trust_whole_and_a_test_first_lets_it_prove_itself(make_world: MakeWorld) -> None:
    """By an operator, on record as every circuit's."""
    world = make_world(TRUST)
    damage_to_reduce(world)
    answer = world.do(trust.reset(world.store.transactor, world.policy, OPS, "anna", "general", "the user asked for it"))
    assert isinstance(answer, ScopeAnswer)
    assert (answer.move.previous_state, answer.move.state) == ("open", "closed")
    assert autonomy(world).autonomy.damage_score == 0
    damage_to_reduce(world)
    world.reset("user:anna/general", probe_first=True)
    assert autonomy(world).autonomy.state is TrustState.SUPERVISED


def test_policies_in_force_are_asked_anew_for_each_call(make_world: MakeWorld) -> None:
    """A domain that gets terms of its own has them from the next damage on."""
    world = make_world(TRUST)
    world.damage(domain="code")
    strict: Policy = policy_of(trust={"domains": {"code": {"preset": "strict"}}})
    world.policy = strict
    assert world.damage(domain="code").after.state is TrustState.REDUCED_AUTONOMY
    assert autonomy(world, domain="code").autonomy.recovery.required == 10

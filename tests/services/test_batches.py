"""Several calls in one transaction, where each meets what the ones before it left."""

from cstp_server.domain.circuit_state import State
from tests.services.conftest import MakeWorld
from tests.services.world import checking, circuits_policy, moving, reviewing

TOOLING = "category:tooling"


def test_a_success_right_after_a_reset_takes_off_the_failure_between_them(make_world: MakeWorld) -> None:
    """However many failures the circuit held before the reset, more than one transaction reads of them."""
    world = make_world(circuits_policy({"scope": TOOLING, "failure_threshold": 100}))
    before = [f"before-{number}" for number in range(10)]
    world.fail(*before)
    for id in ("failure", "success"):
        world.check(id)
    answers = world.batch(moving(TOOLING), reviewing("failure", "failure"), reviewing("success", "success"))
    assert [move.failure_count for answer in answers[1:] for move in answer.circuits] == [1, 0]
    circuit = world.stored(TOOLING)
    assert (circuit.state, circuit.window.failures, circuit.window.reviewed) == (State.CLOSED, 0, 2)


def test_an_outcome_that_is_amended_while_no_policy_covers_its_circuit_is_put_right(make_world: MakeWorld) -> None:
    """When the policy comes back, the circuit is as if the amended outcome had been the first one."""
    policy = circuits_policy({"scope": TOOLING, "failure_threshold": 2, "cooldown_ms": 60_000})
    world = make_world(policy)
    world.fail("first", "second")
    assert world.stored(TOOLING).state is State.OPEN
    world.policy = circuits_policy()
    world.run(reviewing("second", "success", amend=True))
    world.policy = policy
    assert (world.stored(TOOLING).state, world.seen(TOOLING).window.failures) == (State.CLOSED, 0)


def test_a_dry_run_on_a_half_open_circuit_tells_of_no_probe(make_world: MakeWorld) -> None:
    """It would be allowed, but nothing is leased, so nothing is said to be."""
    world = make_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1, "cooldown_ms": 1_000}))
    world.fail("failure")
    world.hand.advance(1_000)
    (answer,) = world.batch(checking("dry", dry_run=True))
    assert (answer.verdict.allowed, answer.probes) == (True, ())
    assert world.check("probe").probes

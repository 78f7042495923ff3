"""Credentials that people paste into what they say besides the action (SPEC 7): nothing keeps them."""

from sqlalchemy import inspect, text

from cstp_server.domain.decisions import Outcome, Review
from cstp_server.services import resetting, reviewing
from cstp_server.services.requests import ReviewRequest, ScopeRequest
from tests.services.conftest import MakeWorld
from tests.services.governing import attempt, block
from tests.services.world import OPS, World, policy_of

TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"


def _everything(world: World) -> str:
    with world.connected() as connection:
        tables = inspect(connection).get_table_names()
        return "".join(str(row) for table in tables for row in connection.execute(text(f'SELECT * FROM "{table}"')))  # noqa: S608 - our own names


def test_no_note_reason_or_remark_keeps_a_credential(make_world: MakeWorld) -> None:
    """Of a resolution, a review, a transition, an emergency, a trip: the remark is kept, and what is secret in it is not."""
    world = make_world(
        policy_of(
            tripwires={"max_refund": 500}, circuit_breakers=[{"scope": "category:tooling"}], agents={"bot": {"posture": "supervised"}}
        )
    )
    store, said = world.store, f"with {TOKEN} please"
    world.check("a", type="issue_refund", type_words=("issue", "refund"), parameters={"amount": 900})
    world.resolve("a", note=said)
    review = Review(Outcome.FAILURE, details={"notes": said, "lessons": said})
    world.do(reviewing.review(store.transactor, OPS, ReviewRequest("a", review)))
    attempt(world, "bot", "human_decides", said, metadata={"ticket": said})
    block(world, "bot", said)
    world.do(resetting.trip(store.transactor, OPS, ScopeRequest("category:tooling", said)))
    kept = _everything(world)
    assert TOKEN not in kept
    assert kept.count("with [redacted: ") >= 6

"""Custom dimensions are reviewed by name and version, in each tenant for itself (SPEC 9)."""

from dataclasses import replace

import pytest

from cstp_server.domain.callers import LOOPBACK
from cstp_server.domain.dimension_reviews import DimensionStatus
from cstp_server.domain.refusals import Conflict, InvalidInput
from cstp_server.policy.compiled import Policy
from cstp_server.services.dimensions import ReviewDimension
from cstp_server.services.requests import DimensionInfo
from tests.services.conftest import MakeWorld
from tests.services.dimensional import Tokens, installed, listed, say
from tests.services.world import World

ELSEWHERE = replace(LOOPBACK, tenant="elsewhere")


@pytest.fixture
def world(each_world: MakeWorld) -> World:
    return each_world(Policy("sha256:reviews"))


def test_what_nobody_has_looked_at_is_pending(world: World) -> None:
    """Neither approved nor rejected, and nobody has done so."""
    info = listed(world, installed(Tokens()))["token_limit"]
    assert info == DimensionInfo("token_limit", "1.0.0", "tokens of a request", "pending")


@pytest.mark.parametrize(("approve", "status"), [(True, "approved"), (False, "rejected")])
def test_a_review_is_on_record_with_who_said_it_and_why(world: World, approve: bool, status: str) -> None:
    """The answer is what the list says from then on, over a restart too, and it is an event."""
    known = installed(Tokens())
    info = say(world, known, approve=approve, note="looked at by security")
    assert isinstance(info, DimensionInfo)
    assert (info.status, info.by, info.note, info.version) == (status, "anonymous", "looked at by security", "1.0.0")
    assert info.at is not None
    world.restart()
    assert listed(world, known)["token_limit"] == info
    (event,) = world.events("dimension.")
    assert (event.type.value, event.subject, event.actor, event.at) == (f"dimension.{status}", "token_limit", "anonymous", info.at)
    assert event.data == {"version": "1.0.0", "previous_status": "pending", "note": "looked at by security"}


def test_the_last_review_counts(world: World) -> None:
    """Approved and then rejected is rejected; each is an event."""
    known = installed(Tokens())
    say(world, known)
    say(world, known, approve=False, note="leaks")
    assert listed(world, known)["token_limit"].status == "rejected"
    assert [(event.type.value, event.data["previous_status"]) for event in world.events("dimension.")] == [
        ("dimension.approved", "pending"),
        ("dimension.rejected", "approved"),
    ]


def test_saying_the_same_again_changes_nothing(world: World) -> None:
    """The answer is that of the first time, and there is one event."""
    known = installed(Tokens())
    first = say(world, known, note="fine")
    world.hand.advance(1000)
    assert say(world, known, note="fine") == first
    assert len(world.events("dimension.")) == 1


def test_a_new_version_is_looked_at_anew(world: World) -> None:
    """What was said of another version does not count, and comes back with that version."""
    say(world, installed(Tokens()))
    newer = installed(Tokens(version="1.1.0"))
    assert listed(world, newer)["token_limit"].status == "pending"
    say(world, newer, approve=False)
    assert listed(world, newer)["token_limit"].status == "rejected"
    assert listed(world, installed(Tokens()))["token_limit"].status == "approved"


def test_who_has_looked_at_another_version_is_told(world: World) -> None:
    """A review of a version that is not the installed one is a conflict, and nothing is on record."""
    known = installed(Tokens(version="2.0.0"))
    answer = say(world, known, version="1.0.0")
    assert isinstance(answer, Conflict)
    assert answer.message == "dimension `token_limit` is installed in version `2.0.0`, not `1.0.0`: look again"
    assert listed(world, known)["token_limit"].status == "pending"
    assert world.events("dimension.") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("token_limits", "no dimension `token_limits` is installed: did you mean `token_limit`?"),
        ("zzz", "no dimension `zzz` is installed"),
        ("cost_limit", "dimension `cost_limit` is built in: it needs no review"),
    ],
)
def test_only_what_is_installed_can_be_reviewed(world: World, name: str, message: str) -> None:
    """The refusal says what would be right."""
    known = replace(installed(Tokens()), built_in={"cost_limit": Tokens(name="cost_limit")})
    answer = say(world, known, name)
    assert isinstance(answer, InvalidInput)
    assert (answer.message, answer.field) == (message, "name")


def test_a_tenants_review_is_its_own(world: World) -> None:
    """Another tenant's admin has yet to look at it."""
    known = installed(Tokens())
    say(world, known)
    assert listed(world, known, ELSEWHERE)["token_limit"].status == "pending"
    say(world, known, approve=False, caller=ELSEWHERE)
    assert listed(world, known)["token_limit"].status == "approved"


def test_credentials_in_a_note_are_not_kept(world: World) -> None:
    """What looks like one is replaced before it is on record."""
    known = installed(Tokens())
    info = say(world, known, note="checked with AKIA" + "IOSFODNN7EXAMPLE")
    assert isinstance(info, DimensionInfo)
    assert "IOSFODNN7" not in str(info)
    assert "IOSFODNN7" not in str(world.events("dimension."))


def test_built_in_ones_come_first_and_need_nobody(world: World) -> None:
    """In their order, then the installed ones by name."""
    known = replace(
        installed(Tokens(name="z_limit"), Tokens(name="a_limit")),
        built_in={name: Tokens(name=name) for name in ("cost_limit", "time_window")},
    )
    assert [(info.name, info.status) for info in listed(world, known).values()] == [
        ("cost_limit", "built_in"),
        ("time_window", "built_in"),
        ("a_limit", "pending"),
        ("z_limit", "pending"),
    ]


def test_reviews_of_one_batch_follow_one_another(world: World) -> None:
    """What was said last in a transaction is what is on record, and each saw what the one before it said."""
    told = (DimensionStatus.APPROVED, DimensionStatus.REJECTED, DimensionStatus.REJECTED, DimensionStatus.APPROVED)
    answers = world.batch(*[ReviewDimension(LOOPBACK, Tokens(), status) for status in told])
    assert [answer.status for answer in answers] == ["approved", "rejected", "rejected", "approved"]
    assert listed(world, installed(Tokens()))["token_limit"].status == "approved"
    assert [event.data["previous_status"] for event in world.events("dimension.")] == ["pending", "approved", "rejected"]

"""Sessions of people: what they last, what ends them, and what is known of them (SPEC 11)."""

import pytest

from cstp_server.domain.anchors import AuditKeys
from cstp_server.domain.callers import LOOPBACK, Caller, Role
from cstp_server.domain.events import EventType
from cstp_server.domain.refusals import Unauthorized
from cstp_server.services.identifying import Identification
from cstp_server.services.sessions import EndSession, Requested, SessionDesk, SignedIn
from cstp_server.services.sessions import digest_of as session_digest
from cstp_server.services.tokens import TokenInfo, digest_of
from cstp_server.storage.journal import Journal
from cstp_server.storage.tokens import create_token, revoke_token
from tests.services.conftest import MakeWorld
from tests.services.world import World, policy_of

IDLE, LONGEST = 60_000, 300_000
TOKEN = "secret"
HERE = Requested("127.0.0.1", {b"host": b"localhost"})


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A store without anything."""
    return make_world(policy_of())


def desk_of(world: World, *, token: str | None = TOKEN, expires_at: int | None = None) -> SessionDesk:
    """Where sessions begin, on a store with one token."""
    if token is not None:
        info = TokenInfo("olivia", (Role.OPS,), "default", None, world.clock.now(), expires_at, None)
        with world.connected() as connection, connection.begin():
            assert create_token(connection, info, digest_of(token), Journal(AuditKeys()))
        world.hand.advance(1_000)
    tokens = world.store.tokens
    return SessionDesk(world.store.transactor, world.store.sessions, tokens, Identification(tokens, b""), world.clock, IDLE, LONGEST)


def begun(world: World, desk: SessionDesk) -> SignedIn:
    """A session of whoever holds the token."""
    caller = world.do(desk.authenticator.caller_of(digest_of(TOKEN)))
    assert isinstance(caller, Caller)
    signed_in = world.do(desk.begin(caller))
    assert isinstance(signed_in, SignedIn)
    return signed_in


def test_a_session_is_found_by_its_secret_alone(world: World) -> None:
    """And stands for the token's holder."""
    desk = desk_of(world)
    signed_in = begun(world, desk)
    found = world.do(desk.find(signed_in.secret, HERE))
    assert found is not None
    assert (found.caller.principal, found.caller.tenant) == ("olivia", "default")
    assert world.do(desk.find(signed_in.secret + "x", HERE)) is None
    assert world.do(desk.find("", HERE)) is None


def test_a_session_ends_unused(world: World) -> None:
    """To the millisecond; using it begins the time anew."""
    desk = desk_of(world)
    signed_in = begun(world, desk)
    for _ in range(4):
        world.hand.advance(IDLE - 1)
        assert world.do(desk.find(signed_in.secret, HERE)) is not None
    world.hand.advance(IDLE)
    assert world.do(desk.find(signed_in.secret, HERE)) is None


def test_a_session_ends_however_much_it_is_used(world: World) -> None:
    """After the longest time."""
    desk = desk_of(world)
    signed_in = begun(world, desk)
    for _ in range(9):
        world.hand.advance(IDLE // 2)
        assert world.do(desk.find(signed_in.secret, HERE)) is not None
    world.hand.advance(IDLE // 2)
    assert world.do(desk.find(signed_in.secret, HERE)) is None


def test_a_session_ends_with_its_token(world: World) -> None:
    """Revoked elsewhere, at the next request."""
    desk = desk_of(world)
    signed_in = begun(world, desk)
    with world.connected() as connection, connection.begin():
        assert revoke_token(connection, "olivia", world.clock.now(), Journal(AuditKeys()))
    world.hand.advance(100)
    assert world.do(desk.find(signed_in.secret, HERE)) is None


def test_a_session_does_not_outlast_its_token(world: World) -> None:
    """It expires when the token does."""
    desk = desk_of(world, expires_at=world.clock.now() + 30_000)
    signed_in = begun(world, desk)
    world.hand.advance(28_000)
    assert world.do(desk.find(signed_in.secret, HERE)) is not None
    world.hand.advance(1_000)
    assert world.do(desk.find(signed_in.secret, HERE)) is None


def test_a_session_that_was_ended_is_over(world: World) -> None:
    """For whoever still has the secret; to end it twice is no fault."""
    desk = desk_of(world)
    signed_in = begun(world, desk)
    world.do(desk.end(signed_in, "signed_out"))
    world.do(desk.end(signed_in, "signed_out"))
    assert world.do(desk.find(signed_in.secret, HERE)) is None


def test_a_session_that_two_end_at_once_ends_once_on_record(each_world: MakeWorld) -> None:
    """In one batch, and in those of two processes: by whoever comes first."""
    world = each_world(policy_of())
    desk = desk_of(world)
    both, apart = begun(world, desk), begun(world, desk)
    secret = session_digest(both.secret)
    world.batch(*(EndSession(both.caller, secret, cause) for cause in ("signed_out", "replaced")))
    other = world.started()
    for store, cause in ((world.store, "replaced"), (other, "signed_out")):
        world.run_in(store, EndSession(apart.caller, session_digest(apart.secret), cause))
    other.stop()
    ended = [event.data["cause"] for event in world.events() if event.type is EventType.SESSION_ENDED]
    assert sorted(ended) == ["replaced", "signed_out"]


def test_signing_in_and_out_is_on_record(world: World) -> None:
    """Who, with which roles and until when; once each, and nothing by which the session could be known."""
    desk = desk_of(world)
    signed_in = begun(world, desk)
    expires_at = world.clock.now() + LONGEST
    world.hand.advance(1_000)
    world.do(desk.end(signed_in, "signed_out"))
    world.do(desk.end(signed_in, "signed_out"))
    told = [event for event in world.events() if event.type in (EventType.SESSION_BEGUN, EventType.SESSION_ENDED)]
    assert [(event.type, event.tenant, event.subject, event.actor) for event in told] == [
        (EventType.SESSION_BEGUN, "default", "olivia", "olivia"),
        (EventType.SESSION_ENDED, "default", "olivia", "olivia"),
    ]
    assert told[0].data == {"roles": ["ops", "viewer"], "expires_at": expires_at}
    assert told[1].data == {"cause": "signed_out"}
    assert world.audit().is_whole


def test_a_token_revoked_while_signing_in_begins_no_session(world: World) -> None:
    """It is looked at once more in the transaction of the session."""
    desk = desk_of(world)
    caller = world.do(desk.authenticator.caller_of(digest_of(TOKEN)))
    assert isinstance(caller, Caller)
    with world.connected() as connection, connection.begin():
        assert revoke_token(connection, "olivia", world.clock.now(), Journal(AuditKeys()))
    assert isinstance(world.do(desk.begin(caller)), Unauthorized)
    assert EventType.SESSION_BEGUN not in [event.type for event in world.events()]


def test_a_session_without_a_token_is_bound_to_this_machine(world: World) -> None:
    """Another address, a proxy, or the first token ends what needed none."""
    desk = desk_of(world, token=None)
    signed_in = world.do(desk.begin(LOOPBACK))
    assert isinstance(signed_in, SignedIn)
    assert world.do(desk.find(signed_in.secret, HERE)) is not None
    assert world.do(desk.find(signed_in.secret, Requested("192.0.2.7", HERE.headers))) is None
    assert world.do(desk.find(signed_in.secret, Requested("127.0.0.1", {b"x-forwarded-for": b"192.0.2.7"}))) is None
    desk_of(world)
    assert world.do(desk.find(signed_in.secret, HERE)) is None


def test_form_tokens_are_those_of_one_session(world: World) -> None:
    """Steady within it, and unlike any other's or the secret."""
    desk = desk_of(world)
    one, other = begun(world, desk), begun(world, desk)
    assert one.form_token == one.form_token
    assert one.form_token != other.form_token
    assert one.secret not in one.form_token


def test_each_kind_of_database_keeps_what_lasts(each_world: MakeWorld) -> None:
    """What has run out goes when the next one begins, what was ended at once, and what lasts stays."""
    world = each_world(policy_of())
    desk, sessions = desk_of(world, token=None), world.store.sessions
    over = world.do(desk.begin(LOOPBACK))
    world.hand.advance(LONGEST)
    lasting, ended = world.do(desk.begin(LOOPBACK)), world.do(desk.begin(LOOPBACK))
    assert isinstance(over, SignedIn)
    assert isinstance(lasting, SignedIn)
    assert isinstance(ended, SignedIn)
    world.do(desk.end(ended, "signed_out"))
    known = [world.do(sessions.find(session_digest(each.secret))) is not None for each in (over, lasting, ended)]
    assert known == [False, True, False]

"""Tokens take effect at once, in a store that is running, and in the transaction of a write too (SPEC 2)."""

from cstp_server.domain.anchors import AuditKeys
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Answer
from cstp_server.domain.refusals import Unauthorized
from cstp_server.services.tokens import TokenInfo, digest_of, mint
from cstp_server.storage import tokens
from cstp_server.storage.journal import Journal
from tests.services.world import World, checking, circuits_policy
from tests.storage.conftest import MakeWorld

POLICY = circuits_policy()


def create(world: World, name: str, *, expires_at: int | None = None, agent: str | None = None, tenant: str = "default") -> bytes | None:
    """A token of that name, as another process makes it; its digest, or none when the name is taken."""
    digest = digest_of(mint())
    info = TokenInfo(name, (Role.OPS,), tenant, agent, world.clock.now(), expires_at, None)
    with world.connected() as connection, connection.begin():
        return digest if tokens.create_token(connection, info, digest, Journal(AuditKeys())) else None


def revoke(world: World, name: str) -> bool:
    with world.connected() as connection, connection.begin():
        return tokens.revoke_token(connection, name, world.clock.now(), Journal(AuditKeys()))


def holder(world: World, digest: bytes | None) -> Caller | None:
    """Who holds the token, once what was known of it may be out of date."""
    assert digest is not None
    world.hand.advance(25)
    return world.do(world.store.tokens.caller_of(digest))


def test_a_new_token_is_known_at_once(make_world: MakeWorld) -> None:
    """With its name, the roles that its role contains, its tenant and its agent."""
    world = make_world(POLICY)
    digest = create(world, "deploy", agent="bot", tenant="north")
    caller = holder(world, digest)
    assert caller is not None
    assert (caller.principal, caller.tenant, caller.agent_id) == ("deploy", "north", "bot")
    assert caller.roles == {Role.OPS, Role.VIEWER}


def test_an_unknown_token_is_nobodys(make_world: MakeWorld) -> None:
    """And becomes somebody's when it is created."""
    world = make_world(POLICY)
    assert holder(world, digest_of("guess")) is None
    assert not world.do(world.store.tokens.any_tokens())
    create(world, "first")
    world.hand.advance(25)
    assert world.do(world.store.tokens.any_tokens())


def test_a_revoked_token_is_nobodys_at_once(make_world: MakeWorld) -> None:
    """The store had known it a moment before; to have revoked the last one does not open the door."""
    world = make_world(POLICY)
    digest = create(world, "deploy")
    assert holder(world, digest) is not None
    assert revoke(world, "deploy")
    assert not revoke(world, "deploy")
    assert holder(world, digest) is None
    assert world.do(world.store.tokens.any_tokens())


def test_a_token_that_was_revoked_under_way_changes_nothing(make_world: MakeWorld) -> None:
    """Known when the call came in, revoked when its transaction began: refused there, and nothing is stored."""
    world = make_world(POLICY)
    digest, other = create(world, "deploy"), create(world, "other")
    caller, bystander = holder(world, digest), holder(world, other)
    assert caller is not None
    assert bystander is not None
    assert isinstance(world.run(checking("before", caller=caller)), Answer)
    revoke(world, "deploy")
    refused, allowed = world.batch(checking("after", caller=caller), checking("others", caller=bystander))
    assert isinstance(refused, Unauthorized)
    assert isinstance(allowed, Answer)
    assert world.decision("after") is None


def test_a_token_expires_by_the_clock(make_world: MakeWorld) -> None:
    """To the millisecond."""
    world = make_world(POLICY)
    digest = create(world, "short", expires_at=world.clock.now() + 1_000)
    assert holder(world, digest) is not None
    world.hand.advance(949)
    assert holder(world, digest) is not None
    world.hand.advance(1)
    assert holder(world, digest) is None


def test_a_name_is_free_again_once_its_token_is_revoked(make_world: MakeWorld) -> None:
    """One token of a name at a time; the old one stays revoked."""
    world = make_world(POLICY)
    old = create(world, "deploy")
    assert create(world, "deploy") is None
    revoke(world, "deploy")
    new = create(world, "deploy")
    assert holder(world, old) is None
    assert holder(world, new) is not None


def test_a_restart_forgets_no_token(make_world: MakeWorld) -> None:
    """Tokens are in the store."""
    world = make_world(POLICY)
    digest = create(world, "deploy")
    world.restart()
    assert holder(world, digest) is not None
    with world.connected() as connection:
        assert [info.name for info in tokens.list_tokens(connection)] == ["deploy"]

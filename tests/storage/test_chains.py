"""The chain that a process writes: exact whatever happens to its transactions, and to the process (SPEC 11)."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from cstp_server.domain.anchors import Anchor, AnchorKind, Unproven
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.services.audit_reports import Signatures
from cstp_server.services.chaining import LINK_COLUMNS
from cstp_server.services.ports import Needs
from cstp_server.storage import tables
from cstp_server.storage.anchors import lock_ledger
from cstp_server.storage.pruning import ground_for, prune_chain
from tests.services.world import OPS, World, checking, circuits_policy, reviewing
from tests.storage.conftest import MakeWorld

EVENTS, ANCHORS = tables.events, tables.audit_anchors
POLICY = circuits_policy({"scope": "agent:*", "failure_threshold": 3})
HOUR_MS = 3_600_000


def rows(world: World) -> list[Any]:
    with world.connected() as connection:
        return list(connection.execute(select(EVENTS).order_by(EVENTS.c.chain, EVENTS.c.position)))


def anchors(world: World) -> list[Any]:
    with world.connected() as connection:
        return list(connection.execute(select(ANCHORS).order_by(ANCHORS.c.number)))


def chains(world: World) -> list[str]:
    return [anchor.chain for anchor in anchors(world) if anchor.kind == "start"]


def test_events_are_chained_as_documented(make_world: MakeWorld) -> None:
    """Whoever reads the rows can make every hash anew, with nothing but SHA-256 and JSON."""
    world = make_world(POLICY)
    world.fail("a", "b", "c", agent='büro "中"\\ \U0001f512\n')
    written = rows(world)
    assert [row.position for row in written] == list(range(1, len(written) + 1))
    assert len({row.chain for row in written}) == 1
    previous = hashlib.sha256(b"cstp.chain.1\n" + written[0].chain.encode()).digest()
    for row in written:
        columns = [getattr(row, name) for name in LINK_COLUMNS[:-2]]
        text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
        assert row.previous_hash == previous
        previous = hashlib.sha256(b"cstp.event.1\n" + previous + text.encode()).digest()
        assert row.hash == previous


def test_every_process_has_a_chain_and_begins_another_when_it_starts_again(make_world: MakeWorld) -> None:
    """A process that ends well says where; what the next one writes is another chain."""
    world = make_world(POLICY)
    world.check("a")
    other = world.started()
    world.run_in(other, checking("b"))
    world.run_in(other, reviewing("a", "success"))
    other.stop()
    world.restart()
    world.check("c")
    assert len(chains(world)) == 3
    assert sorted(anchor.chain for anchor in anchors(world) if anchor.kind == "end") == sorted(chains(world)[:2])
    report = world.audit()
    assert (report.problems, report.chains, report.adopted) == ([], 3, 0)


def test_events_of_all_tenants_share_the_chain(make_world: MakeWorld) -> None:
    """The tenant is hashed like everything else."""
    world = make_world(POLICY)
    world.check("a")
    world.run(checking("a", caller=replace(OPS, tenant="elsewhere")))
    assert {row.tenant for row in rows(world)} == {"default", "elsewhere"}
    assert world.audit().is_whole


def test_what_is_refused_leaves_neither_a_gap_nor_a_place_taken(make_world: MakeWorld) -> None:
    """A call that faults within a batch, and an id that another process has stored at the same time."""
    world = make_world(POLICY)
    world.check("a")
    answers = world.batch(checking("b"), Faulty(), checking("c"))
    assert isinstance(answers[1], ZeroDivisionError)
    other = world.started()
    world.run_in(other, checking("d"))
    world.check("d")
    world.check("e")
    other.stop()
    assert len(chains(world)) == 2
    assert world.audit().is_whole


class Faulty:
    """A call whose own code raises."""

    tenant = "default"
    caller = None

    def needs(self, _policy: Any, _view: Any) -> Any:
        return Needs()

    def decide(self, _policy: Any, _view: Any, _now: int) -> Any:
        return 1 / 0


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_a_commit_that_nobody_answers_leaves_a_whole_chain_behind(sqlite_world: MakeWorld, *, committed: bool) -> None:
    """The process goes on with another chain; the one before is ended where it stands in the store."""
    world = sqlite_world(POLICY)
    world.check("a")
    with losing_the_answer(world, committed=committed), pytest.raises(StoreUnavailable):
        world.check("b")
    world.check("c")
    assert (world.decision("b") is not None) == committed
    first, second = chains(world)
    assert [row.subject for row in rows(world) if row.chain == second] == ["c"]
    world.anchor()
    world.hand.advance(61_000)
    world.anchor()
    (ended,) = [anchor for anchor in anchors(world) if anchor.kind == "end"]
    assert (ended.chain, ended.position) == (first, 2 if committed else 1)
    assert (world.audit().problems, world.audit().unanchored) == ([], 0)


class losing_the_answer:  # noqa: N801 - reads as what it does
    """Within it, the database carries out a commit, or does not, and the connection breaks before it can say so."""

    def __init__(self, world: World, *, committed: bool) -> None:
        self._dialect: Any = world.store._writing.dialect
        self._committed = committed

    def __enter__(self) -> None:
        commit: Callable[[Any], None] = type(self._dialect).do_commit.__get__(self._dialect)
        roll_back: Callable[[Any], None] = type(self._dialect).do_rollback.__get__(self._dialect)

        def lose(connection: Any) -> None:
            (commit if self._committed else roll_back)(connection)
            raise sqlite3.OperationalError("the connection broke")

        self._dialect.do_commit = lose

    def __exit__(self, *_: object) -> None:
        del self._dialect.do_commit


def test_a_place_that_somebody_else_has_taken_is_left_to_the_auditors(make_world: MakeWorld) -> None:
    """A row in the next place of the chain keeps nobody from working: the process goes on with another chain, and the row is found."""
    world = make_world(POLICY)
    world.check("a")
    last = rows(world)[-1]
    with world.connected() as connection, connection.begin():
        forged = {**last._mapping, "id": "evt_forged", "position": last.position + 1}
        connection.execute(insert(EVENTS).values(forged))
    with pytest.raises(StoreUnavailable):
        world.check("b")
    world.check("c")
    assert len(chains(world)) == 2
    assert "evt_forged" in [problem.event_id for problem in world.audit().problems]


def test_events_are_anchored_within_the_interval_and_no_more_often(make_world: MakeWorld) -> None:
    """Nothing new, no new anchor, until the chain would lapse."""
    world = make_world(POLICY)
    world.check("a")
    world.anchor()
    world.check("b")
    world.hand.advance(9_999)
    world.do(world.store.anchor())
    assert world.audit().unanchored == 1
    world.hand.advance(1)
    world.do(world.store.anchor())
    assert world.audit().unanchored == 0
    for _ in range(5):
        world.anchor()
    assert [anchor.kind for anchor in anchors(world)] == ["start", "head", "head"]
    world.hand.advance(HOUR_MS // 2)
    world.do(world.store.anchor())
    assert len(anchors(world)) == 4


def test_a_chain_that_lapsed_is_written_to_no_more(sqlite_world: MakeWorld) -> None:
    """After an hour without an anchor another process may end it: the process begins a new one."""
    world = sqlite_world(POLICY)
    world.check("a")
    world.hand.advance(HOUR_MS + 1)
    world.check("b")
    assert [row.position for row in rows(world)] == [1, 1]
    world.hand.advance(HOUR_MS)
    world.do(world.store.end_lapsed_chains())
    (ended,) = [anchor for anchor in anchors(world) if anchor.kind == "end"]
    assert (ended.chain, ended.position) == (chains(world)[0], 1)
    report = world.audit()
    assert (report.problems, report.adopted) == ([], 0)


def test_the_chain_of_a_process_that_died_is_ended_by_another(sqlite_world: MakeWorld) -> None:
    """As far as it is whole; that it was another process is on record, and nothing can be added to the chain any more."""
    world = sqlite_world(POLICY)
    dead = world.started()
    world.run_in(dead, checking("a"))
    world.run_in(dead, checking("b"))
    dead.transactor.stop()
    world.check("c")
    world.do(world.store.end_lapsed_chains())
    assert not [anchor for anchor in anchors(world) if anchor.kind == "end"]
    world.hand.advance(2 * HOUR_MS + 1)
    world.do(world.store.end_lapsed_chains())
    report = world.audit()
    assert (report.problems, report.adopted, report.unanchored) == ([], 1, 0)


def test_without_a_key_the_record_is_chained_and_not_signed(make_world: MakeWorld) -> None:
    """Verification says so, and is no failure."""
    world = make_world(POLICY)
    world.keys = type(world.keys)()
    world.restart()
    world.check("a")
    world.anchor()
    report = world.audit()
    assert (report.problems, report.signatures, report.unsigned) == ([], Signatures.NONE, 2)


def test_signing_may_begin_later_but_not_end(make_world: MakeWorld) -> None:
    """What was entered before a key was set is linked to what is signed since; what is not signed after that is bad."""
    world = make_world(POLICY)
    keys, world.keys = world.keys, type(world.keys)()
    world.restart()
    world.check("a")
    world.keys = keys
    world.restart()
    world.check("b")
    report = world.audit()
    assert (report.problems, report.signatures, report.unsigned) == ([], Signatures.VERIFIED, 2)
    world.keys = type(world.keys)()
    world.restart()
    world.check("c")
    world.keys = keys
    assert {problem.flaw.value for problem in world.audit().problems} == {"unsigned"}


def test_pruning_keeps_the_rest_provable(make_world: MakeWorld) -> None:
    """Whole chains and parts of them go, oldest first, in small batches; verification is content, and says what is left."""
    world = make_world(POLICY)
    for round in range(3):
        world.batch(*[checking(f"{round}.{number}") for number in range(250)])
        world.anchor()
    cut_at = world.time() + 1
    world.hand.advance(2)
    world.restart()
    world.check("late")
    world.anchor()
    deleted = []
    for chain in world.do(world.store.chains_to_prune(cut_at)):
        while count := world.do(world.store.prune_chain(chain, cut_at)):
            deleted.append(count)
            assert world.audit().is_whole
    assert (sum(deleted), max(deleted)) == (750, 500)
    assert [row.subject for row in rows(world)] == ["late"]
    assert world.do(world.store.chains_to_prune(cut_at)) == []
    assert [anchor.kind for anchor in anchors(world)].count(AnchorKind.CUT) == 1
    assert world.audit().is_whole


def test_two_processes_that_prune_at_once_enter_one_cut(make_world: MakeWorld, server_url: str) -> None:
    """The later one waits until what the first one has entered is committed, and finds it."""
    world = make_world(POLICY)
    world.check("a")
    world.anchor()
    cut_at = world.time() + 1
    world.hand.advance(2)
    world.check("late")
    (chain,) = chains(world)
    with ThreadPoolExecutor(1) as pool, world.connected() as connection, connection.begin():
        ground = ground_for(connection, chain, cut_at)
        assert ground is not None
        assert prune_chain(connection, world.keys, world.clock, "one", ground) == 1
        if server_url.startswith("sqlite"):
            return  # one writer at a time as it is
        other = pool.submit(world.do, world.store.prune_chain(chain, cut_at))
        wait([other], timeout=0.5)
        connection.commit()
        assert other.result(timeout=20) == 0
    assert [anchor.kind for anchor in anchors(world)].count(AnchorKind.CUT) == 1
    assert world.audit().is_whole


def test_an_anchor_that_had_to_wait_says_how_far_the_chain_has_come_by_then(make_world: MakeWorld, server_url: str) -> None:
    """Not how far it had come before: another one that says more may be in the ledger by then."""
    world = make_world(POLICY)
    world.check("a")
    journal = world.store._journal

    def anchor() -> Anchor:
        with world.store._passing.connect() as connection, connection.begin():
            made = journal.anchor(connection, world.clock, AnchorKind.HEAD)
        assert made is not None
        return made[1]

    if server_url.startswith("sqlite"):
        world.check("b")
        assert anchor().position == 2
        return  # whoever waits there has not begun to look
    with ThreadPoolExecutor(1) as pool, world.connected() as connection, connection.begin():
        lock_ledger(connection)
        waiting = pool.submit(anchor)
        deadline = monotonic() + 20
        while not connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).scalar():
            assert monotonic() < deadline
            sleep(0.01)
        world.check("b")
        connection.commit()
        assert waiting.result(timeout=20).position == 2
    assert world.audit().is_whole


def test_a_chain_is_ended_once_though_the_answer_was_lost(make_world: MakeWorld) -> None:
    """Whoever does not know whether it was ended looks before ending it again."""
    world = make_world(POLICY)
    world.check("a")
    journal = world.store._journal
    journal.forget()
    left = journal.left()
    assert left is not None
    for _ in range(2):
        world.do(world.store._pruning.read(journal.end_left, world.clock, left))
    journal.ended(left)
    assert [anchor.kind for anchor in anchors(world)].count(AnchorKind.END) == 1
    assert world.audit().is_whole


def test_nothing_is_pruned_on_the_word_of_a_forged_anchor(make_world: MakeWorld) -> None:
    """An anchor that says that everything is old does not get everything deleted."""
    world = make_world(POLICY)
    world.check("a")
    world.anchor()
    with world.connected() as connection, connection.begin():
        connection.execute(ANCHORS.update().values(at=1))
    (chain,) = world.do(world.store.chains_to_prune(1_000))
    with pytest.raises(Unproven):
        world.do(world.store.prune_chain(chain, 1_000))
    assert len(rows(world)) == 1


@pytest.mark.parametrize("place", ["after the last line", "in the place of an unsigned line"])
def test_nothing_is_pruned_on_the_word_of_an_anchor_that_anybody_could_have_made(make_world: MakeWorld, place: str) -> None:
    """Where a key is set, an anchor without a signature is proven by what was signed later, or by nothing."""
    world = make_world(POLICY)
    keys, world.keys = world.keys, type(world.keys)()
    world.restart()
    world.check("unsigned")
    world.keys = keys
    world.restart()
    world.check("a")
    world.anchor()
    lines = anchors(world)
    last = lines[-1]
    number, previous = (last.number + 1, last.seal) if place == "after the last line" else (2, lines[0].seal)
    unsealed = Anchor(number, 1, AnchorKind.HEAD, last.chain, last.position, last.hash, "wrt_forged", None, previous)
    forged = replace(unsealed, seal=world.keys.seal(unsealed.payload(), None))
    with world.connected() as connection, connection.begin():
        connection.execute(ANCHORS.delete().where(ANCHORS.c.number == number))
        connection.execute(insert(ANCHORS).values({name: getattr(forged, name) for name in forged.__slots__} | {"kind": "head"}))
    (chain,) = world.do(world.store.chains_to_prune(1_000))
    with pytest.raises(Unproven):
        world.do(world.store.prune_chain(chain, 1_000))
    assert [row.subject for row in rows(world) if row.chain == last.chain] == ["a"]


def test_what_was_written_before_signing_began_is_pruned_like_the_rest(make_world: MakeWorld) -> None:
    """What was signed since proves the anchors before it."""
    world = make_world(POLICY)
    keys, world.keys = world.keys, type(world.keys)()
    for id in ("a", "b", "c"):
        world.restart()
        world.check(id)
    world.keys = keys
    world.restart()
    world.check("d")
    cut_at = world.time() + 1
    world.hand.advance(2)
    for chain in world.do(world.store.chains_to_prune(cut_at)):
        while world.do(world.store.prune_chain(chain, cut_at)):
            pass
    assert [row.subject for row in rows(world)] == ["d"]
    assert world.audit().is_whole

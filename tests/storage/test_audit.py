"""Whatever somebody does by hand to the record of events is found, on both databases (SPEC 11)."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from cstp_server.domain.anchors import Anchor, AnchorKind, AuditKeys, LedgerHead, genesis
from cstp_server.domain.events import Event, EventType
from cstp_server.services.audit_files import NoExport, export, verify_file
from cstp_server.services.audit_reports import AuditReport, Flaw, Signatures
from cstp_server.services.auditing import compare_with_kept, verify
from cstp_server.services.chaining import LINK_COLUMNS, link_hash
from cstp_server.services.tokens import TokenInfo
from cstp_server.storage import tables, tokens
from cstp_server.storage.anchors import append
from cstp_server.storage.auditing import StoredRecord, reading_record
from cstp_server.storage.journal import Journal
from tests.services.world import AUDIT_KEY, World, checking, circuits_policy
from tests.storage.conftest import MakeWorld

EVENTS, ANCHORS, HEAD = tables.events, tables.audit_anchors, tables.audit_head
KEYS = AuditKeys((AUDIT_KEY,))
Tamper = Callable[[Connection], object]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A record with everything in it: two processes, one of them ended, a command's chain, anchors of every kind, a chain that was cut."""
    world = make_world(circuits_policy({"scope": "agent:*", "failure_threshold": 2}))
    world.fail("a", "b", agent="büro 中 \U0001f512")
    world.anchor()
    other = world.started()
    world.run_in(other, checking("c"))
    world.run_in(other, checking("d"))
    world.anchor(other)
    other.stop()
    with world.connected() as connection, connection.begin():
        info = TokenInfo("bot", (), "default", None, world.time(), None, None)
        assert tokens.create_token(connection, info, b"digest", Journal(KEYS))
    cut_at = world.time() + 1
    world.hand.advance(1)
    (first,) = [chain for chain in world.do(world.store.chains_to_prune(cut_at)) if chain == _chains(world)[0]]
    with world.connected() as connection, connection.begin():
        last = connection.execute(select(ANCHORS).where(ANCHORS.c.chain == first, ANCHORS.c.kind == "head")).one()
        append(connection, KEYS, AnchorKind.CUT, first, last.position, last.hash, writer="wrt_test", at=last.at)
        connection.execute(delete(EVENTS).where(EVENTS.c.chain == first, EVENTS.c.position <= last.position))
    world.fail("e", "f", "g", agent="later")
    world.anchor()
    world.check("h")
    report = world.audit()
    assert (report.problems, report.unanchored, report.signatures) == ([], 1, Signatures.VERIFIED)
    assert {kind for (kind,) in _all(world, select(ANCHORS.c.kind))} == {kind.value for kind in AnchorKind}
    return world


def _all(world: World, query: Any) -> list[Any]:
    with world.connected() as connection:
        return list(connection.execute(query))


def _chains(world: World) -> list[str]:
    return [chain for (chain,) in _all(world, select(ANCHORS.c.chain).where(ANCHORS.c.kind == "start").order_by(ANCHORS.c.number))]


@contextmanager
def undone(world: World) -> Iterator[Connection]:
    """A transaction in which anything may be done to the record; nothing of it stays."""
    with world.connected() as connection:
        transaction = connection.begin()
        try:
            yield connection
        finally:
            transaction.rollback()


def found(connection: Connection, keys: AuditKeys = KEYS, *, since: int | None = None) -> AuditReport:
    return verify(StoredRecord(connection), keys, lambda _events: None, since=since)


def other(value: Any) -> Any:
    """Another value of the same type."""
    if value is None:
        return "something"
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value + 1 if isinstance(value, int) else f"{value}\u200b"


def keyed(table: Table, row: Any) -> list[Any]:
    return [column == getattr(row, column.name) for column in table.primary_key.columns]


def test_every_column_of_every_kind_of_row_is_covered(world: World) -> None:
    """Events, anchors of each kind, the head of the ledger: whichever value is changed, it is found; and nothing is, once it is back."""
    rows = [(EVENTS, row) for row in _all(world, select(EVENTS).order_by(EVENTS.c.id))]
    rows += [(ANCHORS, row) for row in _all(world, select(ANCHORS).order_by(ANCHORS.c.number))]
    rows += [(HEAD, row) for row in _all(world, select(HEAD))]
    missed = []
    for table, row in rows:
        for column in table.c:
            with undone(world) as connection:
                value = other(getattr(row, column.name))
                if column.name in {"number", "position", "id"} and isinstance(value, int):
                    value += 1_000_000
                connection.execute(update(table).where(*keyed(table, row)).values({column.name: value}))
                if found(connection).is_whole:
                    missed.append((table.name, column.name, row))
    assert missed == []
    assert world.audit().is_whole


@pytest.mark.parametrize("column", ["chain", "position", "previous_hash", "hash"])
def test_a_value_that_is_taken_away_is_found(world: World, column: str) -> None:
    """An event without its place in a chain is nobody's."""
    with undone(world) as connection:
        connection.execute(update(EVENTS).values({column: None}))
        report = found(connection)
    assert {problem.flaw for problem in report.problems} & {Flaw.ALTERED, Flaw.FOREIGN, Flaw.MISSING}


@pytest.mark.parametrize("which", ["first", "middle", "last", "first two", "last two", "all"])
def test_dropped_events_are_found(world: World, which: str) -> None:
    """Wherever in a chain they were, as long as an anchor covers them."""
    chain = _chains(world)[0]
    last = _all(world, select(ANCHORS.c.position).where(ANCHORS.c.chain == chain, ANCHORS.c.kind == "head").order_by(ANCHORS.c.number))[-1][
        0
    ]
    places = [
        at for (at,) in _all(world, select(EVENTS.c.position).where(EVENTS.c.chain == chain).order_by(EVENTS.c.position)) if at <= last
    ]
    assert len(places) > 4
    chosen = {
        "first": places[:1],
        "middle": places[2:3],
        "last": places[-1:],
        "first two": places[:2],
        "last two": places[-2:],
        "all": places,
    }[which]
    with undone(world) as connection:
        connection.execute(delete(EVENTS).where(EVENTS.c.chain == chain, EVENTS.c.position.in_(chosen)))
        if which.startswith(("last", "all")):
            connection.execute(delete(EVENTS).where(EVENTS.c.chain == chain, EVENTS.c.position > last))
        report = found(connection)
    assert {problem.flaw for problem in report.problems} <= {Flaw.MISSING, Flaw.TRUNCATED}
    assert any(
        f"position {chosen[0]} " in problem.message or f"positions {chosen[0]} to" in problem.message for problem in report.problems
    ), report


def test_a_dropped_chain_is_found(world: World) -> None:
    """Each of them, by its name."""
    for chain in _chains(world):
        with undone(world) as connection:
            connection.execute(delete(EVENTS).where(EVENTS.c.chain == chain))
            (problem,) = found(connection).problems
        assert (problem.chain, problem.flaw) in {(chain, Flaw.MISSING), (chain, Flaw.TRUNCATED)}


def test_dropped_anchors_are_found(world: World) -> None:
    """Each of them, the last one too, and all at once; and the head of the ledger."""
    numbers = [number for (number,) in _all(world, select(ANCHORS.c.number).order_by(ANCHORS.c.number))]
    for dropped in [[number] for number in numbers] + [numbers, numbers[-2:]]:
        with undone(world) as connection:
            connection.execute(delete(ANCHORS).where(ANCHORS.c.number.in_(dropped)))
            assert not found(connection).is_whole, dropped
    with undone(world) as connection:
        connection.execute(delete(HEAD))
        assert [problem.flaw for problem in found(connection).problems] == [Flaw.MISSING]


def test_a_chain_dropped_with_its_anchors_is_found(world: World) -> None:
    """The ledger is numbered."""
    for chain in _chains(world):
        with undone(world) as connection:
            connection.execute(delete(EVENTS).where(EVENTS.c.chain == chain))
            connection.execute(delete(ANCHORS).where(ANCHORS.c.chain == chain))
            flaws = {problem.flaw for problem in found(connection).problems}
        assert flaws & {Flaw.MISSING, Flaw.TRUNCATED}


def test_two_events_that_changed_places_are_found(world: World) -> None:
    """Both are named, with the places where they were written; nothing is said of the ones around them."""
    rows = _all(world, select(EVENTS).where(EVENTS.c.chain == _chains(world)[0]).order_by(EVENTS.c.position))
    for first, second in ((rows[1], rows[2]), (rows[0], rows[-2])):
        with undone(world) as connection:
            for row, position in ((first, 1_000_000), (second, first.position), (first, second.position)):
                connection.execute(update(EVENTS).where(EVENTS.c.id == row.id).values(position=position))
            report = found(connection)
        assert [(problem.flaw, problem.event_id) for problem in report.problems] == [
            (Flaw.REORDERED, second.id),
            (Flaw.REORDERED, first.id),
        ]
        assert f"was written at position {second.position}" in report.problems[0].message


def test_two_rows_that_exchanged_all_that_is_in_them_are_found(world: World) -> None:
    """All but their keys: events keep their ids and positions, anchors their numbers."""
    events = _all(world, select(EVENTS).where(EVENTS.c.chain == _chains(world)[0]).order_by(EVENTS.c.position))
    anchors = _all(world, select(ANCHORS).order_by(ANCHORS.c.number))
    for table, key, first, second in ((EVENTS, EVENTS.c.id, *events[1:3]), (ANCHORS, ANCHORS.c.number, *anchors[1:3])):
        with undone(world) as connection:
            for row, source in ((first, second), (second, first)):
                values = {column.name: getattr(source, column.name) for column in table.c if column.name not in {key.name, "position"}}
                connection.execute(update(table).where(key == getattr(row, key.name)).values(values))
            assert found(connection).problem_count > 1


def test_an_event_whose_hash_was_made_anew_is_found(world: World) -> None:
    """Alone, it no longer fits the next one; with all after it made anew, it no longer fits the anchor."""
    chain = _chains(world)[0]
    rows = _all(world, select(*[EVENTS.c[name] for name in LINK_COLUMNS]).where(EVENTS.c.chain == chain).order_by(EVENTS.c.position))
    for until in (1, len(rows)):
        with undone(world) as connection:
            previous = rows[0].previous_hash
            for place, row in enumerate(rows[:until]):
                actor = "somebody else" if place == 0 else row.actor
                hashed = {**row._mapping, "actor": actor}
                hash = link_hash(previous, tuple(hashed[name] for name in LINK_COLUMNS[:-2]))
                values = {"actor": actor, "previous_hash": previous, "hash": hash}
                connection.execute(update(EVENTS).where(EVENTS.c.id == row.id).values(values))
                previous = hash
            report = found(connection)
        assert [problem.flaw for problem in report.problems][:1] == [Flaw.ALTERED]
        assert "position" in report.problems[0].message


def test_a_pruned_event_that_comes_back_is_found(world: World) -> None:
    """What was cut off cannot be replaced by anything else."""
    chain = _chains(world)[0]
    row = _all(world, select(EVENTS).where(EVENTS.c.chain == chain).order_by(EVENTS.c.position).limit(1))[0]
    with undone(world) as connection:
        connection.execute(insert(EVENTS).values({**row._mapping, "id": "evt_forged", "position": 1}))
        assert not found(connection).is_whole


def test_events_that_were_slipped_in_are_found(world: World) -> None:
    """Without a chain, in a chain that nobody began, and after the end of one that is over."""
    ended = _all(world, select(ANCHORS).where(ANCHORS.c.kind == "end").order_by(ANCHORS.c.number).limit(1))[0]
    row = _all(world, select(EVENTS).where(EVENTS.c.chain == ended.chain).order_by(EVENTS.c.position.desc()).limit(1))[0]
    forged = {**row._mapping, "id": "evt_forged"}
    hashed = tuple(forged[name] for name in LINK_COLUMNS[:8])
    cases = {
        "no chain": {"chain": None, "position": None, "previous_hash": None, "hash": None},
        "own chain": _linked(hashed, "chn_forged", 1, genesis("chn_forged")),
        "ended chain": _linked(hashed, ended.chain, ended.position + 1, ended.hash),
    }
    for name, place in cases.items():
        with undone(world) as connection:
            connection.execute(insert(EVENTS).values({**forged, **place}))
            assert [problem.flaw for problem in found(connection).problems] == [Flaw.FOREIGN], name


def test_an_event_slipped_in_anywhere_is_found_from_whatever_time_on(world: World) -> None:
    """After the end of any chain, in front of its beginning, where it was pruned, or in an old one's place; in the store and in files."""
    world.hand.advance(2)
    world.check("late")
    world.anchor()
    world.hand.advance(2)
    since = world.time()
    assert world.audit(since=since).problems == []
    missed, tried = [], 0
    for chain, last in _ends(world).items():
        for position, at in product((last + 1, last + 2, 2, 1, 0, -1, -(2**63), 2**63 - 1), (1, since, since + 10**6)):
            with undone(world) as connection:
                if not _slip_in(connection, chain, position, at, since):
                    continue
                tried += 1
                reports = [found(connection, since=since), found(connection), *in_files(connection, since)]
                if any(report.is_whole for report in reports):
                    missed.append((chain, position, at, [report.is_whole for report in reports]))
    assert missed == []
    assert tried > 60


def _slip_in(connection: Connection, chain: str, position: int, at: int, since: int) -> bool:
    """Put a forged event there, linked as well as can be; not where a process might just have written one, nor an old one for another."""
    hashes = {row.position: row.hash for row in connection.execute(select(EVENTS.c.position, EVENTS.c.hash).where(EVENTS.c.chain == chain))}
    is_open = connection.execute(select(ANCHORS.c.number).where(ANCHORS.c.chain == chain, ANCHORS.c.kind == "end")).scalar() is None
    if (position in hashes and at < since) or (is_open and position == max(hashes, default=0) + 1):
        return False
    row = connection.execute(select(EVENTS).order_by(EVENTS.c.id.desc()).limit(1)).one()
    connection.execute(delete(EVENTS).where(EVENTS.c.chain == chain, EVENTS.c.position == position))
    forged = {**row._mapping, "id": "evt_forged", "at": at}
    hashed = tuple(forged[name] for name in LINK_COLUMNS[:8])
    link = _linked(hashed, chain, position, hashes.get(position - 1, genesis(chain)))
    connection.execute(insert(EVENTS).values({**forged, **link}))
    return True


@pytest.mark.parametrize("position", [1, 2_000, 3_999])
def test_a_second_event_in_the_same_place_is_found(world: World, position: int) -> None:
    """However the place is made for it, and wherever a page of rows ends."""
    journal, now = Journal(KEYS), world.time()
    event = Event(EventType.POSTURE_DOWNGRADED, "default", "agent:bot", "somebody", now, "", {})
    with undone(world) as connection:
        journal.write_at_once(connection, [event] * 4_500, now)
        whole = found(connection)
        assert (whole.problems, whole.events > 4_500) == ([], True)
        chain = connection.execute(select(ANCHORS.c.chain).order_by(ANCHORS.c.number.desc()).limit(1)).scalar_one()
        row = connection.execute(select(EVENTS).where(EVENTS.c.chain == chain, EVENTS.c.position == position)).one()
        connection.execute(text("DROP INDEX ix_events_chain"))
        for id in ("evt_0", "evt_~"):
            connection.execute(insert(EVENTS).values({**row._mapping, "id": id}))
            assert {problem.position for problem in found(connection).problems} == {position}
            connection.execute(delete(EVENTS).where(EVENTS.c.id == id))


def in_files(connection: Connection, since: int) -> list[AuditReport]:
    """What is found in exports of all and of what is newer."""
    reports = []
    for start in (since, None):
        lines: list[bytes] = []
        export(StoredRecord(connection), KEYS, lines.append, lambda _events: None, since=start, at=0)
        reports.append(verify_file(lines, KEYS, lambda _events: None))
    return reports


def _ends(world: World) -> dict[str, int]:
    """How far each chain has come."""
    return dict(_all(world, select(ANCHORS.c.chain, func.max(ANCHORS.c.position)).group_by(ANCHORS.c.chain)))


def test_old_events_that_were_dropped_are_missed_from_whatever_time_on(world: World) -> None:
    """What is older is counted, though not looked at."""
    world.hand.advance(2)
    world.check("late")
    world.anchor()
    world.hand.advance(2)
    since = world.time()
    for id in [id for (id,) in _all(world, select(EVENTS.c.id).where(EVENTS.c.at < since))]:
        with undone(world) as connection:
            connection.execute(delete(EVENTS).where(EVENTS.c.id == id))
            assert {problem.flaw for problem in found(connection, since=since).problems} <= {Flaw.MISSING, Flaw.TRUNCATED}
            assert not found(connection, since=since).is_whole


def test_a_record_that_was_wiped_out_is_missed(world: World) -> None:
    """With the ledger and its head: there are decisions, and nothing on record of them."""
    for since in (None, world.time()):
        with undone(world) as connection:
            for table in (EVENTS, ANCHORS, HEAD):
                connection.execute(delete(table))
            assert [problem.flaw for problem in found(connection, since=since).problems] == [Flaw.MISSING]
            connection.execute(delete(tables.decisions))
            assert not found(connection, since=since).is_whole


OLD_EXPORT = Path(__file__).with_name("export-cstp-audit-1.jsonl")


def verified(lines: list[bytes], keys: AuditKeys) -> AuditReport:
    return verify_file(lines, keys, lambda _events: None)


@pytest.mark.parametrize("keys", [KEYS, AuditKeys()], ids=["with the key", "without"])
def test_an_export_of_the_first_format_is_still_whole(keys: AuditKeys) -> None:
    """It has no line of the ledger's head; whatever else is changed in it is found."""
    lines = OLD_EXPORT.read_bytes().splitlines(keepends=True)
    report = verified(lines, keys)
    assert (report.problems, report.events, report.anchors, report.chains) == ([], 6, 5, 2)
    for place in range(1, len(lines)):
        assert not verified([*lines[:place], *lines[place + 1 :]], keys).is_whole


def test_an_export_cannot_be_passed_off_as_one_of_the_first_format(world: World) -> None:
    """Neither with the line of the head nor without it."""
    lines: list[bytes] = []
    with world.connected() as connection:
        export(StoredRecord(connection), KEYS, lines.append, lambda _events: None, since=None, at=0)
    assert verified(lines, KEYS).is_whole
    aged = [lines[0].replace(b"cstp-audit-2", b"cstp-audit-1"), *lines[1:]]
    assert not verified(aged, KEYS).is_whole
    assert not verified([line for line in aged if b'"line":"head"' not in line], KEYS).is_whole


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("cstp-audit-3", "it is an export in the format `cstp-audit-3`, which this version does not know: verify it with a newer one"),
        ("cstp-audit-\u202e3", "it is no export of the record of events: its first line does not say so"),
        (3, "it is no export of the record of events: its first line does not say so"),
    ],
)
def test_an_export_of_a_later_format_is_not_verified(form: object, problem: str) -> None:
    """And the format is named, if it could be one."""
    first, *others = OLD_EXPORT.read_bytes().splitlines(keepends=True)
    first = json.dumps({**json.loads(first), "format": form}).encode() + b"\n"
    with pytest.raises(NoExport) as refused:
        verified([first, *others], KEYS)
    assert str(refused.value) == problem


def test_an_export_of_a_ledger_that_was_cut_short_says_so(world: World) -> None:
    """At once, and again when it is verified: the head is in the file."""
    last = _all(world, select(func.max(ANCHORS.c.number)))[0][0]
    for since in (None, 1, world.time()):
        lines: list[bytes] = []
        with undone(world) as connection:
            connection.execute(delete(ANCHORS).where(ANCHORS.c.number == last))
            report = export(StoredRecord(connection), KEYS, lines.append, lambda _events: None, since=since, at=0)
        assert [problem.flaw for problem in report.problems] == [Flaw.TRUNCATED]
        assert Flaw.TRUNCATED in {problem.flaw for problem in verify_file(lines, KEYS, lambda _events: None).problems}
        with undone(world) as connection:
            connection.execute(delete(HEAD))
            assert not export(StoredRecord(connection), KEYS, lines.append, lambda _events: None, since=since, at=0).is_whole


def _linked(hashed: tuple[Any, ...], chain: str, position: int, previous: bytes) -> dict[str, Any]:
    hash = link_hash(previous, (*hashed, chain, position))
    return {"chain": chain, "position": position, "previous_hash": previous, "hash": hash}


def test_an_old_head_that_is_replayed_is_found(world: World) -> None:
    """The head of the ledger as it once was; and an old anchor in the place of a newer one, or after the last."""
    rows = _all(world, select(ANCHORS).order_by(ANCHORS.c.number))
    old = rows[-2]
    head = LedgerHead(old.number, old.seal, old.key_id)
    with undone(world) as connection:
        values = {"number": head.number, "anchor_seal": head.anchor_seal, "seal": KEYS.seal(head.payload(), head.key_id)}
        connection.execute(update(HEAD).values(values))
        assert [problem.flaw for problem in found(connection).problems] == [Flaw.ALTERED]
    for number in (rows[-1].number, rows[-1].number + 1):
        with undone(world) as connection:
            connection.execute(delete(ANCHORS).where(ANCHORS.c.number == number))
            connection.execute(insert(ANCHORS).values({**old._mapping, "number": number}))
            assert not found(connection).is_whole


def test_what_is_signed_with_another_key_or_not_at_all_is_found(world: World) -> None:
    """The last anchor made anew, with the wrong key, under the right key's id, and without any; and all of them without."""
    last = _all(world, select(ANCHORS).order_by(ANCHORS.c.number.desc()).limit(1))[0]
    for keys, expected in ((AuditKeys((b"another key of at least 32 bytes....",)), Flaw.BAD_SIGNATURE), (AuditKeys(), Flaw.UNSIGNED)):
        with undone(world) as connection:
            connection.execute(delete(ANCHORS).where(ANCHORS.c.number == last.number))
            append(connection, keys, AnchorKind(last.kind), last.chain, last.position, last.hash, writer=last.writer, at=last.at)
            assert {problem.flaw for problem in found(connection).problems} == {expected}
            connection.execute(update(ANCHORS).where(ANCHORS.c.number == last.number).values(key_id=last.key_id))
            assert Flaw.BAD_SIGNATURE in {problem.flaw for problem in found(connection).problems}
    with undone(world) as connection:
        rows = list(connection.execute(select(ANCHORS).order_by(ANCHORS.c.number)))
        connection.execute(delete(ANCHORS))
        for row in rows:
            append(connection, AuditKeys(), AnchorKind(row.kind), row.chain, row.position, row.hash, writer=row.writer, at=row.at)
        assert [problem.message for problem in found(connection).problems] == ["a key is set, and no anchor is signed"]
        assert found(connection, AuditKeys()).signatures is Signatures.NONE


def test_without_the_key_the_chains_are_verified_and_the_signatures_said_not_to_be(world: World) -> None:
    """What does not take the key is found without it."""
    with undone(world) as connection:
        report = found(connection, AuditKeys())
        assert (report.is_whole, report.signatures) == (True, Signatures.NOT_CHECKED)
        connection.execute(update(EVENTS).values(actor="somebody else"))
        assert not found(connection, AuditKeys()).is_whole


def test_a_former_key_is_still_known(world: World) -> None:
    """After a change of the key, old anchors are verified with the old one, if it is given."""
    world.keys = AuditKeys((b"a newer key, again 32 bytes and more", AUDIT_KEY))
    world.restart()
    world.check("i")
    world.anchor()
    assert world.audit().is_whole
    with undone(world) as connection:
        report = found(connection, AuditKeys(world.keys.keys[:1]))
    assert {problem.flaw for problem in report.problems} == {Flaw.BAD_SIGNATURE}


def test_a_record_put_back_to_an_earlier_state_is_found_by_an_anchor_kept_elsewhere(world: World) -> None:
    """Nothing in the store shows it: an anchor that is not there any more does."""
    with reading_record(world.url) as record:
        kept = [anchor for anchor in record.anchors() if isinstance(anchor, Anchor)]
    with undone(world) as connection:
        last = kept[-1]
        connection.execute(delete(EVENTS).where(EVENTS.c.chain == last.chain, EVENTS.c.position > kept[-2].position))
        connection.execute(delete(ANCHORS).where(ANCHORS.c.number == last.number))
        head = LedgerHead(kept[-2].number, kept[-2].seal, kept[-2].key_id)
        values = {"number": head.number, "anchor_seal": head.anchor_seal, "seal": KEYS.seal(head.payload(), head.key_id)}
        connection.execute(update(HEAD).values(values))
        report = found(connection)
        compare_with_kept(StoredRecord(connection), kept, KEYS, report)
    assert [problem.message for problem in report.problems if problem.anchor == last.number] == [
        f"anchor {last.number} was kept, and is not in the ledger"
    ]


def test_only_events_from_a_time_on_are_looked_at_where_that_is_asked_for(world: World) -> None:
    """From the last anchor before it; what is older is not looked at, the ledger always is."""
    since = world.time() + 1
    world.hand.advance(2)
    world.check("late")
    world.anchor()
    all_of_them, late = world.audit(), world.audit(since=since)
    assert late.is_whole
    assert 0 < late.events < all_of_them.events
    assert late.anchors == all_of_them.anchors
    chain = _chains(world)[0]
    with undone(world) as connection:
        connection.execute(update(EVENTS).where(EVENTS.c.subject == "late").values(actor="somebody else"))
        assert not verify(StoredRecord(connection), KEYS, lambda _events: None, since=since).is_whole
    with undone(world) as connection:
        connection.execute(update(EVENTS).where(EVENTS.c.chain == chain, EVENTS.c.subject == "e").values(actor="somebody else"))
        assert verify(StoredRecord(connection), KEYS, lambda _events: None, since=since).is_whole

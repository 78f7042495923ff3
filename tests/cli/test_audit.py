"""`cstp audit` on a real record: verified, exported, verified again elsewhere, and every change told (SPEC 11)."""

import json
import sqlite3
from collections.abc import Callable
from itertools import product
from pathlib import Path
from shutil import copyfile

import pytest
from typer.testing import CliRunner, Result

from cstp_server.backend import ServerBackend
from cstp_server.cli.app import app
from cstp_server.cli.session import Wiring
from cstp_server.storage import tables
from cstp_server.storage.engine import database_url
from cstp_server.storage.migrating import upgrade
from tests.services.world import AUDIT_KEY, World, circuits_policy

Run = Callable[..., Result]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A record of two processes, one of them still at work."""
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    upgrade(database_url(url))
    world = World(url, circuits_policy({"scope": "agent:*", "failure_threshold": 2}))
    world.hand.time = 1_770_000_000_000
    world.fail("a", "b", agent="büro \U0001f512")
    world.restart()
    world.hand.time = 1_770_100_000_000
    world.fail("c", "d")
    world.anchor()
    world.close()
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `cstp` on that record, with its key unless told otherwise."""
    for name in ("CSTP_AUDIT_KEY", "CSTP_AUDIT_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()

    def run(*arguments: str, **env: str) -> Result:
        environment = {"DATABASE_URL": world.url.render_as_string(), "CSTP_AUDIT_KEY": AUDIT_KEY.decode(), **env}
        chosen = {name: value for name, value in environment.items() if value}
        return runner.invoke(app, arguments, env=chosen, obj=Wiring(ServerBackend, lambda _url, _token: None), catch_exceptions=False)

    return run


def change(world: World, statement: str) -> None:
    assert world.url.database is not None
    with sqlite3.connect(world.url.database) as connection:
        connection.execute(statement)
    connection.close()


def test_a_whole_record_is_said_to_be_whole(run: Run) -> None:
    """With how much of it there is; nothing else is said."""
    done = run("audit", "verify")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("whole: ")
    told = json.loads(run("audit", "verify", "--json").stdout)
    assert (told["whole"], told["chains"], told["signatures"], told["unanchoredEvents"], told["problems"]) == (True, 2, "verified", 0, [])
    assert done.stdout == f"whole: {told['events']} events in 2 chains, {told['anchors']} anchors\n"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE events SET actor = 'nobody' WHERE subject = 'b'", "altered: event evt_"),
        ("DELETE FROM events WHERE subject = 'b'", "missing: the event"),
        ("DELETE FROM events WHERE subject = 'agent:bot' AND type = 'circuit.opened'", "truncated: "),
        ("UPDATE audit_anchors SET seal = x'00' WHERE number = 2", "bad signature: anchor 2 "),
        ("UPDATE events SET data = CAST(x'ff' AS TEXT) WHERE subject = 'b'", "altered: event evt_"),
        ("UPDATE events SET at = 'soon' WHERE subject = 'b'", "altered: event evt_"),
        ("UPDATE audit_anchors SET kind = 'other' WHERE number = 2", "altered: anchor 2 "),
        ("UPDATE events SET chain = CAST(x'ff' AS TEXT) WHERE subject = 'b'", "foreign: event evt_"),
        (
            "UPDATE events SET id = 'whole: 9 events' || char(10) || 'in' WHERE subject = 'b' AND type = 'decision.checked'",
            "altered: event whole: 9 events\\nin at",
        ),
    ],
)
def test_every_bad_place_is_named_in_words(world: World, run: Run, tmp_path: Path, statement: str, words: str) -> None:
    """With exit code 1; the same as JSON."""
    change(world, statement)
    done = run("audit", "verify")
    assert done.exit_code == 1
    assert any(line.startswith(words) for line in done.stdout.splitlines()), done.stdout
    told = json.loads(run("audit", "verify", "--json").stdout)
    assert (told["whole"], len(told["problems"])) == (False, told["problemCount"])
    exported = run("audit", "export")
    assert exported.stdout.splitlines()[-1].startswith('{"line":"end"')
    (tmp_path / "export.jsonl").write_text(exported.stdout)
    assert exported.exit_code == (1 if "anchor" in words or "foreign" in words else 0)
    assert (": the export is complete, and the record it was made of is not whole" in exported.stderr) == (exported.exit_code == 1)
    assert (exported.exit_code, run("audit", "verify", "--file", str(tmp_path / "export.jsonl")).exit_code) != (0, 0)


ODD = ("CAST(x'ff' AS TEXT)", "x'ff00'", "1.5", "-1e300", "9e999", "'text'", "''", "char(0)", "-9223372036854775808")
"""What SQLite stores in a column of any type."""


def test_whatever_is_stored_in_the_place_of_a_value_is_found(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every column of every kind of row: nothing is too odd to be told of, and no value makes verification break off."""
    assert world.url.database is not None
    changed = tmp_path / "changed.db"
    monkeypatch.setenv("CSTP_AUDIT_KEY", AUDIT_KEY.decode())
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{changed}")
    missed = []
    for table in (tables.events, tables.audit_anchors, tables.audit_head):
        key = table.primary_key.columns[0].name
        for column, odd in product(table.c.keys(), ODD):
            if column == "id" and table is tables.audit_head:
                continue  # such a key holds whole numbers only
            copyfile(world.url.database, changed)
            with sqlite3.connect(changed) as connection:
                one = f"(SELECT max({key}) FROM {table.name})"  # noqa: S608 - names of columns, and values that stand above
                connection.execute(f"UPDATE {table.name} SET {column} = {odd} WHERE {key} = {one}")  # noqa: S608
            connection.close()
            reports = [ServerBackend().verify_audit(since=since, kept=None, progress=Unseen()) for since in (None, 1_770_050_000_000)]
            if any(report.is_whole for report in reports):
                missed.append((table.name, column, odd))
    assert missed == []


def test_without_the_key_the_notes_say_what_was_not_looked_at(run: Run) -> None:
    """On standard error; the chains are verified all the same."""
    done = run("audit", "verify", CSTP_AUDIT_KEY="")
    assert done.exit_code == 0
    assert done.stderr == "note: signatures were not checked: set `CSTP_AUDIT_KEY` or `CSTP_AUDIT_KEY_FILE`\n"


def test_the_key_may_be_in_a_file_beside_former_ones(run: Run, tmp_path: Path) -> None:
    """One a line, the one in use first."""
    file = tmp_path / "keys"
    file.write_bytes(b"a newer key, again 32 bytes and more\n" + AUDIT_KEY + b"\n")
    assert run("audit", "verify", CSTP_AUDIT_KEY="", CSTP_AUDIT_KEY_FILE=str(file)).stderr == ""
    file.write_bytes(b"a newer key, again 32 bytes and more\n")
    done = run("audit", "verify", CSTP_AUDIT_KEY="", CSTP_AUDIT_KEY_FILE=str(file))
    assert (done.exit_code, done.stdout.split(":")[0]) == (1, "bad signature")
    for content, problem in ((b"short\n", "must be at least 32 bytes long"), (b"\n", "holds no key"), (None, "cannot be read")):
        file.write_bytes(content) if content is not None else file.unlink()
        done = run("audit", "verify", CSTP_AUDIT_KEY="", CSTP_AUDIT_KEY_FILE=str(file))
        assert done.exit_code == 1
        assert problem in done.stderr
        assert "short" not in done.stderr


@pytest.mark.parametrize("since", [None, "2026-02-03"])
def test_an_export_proves_itself(run: Run, tmp_path: Path, since: str | None) -> None:
    """Without the database; all of it, or only what is newer."""
    file = tmp_path / "export.jsonl"
    options = ("--since", since) if since is not None else ()
    done = run("audit", "export", *options, "--output", str(file))
    assert done.exit_code == 0
    assert run("audit", "export", *options).stdout.encode().count(b"\n") == file.read_bytes().count(b"\n")
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    events = [line for line in lines if line["line"] == "event"]
    assert done.stderr == f"{len(events)} events\n"
    subjects = {line["subject"] for line in events}
    assert ({"c", "d"} <= subjects, {"a", "b"} <= subjects) == (True, since is None)
    for key, notes in ((AUDIT_KEY.decode(), ""), ("", "note: signatures were not checked")):
        verified = run("audit", "verify", "--file", str(file), DATABASE_URL="sqlite:////nowhere/at/all.db", CSTP_AUDIT_KEY=key)
        assert verified.exit_code == 0, verified.stdout
        assert verified.stdout.startswith(f"whole: {len(events)} events")
        assert verified.stderr.startswith(notes)


@pytest.mark.parametrize("since", [None, "2026-02-03"])
def test_every_change_of_an_export_is_found(run: Run, tmp_path: Path, since: str | None) -> None:
    """Any value of any line, any line dropped, doubled or moved, wherever the file breaks off, whatever is added."""
    options = ("--since", since) if since is not None else ()
    whole = run("audit", "export", *options).stdout.encode().splitlines(keepends=True)
    changed = [[*whole[:place], *whole[place + 1 :]] for place in range(1, len(whole))]
    changed += [[*whole[: place + 1], *whole[place:]] for place in range(1, len(whole))]
    changed += [[*whole[:place], whole[place + 1], whole[place], *whole[place + 2 :]] for place in range(1, len(whole) - 1)]
    changed += [whole[:place] for place in range(1, len(whole))]
    changed += [[*whole, b'{"line":"event"}\n'], [*whole[:2], b"rubbish\n", *whole[2:]]]
    for place, line in enumerate(whole):
        values = json.loads(line)
        for name, value in values.items():
            if name in {"line", "format"}:
                continue
            other = value + 1 if isinstance(value, int) else f"00{value[2:]}" if value and value[:2] != "00" else "ff"
            changed.append([*whole[:place], json.dumps({**values, name: other}).encode() + b"\n", *whole[place + 1 :]])
    file = tmp_path / "export.jsonl"
    backend = ServerBackend()
    missed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CSTP_AUDIT_KEY", AUDIT_KEY.decode())
        for number, lines in enumerate(changed):
            file.write_bytes(b"".join(lines))
            if backend.verify_audit_file(file, Unseen()).is_whole:
                missed.append(number)
    assert missed == []


class Unseen:
    """Nobody watches."""

    def begin(self, total: int | None) -> None: ...

    def advance(self, events: int) -> None: ...


def test_what_is_no_export_is_said_to_be_none(run: Run, tmp_path: Path) -> None:
    """And what cannot be read or written, to be just that."""
    file = tmp_path / "file"
    for content in (b"", b"hello\n", b'{"line":"anchor"}\n'):
        file.write_bytes(content)
        for arguments in (("--file", str(file)), ("--kept", str(file))):
            done = run("audit", "verify", *arguments)
            assert (done.exit_code, done.stdout) == (1, "")
            assert f"error: `{file}`: it " in done.stderr
    assert "cannot be read" in run("audit", "verify", "--file", str(tmp_path / "none")).stderr
    assert "cannot be written" in run("audit", "export", "--output", str(tmp_path / "no" / "such")).stderr
    assert run("audit", "verify", "--file", str(file), "--since", "1d").exit_code == 2


def test_an_anchor_kept_elsewhere_shows_that_the_store_was_put_back(world: World, run: Run, tmp_path: Path) -> None:
    """A backup that is whole in itself lacks it."""
    backup = tmp_path / "backup.db"
    assert world.url.database is not None
    with sqlite3.connect(world.url.database) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    later = World(world.url.render_as_string(), world.policy)
    later.hand.time = 1_770_200_000_000
    later.check("e")
    later.close()
    kept = tmp_path / "anchors.jsonl"
    assert run("audit", "anchor", "--output", str(kept)).stdout == ""
    assert run("audit", "anchor").stdout == kept.read_text()
    assert run("audit", "anchor", "--output", str(kept)).exit_code == 0
    assert run("audit", "verify", "--kept", str(kept)).exit_code == 0
    old = {"DATABASE_URL": f"sqlite:///{backup}"}
    assert run("audit", "verify", **old).exit_code == 0
    done = run("audit", "verify", "--kept", str(kept), **old)
    assert done.exit_code == 1
    assert done.stdout.startswith("truncated: anchor ")


def test_commands_that_write_need_the_key_of_a_signed_record(run: Run) -> None:
    """What they write would look like somebody else's."""
    done = run("tokens", "create", "bot", "--role", "ci", CSTP_AUDIT_KEY="")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: the record of events is signed: set `CSTP_AUDIT_KEY` or `CSTP_AUDIT_KEY_FILE`, as for the service\n"
    assert run("tokens", "create", "bot", "--role", "ci").exit_code == 0
    assert run("tokens", "revoke", "bot").exit_code == 0
    told = json.loads(run("audit", "verify", "--json").stdout)
    assert (told["whole"], told["chains"]) == (True, 4)


def test_an_empty_record_has_no_anchor(run: Run, tmp_path: Path) -> None:
    """Which is said, and nothing printed."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert run("audit", "verify", DATABASE_URL=url).stderr.startswith("error: the database's schema is not the newest")
    assert run("db", "upgrade", DATABASE_URL=url).exit_code == 0
    assert run("audit", "anchor", DATABASE_URL=url).stderr == "error: nothing is on record yet\n"
    assert run("audit", "verify", DATABASE_URL=url).stdout == "whole: 0 events in 0 chains, 0 anchors\n"

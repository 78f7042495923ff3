"""The policy in force, and the watch over its files."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cstp_server.policy.problems import BadPolicy
from cstp_server.policy.watching import PolicyFile, watch
from tests.policy.writing import write

ONE = "guardrails: [{id: one}]\n"
TWO = "guardrails: [{id: two}]\n"


def test_a_reload_takes_the_new_policy(tmp_path: Path) -> None:
    """The policy is replaced as a whole; unchanged content leaves the very object in place."""
    path = write(tmp_path, ONE)
    held = PolicyFile(path)
    first = held.current
    write(tmp_path, f"# the same\n{ONE}")
    assert (held.reload(), held.current is first) == ((), True)
    write(tmp_path, TWO)
    assert held.reload() == ()
    assert [rule.id for rule in held.current.guardrails] == ["two"]


@pytest.mark.parametrize("text", ["guardrails: [{}]\n", "[", "", "circuit_breaker: []\n"])
def test_a_bad_file_keeps_the_old_policy(tmp_path: Path, text: str) -> None:
    """The problems are returned, and what was in force stays in force."""
    held = PolicyFile(write(tmp_path, ONE))
    first = held.current
    write(tmp_path, text)
    assert len(held.reload()) == 1
    assert held.current is first


def test_a_file_that_is_gone_keeps_the_old_policy(tmp_path: Path) -> None:
    """Also when nothing is there any more."""
    path = write(tmp_path, ONE)
    held = PolicyFile(path)
    path.unlink()
    assert [problem.message for problem in held.reload()] == ["there is no such file or folder"]
    assert [rule.id for rule in held.current.guardrails] == ["one"]


def test_there_is_no_start_without_a_good_policy(tmp_path: Path) -> None:
    """A service does not begin with a policy that it cannot read."""
    with pytest.raises(BadPolicy):
        PolicyFile(tmp_path / "none.yaml")


def _replace(folder: Path) -> None:
    write(folder, TWO, "new.tmp").rename(folder / "policy.yaml")


def _overwrite(folder: Path) -> None:
    write(folder, TWO + "# longer\n")


def _swap_link(folder: Path) -> None:
    """What a mounted ConfigMap does: `..data` is a link that is replaced by another."""
    after = folder / "..after"
    after.mkdir()
    write(after, TWO)
    link = folder / "..data_tmp"
    link.symlink_to("..after")
    link.rename(folder / "..data")


def _mount(folder: Path) -> None:
    before = folder / "..before"
    before.mkdir()
    write(before, ONE)
    (folder / "..data").symlink_to("..before")
    (folder / "policy.yaml").symlink_to("..data/policy.yaml")


def _write_plainly(folder: Path) -> None:
    write(folder, ONE)


CHANGES: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], bool]] = {
    "a file replaced by renaming": (_write_plainly, _replace, False),
    "a file written over": (_write_plainly, _overwrite, False),
    "a file in a folder": (_write_plainly, _overwrite, True),
    "a file replaced in a folder": (_write_plainly, _replace, True),
    "a mounted file": (_mount, _swap_link, False),
    "a mounted folder": (_mount, _swap_link, True),
}


@pytest.mark.parametrize(("prepare", "change", "whole_folder"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(tmp_path: Path, prepare: Callable[[Path], None], change: Callable[[Path], None], whole_folder: bool) -> None:
    """Whichever way the file comes to be another, the callback finds the new policy."""
    prepare(tmp_path)
    path = tmp_path if whole_folder else tmp_path / "policy.yaml"
    held = PolicyFile(path)

    async def scenario() -> list[str]:
        noticed = asyncio.Event()

        async def on_change() -> None:
            held.reload()
            noticed.set()

        watching = asyncio.create_task(watch(path, on_change))
        await asyncio.sleep(0.3)
        change(tmp_path)
        async with asyncio.timeout(20):
            await noticed.wait()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        return [rule.id for rule in held.current.guardrails]

    assert asyncio.run(scenario()) == ["two"]


def test_other_files_are_of_no_concern(tmp_path: Path) -> None:
    """A neighbour's change calls nobody; the policy's own change after it calls once for a burst."""
    path = write(tmp_path, ONE)
    calls: list[int] = []

    async def scenario() -> None:
        noticed, stop = asyncio.Event(), asyncio.Event()

        async def on_change() -> None:
            calls.append(1)
            noticed.set()

        watching = asyncio.create_task(watch(path, on_change, stop=stop))
        await asyncio.sleep(0.3)
        write(tmp_path, "x", "neighbour.db")
        await asyncio.sleep(1)
        assert calls == []
        for text in (TWO, ONE, TWO):
            write(tmp_path, text)
        async with asyncio.timeout(20):
            await noticed.wait()
        stop.set()
        await watching

    asyncio.run(scenario())
    assert len(calls) == 1

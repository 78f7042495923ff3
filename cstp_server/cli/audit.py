"""`cstp audit`: whether the record of events is what was written, and a copy of it that proves itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cstp_server.cli import exits
from cstp_server.cli.output import print_json, print_line, say, write_bytes
from cstp_server.cli.session import fail, operating
from cstp_server.cli.values import format_time, parse_since
from cstp_server.domain.anchors import Anchor
from cstp_server.services.audit_files import anchor_line
from cstp_server.services.audit_reports import AuditReport, Problem, Signatures

audit = typer.Typer(no_args_is_help=True, help="The record of events: whether it is whole, and copies that prove themselves.")
Since = Annotated[str | None, typer.Option(metavar="TIME", help="From then on: `2h` ago, a date, or an RFC 3339 time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@audit.command()
def verify(
    context: typer.Context,
    since: Since = None,
    file: Annotated[Path | None, typer.Option(help="An export to look through, in place of the database.")] = None,
    kept: Annotated[Path | None, typer.Option(help="Anchors kept elsewhere (`cstp audit anchor`, or an export) to compare with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look for events that were altered, dropped, reordered or slipped in. Exits 1 and names every bad place when there are any.

    Examples:

      cstp audit verify

      cstp audit verify --since 30d --kept anchors.jsonl

      cstp audit verify --file export.jsonl --json
    """
    if file is not None and (since is not None or kept is not None):
        raise typer.BadParameter("an export is looked through as a whole: leave `--since` and `--kept` out", param_hint="--file")
    start = _ms(since) if since is not None else None
    with operating(context) as backend, _progress("verifying") as progress:
        if file is not None:
            report = backend.verify_audit_file(file, progress)
        else:
            report = backend.verify_audit(since=start, kept=kept, progress=progress)
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    if not report.is_whole:
        raise typer.Exit(exits.FAILED)


@audit.command()
def export(
    context: typer.Context,
    since: Since = None,
    output: Annotated[Path | None, typer.Option(help="The file to write; standard output when left out.")] = None,
) -> None:
    """Write the record of events as JSON lines with their proofs, for `cstp audit verify --file`.

    Exits 1 when it cannot be proven, whatever is exported of it, and says why; the file is written all the same.

    Examples:

      cstp audit export --since 2026-01-01 --output export.jsonl

      cstp audit export --since 24h | gzip > yesterday.jsonl.gz
    """
    start = _ms(since) if since is not None else None
    with operating(context) as backend, _target(output) as write, _progress("exporting") as progress:
        report = backend.export_audit(since=start, write=write, progress=progress)
    say(f"{report.events} events")
    if not report.is_whole:
        for problem in report.problems:
            say(_in_words(problem))
        say(f"{_bad_places(report)}: the export is complete, and the record it was made of is not whole")
        raise typer.Exit(exits.FAILED)


@audit.command()
def anchor(
    context: typer.Context,
    output: Annotated[Path | None, typer.Option(help="A file to add it to; standard output when left out.")] = None,
) -> None:
    """Print the newest anchor. Kept where nobody who can write to the database can reach it, it shows that nothing before it is gone.

    Example:

      cstp audit anchor --output /mnt/elsewhere/anchors.jsonl
    """
    with operating(context) as backend:
        newest = backend.newest_anchor()
    if newest is None:
        fail("nothing is on record yet")
    with _target(output, "ab") as write:
        write(anchor_line(newest))


class _Bar:
    """A progress bar on standard error (`cli.backend.AuditProgress`)."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None)

    def begin(self, total: int | None) -> None:
        """There are about so many events to look at, as far as that is known."""
        self._progress.update(self._task, total=total)

    def advance(self, events: int) -> None:
        """So many more have been looked at."""
        self._progress.advance(self._task, events)


@contextmanager
def _progress(title: str) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Bar(progress, title)


@contextmanager
def _target(output: Path | None, mode: Literal["wb", "ab"] = "wb") -> Iterator[Callable[[bytes], object]]:
    if output is None:
        yield write_bytes
        return
    try:
        with output.open(mode) as file:
            yield file.write
    except OSError as error:
        fail(f"`{output}` cannot be written: {(error.strerror or 'the system refuses').lower()}")


def _ms(since: str) -> int:
    return int(datetime.fromisoformat(parse_since(since, "--since")).timestamp() * 1000)


def _print(report: AuditReport) -> None:
    for problem in report.problems:
        print_line(_in_words(problem), "red")
    more = report.problem_count - len(report.problems)
    if more:
        print_line(f"and {more} more")
    seen = f"{report.events} events in {report.chains} chains, {report.anchors} anchors"
    if report.is_whole:
        print_line(f"whole: {seen}", "green")
    else:
        print_line(f"{_bad_places(report)}: {seen}", "bold red")
    for note in _notes(report):
        say(f"note: {note}")


def _in_words(problem: Problem) -> str:
    return f"{problem.flaw.value.replace('_', ' ')}: {problem.message}"


def _bad_places(report: AuditReport) -> str:
    return f"{report.problem_count} bad {'place' if report.problem_count == 1 else 'places'}"


def _notes(report: AuditReport) -> Iterator[str]:
    if report.signatures is Signatures.NONE and report.anchors:
        yield "nothing is signed: without `CSTP_AUDIT_KEY` whoever can write to the database can also forge the whole record"
    elif report.signatures is Signatures.NOT_CHECKED:
        yield "signatures were not checked: set `CSTP_AUDIT_KEY` or `CSTP_AUDIT_KEY_FILE`"
    elif report.unsigned:
        yield f"{report.unsigned} anchors are from before signing began"
    if report.unanchored:
        yield f"{report.unanchored} events are newer than the last anchor of their chain: that they are all of them is not proven yet"
    if report.adopted:
        yield f"{report.adopted} chains were ended by another process, after their own had ended without a word"


def _as_json(report: AuditReport) -> dict[str, object]:
    return {
        "whole": report.is_whole,
        "events": report.events,
        "chains": report.chains,
        "anchors": report.anchors,
        "signatures": report.signatures.value,
        "unsignedAnchors": report.unsigned,
        "unanchoredEvents": report.unanchored,
        "adoptedChains": report.adopted,
        "newestAnchor": _anchor_as_json(report.newest) if report.newest is not None else None,
        "problemCount": report.problem_count,
        "problems": [_problem_as_json(problem) for problem in report.problems],
    }


def _anchor_as_json(anchor: Anchor) -> dict[str, object]:
    return {"number": anchor.number, "at": format_time(anchor.at), "seal": anchor.seal.hex()}


def _problem_as_json(problem: Problem) -> dict[str, object]:
    return {
        "flaw": problem.flaw.value,
        "message": problem.message,
        "chain": problem.chain,
        "position": problem.position,
        "eventId": problem.event_id,
        "anchor": problem.anchor,
    }

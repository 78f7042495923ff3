"""`cstp constraints`: hold a context against constraints, compare constraints, review installed dimensions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cstp_server.cli import exits
from cstp_server.cli.output import print_json, print_line, print_record, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_pairs
from cstp_server.domain.constraints import Interaction

if TYPE_CHECKING:
    from cstp_server.client import Dimension, DimensionCheck, Evaluation

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The dimension, as `cstp constraints dimensions` shows it.")]
Version = Annotated[str | None, typer.Option(metavar="TEXT", help="The version that was looked at; the installed one when left out.")]
Note = Annotated[str | None, typer.Option(help="A remark, for the record.")]
_STDIN = "-"
_FILE_PARTS = {"eval": ("constraints", "context"), "tighten": ("parent", "child")}

constraints = typer.Typer(no_args_is_help=True, help="What agents may spend, when, on what, with whom: evaluate, compare, review.")


def _file_option(parts: tuple[str, str]) -> Any:
    first, second = parts
    return typer.Option(metavar="PATH", help=f"A JSON file with `{first}` and `{second}`, or `-` for standard input; options go before it.")


@constraints.command("eval")
def eval_(
    context: typer.Context,
    constraint: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A bound, such as `cost_limit=1000`; JSON or text; may be repeated.")
    ] = None,
    context_: Annotated[
        list[str] | None, typer.Option("--context", metavar="KEY=VALUE", help="What to hold against it, such as `cost_used=500`; likewise.")
    ] = None,
    file: Annotated[str | None, _file_option(_FILE_PARTS["eval"])] = None,
    mode: Annotated[Interaction | None, typer.Option(help="What must pass: all, any, more than half, or the first.")] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose habits it counts for; the token's agent when left out, if it has one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a context is within constraints. Exits 3 when it is not.

    Examples:

      cstp constraints eval --constraint cost_limit=1000 --context cost_used=500

      cstp constraints eval --constraint 'resources=["data/**"]' --context resource_requested=data/users.json --agent refund-bot

      cstp constraints eval --file evaluation.json --mode disjunctive --json
    """
    wanted, known = _gather(_FILE_PARTS["eval"], (constraint, context_), ("--constraint", "--context"), file)
    if not wanted:
        raise typer.BadParameter("give at least one, such as `--constraint cost_limit=1000`, or a `--file`", param_hint="--constraint")
    with calling(context) as client:
        evaluation = client.evaluate_constraints(wanted, known, mode=mode, agent=agent)
    if as_json:
        print_json(evaluation.raw)
    else:
        _print_evaluation(evaluation)
    if not evaluation.satisfied:
        raise typer.Exit(exits.BLOCKED)


@constraints.command()
def tighten(
    context: typer.Context,
    parent: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A bound that holds already; JSON or text; may be repeated.")
    ] = None,
    child: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A bound that is to hold instead; likewise.")] = None,
    file: Annotated[str | None, _file_option(_FILE_PARTS["tighten"])] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether constraints only tighten those that they are handed on from. Exits 3 when they do not.

    Examples:

      cstp constraints tighten --parent cost_limit=100 --child cost_limit=50

      cstp constraints tighten --parent rate_limit=100/minute --child rate_limit=10/second && ./delegate
    """
    held, handed_on = _gather(_FILE_PARTS["tighten"], (parent, child), ("--parent", "--child"), file)
    if not held and not handed_on:
        raise typer.BadParameter("give at least one, such as `--parent cost_limit=100`, or a `--file`", param_hint="--parent")
    with calling(context) as client:
        answer = client.validate_tightening(held, handed_on)
    if as_json:
        print_json(answer.raw)
    elif answer.valid:
        print_line("valid", "green")
    else:
        print_line("LOOSER", "bold red")
        for violation in answer.violations:
            print_line(f"  {violation}")
    if not answer.valid:
        raise typer.Exit(exits.BLOCKED)


@constraints.command()
def dimensions(context: typer.Context, as_json: AsJson = False) -> None:
    """List the dimensions that constraints can have, and whether they may be used.

    Example:

      cstp constraints dimensions
    """
    with calling(context) as client:
        listed = client.list_dimensions()
    if as_json:
        print_json(listed.raw)
        return
    rows = [(found.name, found.version, found.status, found.reviewed_by, found.description) for found in listed.dimensions]
    print_table(("name", "version", "status", "reviewed by", "description"), rows, empty="there are no dimensions")


@constraints.command()
def approve(context: typer.Context, name: Name, version: Version = None, note: Note = None, as_json: AsJson = False) -> None:
    """Let an installed dimension be used; another version of it must be approved anew. Takes the role `admin`.

    Example:

      cstp constraints approve token_limit --version 1.0.0 --note "reads nothing but its own key"
    """
    with calling(context) as client:
        reviewed = client.approve_dimension(name, version=version, note=note)
    _print_dimension(reviewed, as_json)


@constraints.command()
def reject(context: typer.Context, name: Name, version: Version = None, note: Note = None, as_json: AsJson = False) -> None:
    """Let an installed dimension not be used: what it bounds then fails. Takes the role `admin`.

    Example:

      cstp constraints reject token_limit --note "it trusts what agents say of themselves"
    """
    with calling(context) as client:
        reviewed = client.reject_dimension(name, version=version, note=note)
    _print_dimension(reviewed, as_json)


def _gather(
    parts: tuple[str, str], pairs: tuple[Sequence[str] | None, Sequence[str] | None], options: tuple[str, str], file: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two mappings: what the file has, and over it what was typed."""
    read = _read(file, parts) if file is not None else {}
    first, second = (
        read.get(part, {}) | parse_pairs(typed or (), option) for part, typed, option in zip(parts, pairs, options, strict=True)
    )
    return first, second


def _read(file: str, parts: tuple[str, str]) -> dict[str, dict[str, Any]]:
    found = _parse(_text_of(file))
    first, second = parts
    wanted = f'should hold one object, such as `{{"{first}": {{"cost_limit": 1000}}, "{second}": {{…}}}}`'
    if not isinstance(found, dict):
        _refuse(wanted)
    unknown = next((name for name in found if name not in parts), None)
    if unknown is not None:
        _refuse(f"has `{unknown}`, and should have `{first}` and `{second}` alone")
    other = next((name for name, value in found.items() if not isinstance(value, dict)), None)
    if other is not None:
        _refuse(f"has a `{other}` that is no object")
    return found


def _text_of(file: str) -> str:
    try:
        content = typer.get_binary_stream("stdin").read() if file == _STDIN else Path(file).read_bytes()
        return content.decode("utf-8")
    except OSError as error:
        _refuse(f"`{file}` cannot be read: {(error.strerror or 'it is not there').lower()}")
    except UnicodeDecodeError:
        _refuse(f"`{file}` is no text in UTF-8")


def _parse(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        _refuse(f"has `{constant}`, which is no number in JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        _refuse(f"is no JSON{where}")


def _refuse(problem: str) -> NoReturn:
    raise typer.BadParameter(problem, param_hint="--file")


def _print_evaluation(evaluation: "Evaluation") -> None:
    print_line("satisfied" if evaluation.satisfied else "NOT SATISFIED", "green" if evaluation.satisfied else "bold red")
    for name, result in evaluation.results.items():
        print_line(f"  {'pass' if result.satisfied else 'FAIL'}  {name}: {result.reason}{_numbers(result)}")
    for flag in evaluation.anti_gaming_flags:
        print_line(f"  flag  {flag}", "yellow")


def _numbers(result: "DimensionCheck") -> str:
    if result.used is None or result.limit is None:
        return ""
    return f" ({result.used:.15g} of {result.limit:.15g})"


def _print_dimension(dimension: "Dimension", as_json: bool) -> None:
    if as_json:
        print_json(dimension.raw)
        return
    print_record(
        [
            ("name", dimension.name),
            ("version", dimension.version),
            ("description", dimension.description),
            ("status", dimension.status),
            ("reviewed by", dimension.reviewed_by),
            ("reviewed at", dimension.reviewed_at),
            ("note", dimension.note),
        ]
    )

"""`cstp pending`, `approve`, `deny`, `confirm`, `cancel`, `await`: decisions that wait for somebody."""

import math
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cstp_server.cli import exits
from cstp_server.cli.output import STYLES, print_json, print_line, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_duration

if TYPE_CHECKING:
    from cstp_server.client import Decision, Finding

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The decision, as `cstp pending` shows it.")]
Note = Annotated[str | None, typer.Option(help="A remark, for the record.")]


def pending(
    context: typer.Context,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Only this agent's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Only so many of the newest.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the decisions that wait, the most urgent first: for an approval, a confirmation, or the end of their cancel window.

    Examples:

      cstp pending

      cstp pending --agent refund-bot --json
    """
    with calling(context) as client:
        waiting = islice(client.list_decisions(status="pending", agent=agent, page_size=min(limit, 500)), limit)
        listed = sorted(waiting, key=_until)
    if as_json:
        print_json({"decisions": [decision.raw for decision in listed]})
        return
    rows = [
        (
            found.id,
            found.agent_id,
            found.pending.kind if found.pending is not None else None,
            found.pending.until if found.pending is not None else None,
            found.description,
            _why(found),
        )
        for found in listed
    ]
    print_table(("id", "agent", "waits for", "until", "description", "why"), rows, empty="no decision waits")


def approve(context: typer.Context, id: Id, note: Note = None, as_json: AsJson = False) -> None:
    """Let a decision go on. It is looked at again first, and exits 3 when something now stands against it.

    Example:

      cstp approve dec_01J9ZC3V5M --note "the customer was promised it"
    """
    _resolve(context, id, "approve", note, as_json)


def deny(context: typer.Context, id: Id, note: Note = None, as_json: AsJson = False) -> None:
    """Do not let a decision go on.

    Example:

      cstp deny dec_01J9ZC3V5M --note "ask the customer first"
    """
    _resolve(context, id, "deny", note, as_json)


def confirm(context: typer.Context, id: Id, note: Note = None, as_json: AsJson = False) -> None:
    """Say that the user has confirmed a decision. It is looked at again first, and exits 3 when something now stands against it.

    Example:

      cstp confirm dec_01J9ZC3V5M
    """
    _resolve(context, id, "confirm", note, as_json)


def cancel(context: typer.Context, id: Id, note: Note = None, as_json: AsJson = False) -> None:
    """Say that a decision is not wanted any more.

    Example:

      cstp cancel dec_01J9ZC3V5M
    """
    _resolve(context, id, "cancel", note, as_json)


def await_(
    context: typer.Context,
    id: Id,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long at most, such as `30s` or `10m`.")] = "30s",
    as_json: AsJson = False,
) -> None:
    """Wait until a decision is settled. Exits 3 when it may not go on, also when it still waits.

    Example:

      cstp await dec_01J9ZC3V5M --timeout 10m && ./refund
    """
    seconds = parse_duration(timeout, "--timeout") / 1000
    with calling(context) as client:
        answer = client.await_decision(id, timeout=seconds)
    if as_json:
        print_json(answer.raw)
    else:
        print_line(f"{answer.status}  {answer.id}", STYLES.get(answer.status))
        if answer.pending is not None:
            print_line(f"  waits for {answer.pending}")
        if answer.reason:
            print_line(f"  {answer.reason}")
    if not answer.allowed:
        raise typer.Exit(exits.BLOCKED)


def _resolve(
    context: typer.Context, id: str, resolution: Literal["approve", "deny", "cancel", "confirm"], note: str | None, as_json: bool
) -> None:
    with calling(context) as client:
        answer = client.resolve_decision(id, resolution, note=note)
    if as_json:
        print_json(answer.raw)
    else:
        print_line(f"{answer.status}  {answer.id}", STYLES.get(answer.status))
        for finding in answer.violations:
            _print_objection(finding)
    if resolution in ("approve", "confirm") and not answer.allowed:
        raise typer.Exit(exits.BLOCKED)


def _print_objection(finding: "Finding") -> None:
    print_line(f"  violation {finding.guardrail} ({finding.type}): {finding.message}")


def _until(decision: "Decision") -> float:
    until = decision.pending.until if decision.pending is not None else None
    return until.timestamp() if until is not None else math.inf


def _why(decision: "Decision") -> str | None:
    findings = decision.answer.violations if decision.answer is not None else ()
    return "; ".join(finding.message for finding in findings)

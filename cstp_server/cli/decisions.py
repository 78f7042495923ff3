"""`cstp check`, `review`, `decisions`, `decision`: ask, report, look back."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from cstp_server.cli import exits
from cstp_server.cli.output import Cell, print_json, print_line, print_record, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_pairs, parse_since
from cstp_server.domain.damage import DamageType
from cstp_server.domain.decisions import Outcome, Severity, Status
from cstp_server.domain.facts import Stakes

if TYPE_CHECKING:
    from cstp_server.client import Check, Decision, Finding, Pending

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def check(
    context: typer.Context,
    description: Annotated[str, typer.Argument(metavar="DESCRIPTION", help="What is about to be done, in words.")],
    type: Annotated[str | None, typer.Option(help="The kind of action, such as `issue_refund`.")] = None,
    category: Annotated[str | None, typer.Option(help="Such as `billing`.")] = None,
    stakes: Annotated[Stakes | None, typer.Option(help="How much is at risk; medium when left out.")] = None,
    confidence: Annotated[float | None, typer.Option(min=0, max=1, help="How sure the agent is.")] = None,
    ctq: Annotated[float | None, typer.Option(min=0, max=1, help="How good the reasoning is.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the action; JSON or text; may be repeated.")
    ] = None,
    context_: Annotated[
        list[str] | None, typer.Option("--context", metavar="KEY=VALUE", help="Something about its circumstances; likewise.")
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Who acts; the token's own agent when left out.")] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="For whom.")] = None,
    domain: Annotated[str | None, typer.Option(help="The user's domain.")] = None,
    decision_id: Annotated[str | None, typer.Option(metavar="ID", help="The same id twice is the same decision.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Evaluate and store nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask whether an action may go on. Exits 3 when it may not.

    Examples:

      cstp check "Refund order 1142" --type issue_refund --stakes high --param amount=1000

      cstp check "Deploy build 7" --category deployment --context codeReviewCompleted=true && ./deploy
    """
    parameters = parse_pairs(param or (), "--param")
    circumstances = parse_pairs(context_ or (), "--context")
    with calling(context) as client:
        answer = client.check(
            description,
            type=type,
            category=category,
            stakes=stakes,
            confidence=confidence,
            tags=tag or (),
            parameters=parameters,
            context=circumstances,
            agent=agent,
            user=user,
            domain=domain,
            ctq=ctq,
            decision_id=decision_id,
            dry_run=dry_run,
        )
    if as_json:
        print_json(answer.raw)
    else:
        _print_answer(answer)
    if not answer.allowed:
        raise typer.Exit(exits.BLOCKED)


def review(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="The decision.")],
    outcome: Annotated[Outcome, typer.Argument(metavar="OUTCOME", help="How it turned out: success, partial, failure or abandoned.")],
    severity: Annotated[Severity | None, typer.Option(help="How bad a failure was; medium when left out.")] = None,
    error_type: Annotated[str | None, typer.Option(help="Such as `Timeout`.")] = None,
    damage_type: Annotated[
        DamageType | None, typer.Option(case_sensitive=False, help="What a failure did to the user's trust; wrong_answer when left out.")
    ] = None,
    user_explicit: Annotated[bool, typer.Option("--user-explicit", help="The user said so.")] = False,
    notes: Annotated[str | None, typer.Option(help="For the record.")] = None,
    amend: Annotated[bool, typer.Option("--amend", help="Correct an earlier review; takes the role `ops`.")] = False,
    as_json: AsJson = False,
) -> None:
    """Report how a decision turned out.

    Examples:

      cstp review dec_01J9ZC3V5M success

      cstp review dec_01J9ZC3V5M failure --severity high --error-type Timeout
    """
    with calling(context) as client:
        answer = client.review(
            id,
            outcome,
            severity=severity,
            error_type=error_type,
            damage_type=damage_type,
            user_explicit=user_explicit or None,
            notes=notes,
            amend=amend,
        )
    if as_json:
        print_json(answer.raw)
        return
    print_line(f"{answer.id}: {answer.outcome}{' (already on record)' if answer.duplicate else ''}")
    moved = [(move.scope, move.previous_state, move.state, move.failure_count) for move in answer.circuits]
    if moved:
        print_table(("circuit", "from", "to", "failures"), moved, empty="")


def decisions(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Where they are in their life.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Whose.")] = None,
    category: Annotated[str | None, typer.Option(help="Of which category.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="How they turned out.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From then on: `2h` ago, a date, or an RFC 3339 time.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List decisions, newest first; one that was reviewed shows its outcome as its status.

    Examples:

      cstp decisions --status blocked --since 2h

      cstp decisions --agent refund-bot --outcome failure --json
    """
    start = parse_since(since, "--since") if since is not None else None
    with calling(context) as client:
        matching = client.list_decisions(
            status=status, agent=agent, category=category, outcome=outcome, since=start, page_size=min(limit, 500)
        )
        listed = list(islice(matching, limit))
    if as_json:
        print_json({"decisions": [decision.raw for decision in listed]})
        return
    rows = [(found.id, found.created_at, found.outcome or found.status, found.agent_id, found.description) for found in listed]
    print_table(("id", "at", "status", "agent", "description"), rows, empty="no decision matches")


def decision(
    context: typer.Context, id: Annotated[str, typer.Argument(metavar="ID", help="The decision.")], as_json: AsJson = False
) -> None:
    """Show one decision, and what the guards said of it.

    Example:

      cstp decision dec_01J9ZC3V5M
    """
    with calling(context) as client:
        found = client.get_decision(id)
    if as_json:
        print_json(found.raw)
        return
    print_record(
        [
            ("id", found.id),
            ("description", found.description),
            ("status", found.status),
            ("intervention", found.intervention),
            ("outcome", found.outcome),
            *_reviewed(found),
            ("at", found.created_at),
            ("agent", found.agent_id),
            ("type", found.type),
            ("category", found.category),
            ("stakes", found.stakes),
            ("source", found.source),
            ("waits for", str(found.pending) if found.pending is not None else None),
            *_settled(found),
        ]
    )
    if found.answer is not None:
        _print_reasons(found.answer)


def _reviewed(decision: "Decision") -> list[tuple[str, Cell]]:
    review = decision.review
    if review is None:
        return []
    return [
        ("severity", review.severity if review.outcome == "failure" else None),
        ("error type", review.error_type),
        ("notes", review.notes),
        ("reviewed by", f"{review.reviewed_by} (the agent itself)" if review.self_reported else review.reviewed_by),
        ("reviewed at", review.reviewed_at),
    ]


def _settled(decision: "Decision") -> list[tuple[str, Cell]]:
    resolution = decision.resolution
    if resolution is None:
        return []
    return [
        ("settled as", resolution.status),
        ("by", resolution.by),
        ("settled at", resolution.at),
        ("because", resolution.reason),
        ("note", resolution.note),
    ]


def _print_answer(answer: "Check") -> None:
    from cstp_server.client import describe_remedy  # noqa: PLC0415 - loaded by now; see `session.calling`

    style = "green" if answer.allowed else "bold red"
    print_line(f"{answer.intervention if answer.allowed else answer.intervention.upper()}  {answer.decision_id or '(dry run)'}", style)
    _print_reasons(answer)
    if answer.pending is not None:
        print_line(f"  waits for {answer.pending}")
        _print_next_step(answer.pending)
    for remedy in answer.remedies:
        print_line(f"  would pass: {describe_remedy(remedy)}")
    for probe in answer.probes:
        print_line(f"  probe of {probe.scope}: report its outcome with `cstp review`")


_NEXT_STEPS = {"approval": "approve", "confirmation": "confirm", "cancel_window": "cancel"}


def _print_next_step(pending: "Pending") -> None:
    command = _NEXT_STEPS.get(pending.kind)
    if command is not None and pending.decision_id is not None:
        print_line(f"    cstp {command} {pending.decision_id}; cstp await {pending.decision_id}")


def _print_reasons(answer: "Check") -> None:
    for kind, findings in (("violation", answer.violations), ("warning", answer.warnings), ("shadow", answer.shadow)):
        for finding in findings:
            _print_finding(kind, finding)


def _print_finding(kind: str, finding: "Finding") -> None:
    severity = f"{finding.tripwire_severity} " if finding.tripwire_severity is not None else ""
    print_line(f"  {kind} {finding.guardrail} ({severity}{finding.type}): {finding.message}")
    if finding.suggestion:
        print_line(f"    {finding.suggestion}")

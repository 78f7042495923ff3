"""`cstp posture`: how much autonomy agents have, and who moved them."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cstp_server.cli import exits
from cstp_server.cli.output import STYLES, print_json, print_line, print_record, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_pairs

if TYPE_CHECKING:
    from cstp_server.client import Earnable, PostureChange, PostureTransition

PostureName = Literal["full_autonomy", "assisted", "supervised", "human_decides", "blocked"]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Agent = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]

posture = typer.Typer(no_args_is_help=True, help="How much autonomy agents have: look, move, block.")


@posture.command()
def show(context: typer.Context, agent: Agent, as_json: AsJson = False) -> None:
    """Show an agent's posture, who gave it that, and how its record stands.

    Example:

      cstp posture show refund-bot
    """
    with calling(context) as client:
        found = client.get_posture(agent)
    if as_json:
        print_json(found.raw)
        return
    print_record(
        [
            ("agent", found.agent_id),
            ("posture", found.posture),
            ("level", f"{found.level} of 5"),
            ("since", found.since),
            ("by", found.set_by),
            ("because", found.reason),
            ("restored to", found.original_posture),
            ("trust score", found.trust_score),
            ("reviewed", found.reviewed),
            ("review coverage", f"{100 * found.review_coverage:.3g}%"),
            ("can earn", _earnable(found.earned)),
        ]
    )


@posture.command("set")
def set_(
    context: typer.Context,
    agent: Agent,
    to: Annotated[PostureName, typer.Argument(metavar="POSTURE", help="From doing all by itself to doing nothing.")],
    reason: Reason,
    from_: Annotated[
        PostureName | None, typer.Option("--from", metavar="POSTURE", help="What it is now; nothing is moved when it is not.")
    ] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What guards may ask about; JSON or text; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move an agent to another posture. Exits 3 when a guard refuses it.

    Examples:

      cstp posture set refund-bot assisted --reason "reliable over 30 days"

      cstp posture set refund-bot full_autonomy --from assisted --meta security_approved=true --reason "ticket 42"
    """
    metadata = parse_pairs(meta or (), "--meta")
    with calling(context) as client:
        change = client.transition_posture(agent, to, reason=reason, from_posture=from_, metadata=metadata)
    _print_change(change, as_json)
    if not change.success:
        raise typer.Exit(exits.BLOCKED)


@posture.command()
def block(context: typer.Context, agent: Agent, reason: Reason, as_json: AsJson = False) -> None:
    """Block an agent at once, past all guards: the emergency stop. Nothing that it has waiting goes on while it is blocked.

    Example:

      cstp posture block refund-bot --reason "anomalous behaviour"
    """
    with calling(context) as client:
        change = client.emergency_downgrade(agent, reason=reason)
    _print_change(change, as_json)


@posture.command()
def history(
    context: typer.Context,
    agent: Agent,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who tried to move an agent, when and why; refused attempts too.

    Example:

      cstp posture history refund-bot --limit 10
    """
    with calling(context) as client:
        past = client.posture_history(agent, limit=limit)
    if as_json:
        print_json(past.raw)
        return
    rows = [
        (move.timestamp, move.from_posture, move.to_posture, move.transition_type, move.actor, move.reason, _refusal(move))
        for move in past.transitions
    ]
    print_table(("at", "from", "to", "type", "by", "reason", "refused by"), rows, empty=f"nobody has tried to move `{agent}`")


def _print_change(change: "PostureChange", as_json: bool) -> None:
    if as_json:
        print_json(change.raw)
        return
    move = f"{change.agent_id}: {change.from_posture} -> {change.to_posture} ({change.transition_type})"
    if change.success:
        print_line(move, STYLES.get(change.to_posture))
        return
    print_line(f"REFUSED  {move}", "bold red")
    print_line(f"  {change.blocked_by or 'a guard'}: {change.reason}")


def _refusal(move: "PostureTransition") -> str | None:
    if move.success:
        return None
    return f"{move.blocked_by}: {move.refusal}" if move.refusal else move.blocked_by


def _earnable(earned: "Earnable | None") -> str | None:
    if earned is None:
        return None
    needed = earned.successes_needed
    if needed is None:
        return f"{earned.to_posture}, and no number of successes is enough by itself"
    return f"{earned.to_posture}, with {needed} more reviewed success{'' if needed == 1 else 'es'}"

"""`cstp tripwires`: which limits are run into, and by whom."""

from typing import TYPE_CHECKING, Annotated

import typer

from cstp_server.cli.output import print_json, print_line, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_since

if TYPE_CHECKING:
    from cstp_server.client import TripwireHits


def tripwires(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From then on: `7d` ago, a date, or an RFC 3339 time.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Only hits of this agent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the tripwires that were run into, the most often first.

    Examples:

      cstp tripwires --since 7d

      cstp tripwires --agent refund-bot --json
    """
    start = parse_since(since, "--since") if since is not None else None
    with calling(context) as client:
        stats = client.tripwire_stats(since=start, agent=agent)
    if as_json:
        print_json(stats.raw)
        return
    rows = [(wire.name, wire.severity, _hits(wire), wire.last_hit, _agents(wire)) for wire in stats.tripwires]
    print_table(("tripwire", "severity", "hits", "last hit", "agents"), rows, empty="no tripwire was run into")
    if rows:
        print_line(f"{stats.total} in all")


def _hits(wire: "TripwireHits") -> str:
    return f"{wire.hits} (+{wire.shadow_hits} shadow)" if wire.shadow_hits else str(wire.hits)


def _agents(wire: "TripwireHits") -> list[str]:
    return [f"{agent} ({hits})" for agent, hits in wire.agents.items()]

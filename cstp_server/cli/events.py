"""`cstp events`: what happened."""

import json
from itertools import islice
from typing import Annotated

import typer

from cstp_server.cli.output import print_json, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_since


def events(
    context: typer.Context,
    type: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="Such as `circuit.opened`, or `circuit.*` for all of a kind; may be repeated.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="What it happened to: a decision, a circuit's scope, an agent, a token.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From then on: `2h` ago, a date, or an RFC 3339 time.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List events, newest first.

    Examples:

      cstp events --type "circuit.*" --since 1d

      cstp events --subject refund-77 --json
    """
    start = parse_since(since, "--since") if since is not None else None
    with calling(context) as client:
        matching = client.list_events(types=type, subject=subject, since=start, page_size=min(limit, 500))
        listed = list(islice(matching, limit))
    if as_json:
        print_json({"events": [event.raw for event in listed]})
        return
    rows = [(event.at, event.type, event.subject, event.actor, json.dumps(event.data, ensure_ascii=False)) for event in listed]
    print_table(("at", "type", "subject", "actor", "data"), rows, empty="no event matches")

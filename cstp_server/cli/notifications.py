"""`cstp notifications`: what people are told, and what did not reach them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cstp_server.cli.output import print_json, print_table, say
from cstp_server.cli.session import fail, operating
from cstp_server.cli.values import format_time

if TYPE_CHECKING:
    from cstp_server.services.notifying import Letter

notifications = typer.Typer(no_args_is_help=True, help="What people are told of, and what has not reached them.")


@notifications.command("list")
def list_(
    context: typer.Context,
    dead: Annotated[bool, typer.Option("--dead", help="Only what was given up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, the oldest first.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the alerts that wait to be sent, and those that were given up. What was sent is not listed: it is in the record of events.

    Examples:

      cstp notifications list

      cstp notifications list --dead --json
    """
    with operating(context) as backend:
        letters = list(backend.list_notifications(dead=dead, limit=limit))
    if as_json:
        print_json([_as_json(letter) for letter in letters])
        return
    rows = [
        (letter.id, _status(letter), letter.channel, letter.type, letter.subject, format_time(letter.at), letter.attempts, letter.error)
        for letter in letters
    ]
    empty = "nothing was given up" if dead else "nothing waits, and nothing was given up"
    print_table(("id", "status", "channel", "event", "subject", "since", "attempts", "error"), rows, empty=empty)


@notifications.command()
def retry(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(metavar="ID", help="The alert, as `list` shows it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
) -> None:
    """Send what was given up after all: one alert, on every channel where it is, or all of them. The service does it within seconds.

    Examples:

      cstp notifications retry evt_01JZZZZZZZZZZZZZZZZZZZZZZ1.0000

      cstp notifications retry --all
    """
    if (id is None) == (not everything):
        raise typer.BadParameter("give an id, or `--all`", param_hint="ID")
    with operating(context) as backend:
        count = backend.retry_notifications(id)
    if id is not None and not count:
        fail(f"there is no alert `{id}` in the outbox: `cstp notifications list` shows what is")
    say(f"{count} {'is' if count == 1 else 'are'} sent again")


@notifications.command("test")
def try_(
    context: typer.Context,
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's name in the policy.")],
    config: Annotated[Path | None, typer.Option(help="The policy; default as for `cstp serve`.")] = None,
) -> None:
    """Send a test message on a channel, from here and at once: with the policy and the variables that this command sees.

    Example:

      cstp notifications test ops
    """
    with operating(context) as backend:
        backend.test_notification(channel, config=config)
    say(f"channel `{channel}` took the message")


def _status(letter: "Letter") -> str:
    return "waiting" if letter.dead_at is None else "given up"


def _as_json(letter: "Letter") -> dict[str, object]:
    return {
        "id": letter.id,
        "status": "waiting" if letter.dead_at is None else "dead",
        "tenant": letter.tenant,
        "channel": letter.channel,
        "type": letter.type,
        "subject": letter.subject,
        "at": format_time(letter.at),
        "attempts": letter.attempts,
        "deadAt": format_time(letter.dead_at) if letter.dead_at is not None else None,
        "error": letter.error,
    }

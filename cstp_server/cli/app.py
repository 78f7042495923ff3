"""The command line put together."""

from pathlib import Path
from typing import Annotated

import typer

from cstp_server import __version__
from cstp_server.cli import (
    audit,
    circuits,
    constraints,
    decisions,
    events,
    exits,
    metrics,
    notifications,
    policies,
    postures,
    rules,
    server,
    tokens,
    tools,
    tripwires,
    trust,
    waiting,
)
from cstp_server.cli.session import Session, Wiring
from cstp_server.cli.usage import Commands

_DEFAULT_URL = "http://127.0.0.1:8787"
_CALLS = "Calls to a server"
_LOCAL = "On the server's machine"

app = typer.Typer(
    name="cstp",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=exits.HELP,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="CSTP_URL", help="The server to call.")] = _DEFAULT_URL,
    token: Annotated[
        str | None, typer.Option(envvar="CSTP_TOKEN", help="Who calls. Prefer the variable or --token-file: others see arguments.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, readable=True, help="A file that holds the token.")
    ] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Governance for AI agents: ask before acting, report how it went, watch over the circuit breakers.

    Examples:

      cstp serve

      cstp check "Deploy build 7" --category deployment --stakes high

      cstp --url https://cstp.example.org --token-file ~/.cstp-token circuits --state open
    """
    context.obj = Session(context.obj, url, _token(context, token, token_file))


def _token(context: typer.Context, token: str | None, token_file: Path | None) -> str | None:
    """The token of the file when one is named, which the variable does not overrule."""
    if token_file is None:
        return token or None
    source = context.get_parameter_source("token")
    if token is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("give `--token` or `--token-file`, not both", param_hint="--token-file")
    try:
        return token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter("holds no token that can be read", param_hint="--token-file") from None


app.command(rich_help_panel=_LOCAL)(server.serve)
app.add_typer(server.database, name="db", rich_help_panel=_LOCAL)
app.add_typer(policies.policy, name="policy", rich_help_panel=_LOCAL)
app.add_typer(notifications.notifications, name="notifications", rich_help_panel=_LOCAL)
app.add_typer(tokens.tokens, name="tokens", rich_help_panel=_LOCAL)
app.add_typer(audit.audit, name="audit", rich_help_panel=_LOCAL)
for command in (
    decisions.check,
    decisions.review,
    decisions.decisions,
    decisions.decision,
    waiting.pending,
    waiting.approve,
    waiting.deny,
    waiting.confirm,
    waiting.cancel,
    waiting.await_,
    circuits.circuits,
    circuits.state,
    circuits.history,
    circuits.reset,
    circuits.trip,
    tripwires.tripwires,
    events.events,
    metrics.metrics,
    rules.guardrails,
    rules.reload,
    tools.mcp,
):
    app.command(command.__name__.rstrip("_"), rich_help_panel=_CALLS)(command)
app.add_typer(postures.posture, name="posture", rich_help_panel=_CALLS)
app.add_typer(trust.trust, name="trust", rich_help_panel=_CALLS)
app.add_typer(constraints.constraints, name="constraints", rich_help_panel=_CALLS)


def run(wiring: Wiring) -> None:
    """Carry out the command that the process was started with."""
    app(obj=wiring, prog_name="cstp")

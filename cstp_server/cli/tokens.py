"""`cstp tokens`: who may call the service."""

from typing import Annotated

import typer

from cstp_server.cli.output import print_json, print_table, say
from cstp_server.cli.session import fail, operating
from cstp_server.cli.values import format_time, parse_duration, parse_name
from cstp_server.clock import SystemClock
from cstp_server.domain.callers import DEFAULT_TENANT, Role
from cstp_server.services.tokens import TokenInfo

tokens = typer.Typer(no_args_is_help=True, help="Who may call the service; changes take effect at once.")


@tokens.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The principal: who acts with it.")],
    role: Annotated[list[Role], typer.Option(help="What it may do; may be repeated.")],
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Bind it to one agent.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose decisions and circuits it sees.")] = DEFAULT_TENANT,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long it lasts, such as `12h` or `30d`; for ever when left out.")
    ] = None,
) -> None:
    """Make a token and print it, alone, on standard output. It is not shown again.

    Examples:

      cstp tokens create refund-bot --role agent --agent refund-bot

      CSTP_TOKEN=$(cstp tokens create pipeline --role ci --expires 30d)
    """
    for value, hint in ((name, "NAME"), (agent, "--agent"), (tenant, "--tenant")):
        if value is not None:
            parse_name(value, hint)
    lifetime_ms = parse_duration(expires, "--expires") if expires is not None else None
    with operating(context) as backend:
        token = backend.create_token(name=name, roles=tuple(dict.fromkeys(role)), tenant=tenant, agent_id=agent, expires_in_ms=lifetime_ms)
    typer.echo(token)
    roles = ", ".join(dict.fromkeys(role))
    say(f"token `{name}`: {roles}; tenant `{tenant}`; expires {f'in {expires}' if expires else 'never'}; it is not shown again")


@tokens.command("list")
def list_(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the tokens, without their secrets.

    Example:

      cstp tokens list
    """
    with operating(context) as backend:
        listed = list(backend.list_tokens())
    now = SystemClock().now()
    if as_json:
        print_json([_as_json(token, now) for token in listed])
        return
    rows = [
        (
            token.name,
            _status(token, now),
            tuple(token.roles),
            token.tenant,
            token.agent_id,
            format_time(token.created_at),
            _time(token.expires_at),
        )
        for token in listed
    ]
    print_table(
        ("name", "status", "roles", "tenant", "agent", "created", "expires"), rows, empty="no tokens: make one with `cstp tokens create`"
    )


@tokens.command()
def revoke(context: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="The token's name.")]) -> None:
    """Revoke a token, at once and for good.

    Example:

      cstp tokens revoke pipeline
    """
    with operating(context) as backend:
        revoked = backend.revoke_token(name)
    if not revoked:
        fail(f"there is no token `{name}` in force: `cstp tokens list` shows them")
    say(f"token `{name}` is revoked")


def _status(token: TokenInfo, now: int) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "active"


def _time(at: int | None) -> str | None:
    return format_time(at) if at is not None else None


def _as_json(token: TokenInfo, now: int) -> dict[str, object]:
    return {
        "name": token.name,
        "status": _status(token, now),
        "roles": [role.value for role in token.roles],
        "tenant": token.tenant,
        "agentId": token.agent_id,
        "createdAt": format_time(token.created_at),
        "expiresAt": _time(token.expires_at),
        "revokedAt": _time(token.revoked_at),
    }

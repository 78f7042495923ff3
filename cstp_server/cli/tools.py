"""`cstp mcp`: the service as tools, for the programs that people run agents in."""

import typer

from cstp_server.cli.session import Session


def mcp(context: typer.Context) -> None:
    """Offer a server's tools to an MCP client, over standard input and output.

    Put it into the client's configuration, with `CSTP_URL` and `CSTP_TOKEN`; by hand it only waits for messages.

    Example:

      CSTP_URL=https://cstp.example.org CSTP_TOKEN=… cstp mcp
    """
    session: Session = context.obj
    try:
        session.wiring.tools(session.url, session.token)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url or --token") from None

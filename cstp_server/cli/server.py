"""`cstp serve` and `cstp db`: what runs on the server's own machine."""

from pathlib import Path
from typing import Annotated

import typer

from cstp_server.cli import exits
from cstp_server.cli.output import print_json, print_line, say
from cstp_server.cli.session import fail, operating

database = typer.Typer(no_args_is_help=True, help="The database's schema.")


def serve(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Policy file or folder; `config/` when nothing is set.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 when nothing is set.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 8787 when nothing is set.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Processes that share the port; 1 when nothing is set.")] = None,
) -> None:
    """Run the service.

    Examples:

      cstp serve

      cstp serve --config policies/ --host 0.0.0.0 --port 8787 --workers 4
    """
    with operating(context) as backend:
        backend.serve(config=config, host=host, port=port, workers=workers)


@database.command()
def upgrade(context: typer.Context) -> None:
    """Bring the database to the newest schema and print its revision.

    Example:

      DATABASE_URL=postgresql://localhost/cstp cstp db upgrade
    """
    with operating(context) as backend:
        print_line(backend.upgrade())


@database.command()
def current(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the database's revision; exit 1 when it is not the newest.

    Example:

      cstp db current || cstp db upgrade
    """
    with operating(context) as backend:
        revision, head = backend.current()
    if as_json:
        print_json({"current": revision, "head": head})
    else:
        print_line(revision if revision is not None else "none")
    if revision == head:
        return
    if as_json:
        raise typer.Exit(exits.FAILED)
    say(f"the newest schema is `{head}`")
    fail("the database is not at the newest schema: run `cstp db upgrade`")

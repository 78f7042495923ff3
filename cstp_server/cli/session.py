"""What every command is given: the way to the server over HTTP, and the way to the backend on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from cstp_server.cli import exits
from cstp_server.cli.backend import Backend, BackendError
from cstp_server.cli.output import say
from cstp_server.domain.values import dataclass

if TYPE_CHECKING:
    from cstp_server.client import Client


@dataclass(frozen=True, slots=True)
class Wiring:
    """What `__main__` hands to the commands: how to get a backend, made only when one is needed, and how to serve a server's tools.

    `tools` takes the url and the token, and raises `ValueError` when one of them cannot be.
    """

    backend: Callable[[], Backend]
    tools: Callable[[str, str | None], None]


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line."""

    wiring: Wiring
    url: str
    token: str | None


_ANONYMOUS = "the server wants a token: `export CSTP_TOKEN=…`, or name a file with `--token-file`; `cstp tokens create` makes one"


@contextmanager
def calling(context: typer.Context) -> "Iterator[Client]":
    """A client for the server; what goes wrong with a call ends the command with its exit code."""
    # the HTTP stack takes longer to load than everything else together, and help and the backend's commands do without it
    from cstp_server.client import Client, CstpError, Retry, Unauthorized, Unreachable  # noqa: PLC0415

    session: Session = context.obj
    try:
        client = Client(session.url, session.token, retry=Retry(attempts=4, total_ms=5_000))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url or --token") from None
    try:
        with client:
            yield client
    except Unreachable as error:
        fail(f"`{session.url}`: {error}", exits.UNREACHABLE)
    except Unauthorized as error:
        fail(str(error) if session.token is not None else _ANONYMOUS, exits.UNAUTHENTICATED)
    except CstpError as error:
        fail(str(error))


@contextmanager
def operating(context: typer.Context) -> Iterator[Backend]:
    """The backend; what it cannot do ends the command."""
    session: Session = context.obj
    try:
        yield session.wiring.backend()
    except BackendError as error:
        fail(str(error))


def fail(message: str, code: int = exits.FAILED) -> NoReturn:
    """End the command: the reason on standard error, and the exit code."""
    say(f"error: {message}")
    raise typer.Exit(code)

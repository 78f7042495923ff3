"""The entry point: `cstp`, or `python -m cstp_server`."""

from cstp_server.cli.app import run
from cstp_server.cli.backend import Backend
from cstp_server.cli.session import Wiring


def main() -> None:
    """Carry out a command."""
    run(Wiring(_server_backend, _serve_tools))


def _server_backend() -> Backend:
    # the server takes a second to load, and only the commands that run it or look into its database need it
    from cstp_server.backend import ServerBackend  # noqa: PLC0415

    return ServerBackend()


def _serve_tools(url: str, token: str | None) -> None:
    # the protocol's SDK takes a second to load
    from cstp_server.mcp.stdio import serve  # noqa: PLC0415

    serve(url, token)


if __name__ == "__main__":
    main()

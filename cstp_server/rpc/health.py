"""What operators and other agents ask over plain HTTP (SPEC 2)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cstp_server import __doc__ as description
from cstp_server import __version__
from cstp_server.census import Census
from cstp_server.metrics import Metrics

Endpoint = Callable[[Request], Awaitable[Response]]


class Readiness(Protocol):
    """Knows whether the service can do its work."""

    async def report(self) -> Mapping[str, bool]:
        """What it takes, by name (`store`, `migrations`, `policy`), and whether it is there."""
        ...


async def health(_request: Request) -> Response:
    """The process is up."""
    return JSONResponse({"status": "ok", "version": __version__})


def ready(readiness: Readiness) -> Endpoint:
    """Whether the service can do its work, and what is missing."""

    async def answer(_request: Request) -> Response:
        report = dict(await readiness.report())
        missing = [name for name, there in report.items() if not there]
        body = {"status": "ready" if not missing else "not ready", "checks": report, "missing": missing}
        return JSONResponse(body, 200 if not missing else 503)

    return answer


def measured(metrics: Metrics, census: Census) -> Endpoint:
    """The metrics, for Prometheus."""

    async def answer(_request: Request) -> Response:
        body, content_type = metrics.render(await census.latest())
        return Response(body, media_type=content_type)

    return answer


def agent_card(methods: tuple[str, ...]) -> Endpoint:
    """How other agents find this service and what it does."""

    async def answer(request: Request) -> Response:
        return JSONResponse(
            {
                "name": "cstp-server",
                "description": description,
                "version": __version__,
                "url": str(request.base_url).rstrip("/"),
                "endpoint": "/cstp",
                "capabilities": {
                    "cstp": {"version": "1.0", "methods": list(methods)},
                    "mcp": {"endpoint": "/mcp", "transport": "streamable-http"},
                },
                "authentication": {"schemes": ["bearer"]},
            }
        )

    return answer

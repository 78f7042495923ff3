"""The yardstick: a route that takes the same bodies and does nothing, under the service's own server settings."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def answer(request: Request) -> JSONResponse:
    """Parse the body, as any service must, and answer with a little JSON."""
    call = await request.json()
    return JSONResponse({"jsonrpc": "2.0", "id": call["id"], "result": {"allowed": True}})


def serve(port: int) -> None:
    """Serve until told to end."""
    uvicorn.run(
        Starlette(routes=[Route("/cstp", answer, methods=["POST"])]),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        server_header=False,
        date_header=False,
        log_config=None,
        proxy_headers=False,
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))

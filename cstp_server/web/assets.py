"""The style sheet, the script and the sign of the dashboard: read once, named by their content, kept by browsers."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cstp_server.web.headers import secured

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """A file as it is served."""

    content: bytes
    kind: str
    mark: str


def _read() -> Mapping[str, Asset]:
    found = {}
    for file in files("cstp_server.web").joinpath("static").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = Asset(content, kind, hashlib.sha256(content).hexdigest()[:16])
    return found


_ASSETS = _read()


def asset(name: str) -> str:
    """The address of a file, another one whenever it changes."""
    return f"/static/{name}?v={_ASSETS[name].mark}"


async def serve(request: Request) -> Response:
    """One file."""
    found = _ASSETS.get(request.path_params["name"])
    if found is None:
        return secured(PlainTextResponse("Not Found", 404))
    is_marked = request.query_params.get("v") == found.mark
    return secured(Response(found.content, media_type=found.kind, headers={"cache-control": _FOR_EVER if is_marked else "no-cache"}))

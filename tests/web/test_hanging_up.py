"""Whoever hangs up while sending a form has not met a fault of ours."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message
from structlog.testing import capture_logs

from cstp_server.web.access import kept_inside
from cstp_server.web.forms import read_form
from tests.web.loops import run_aside


def test_a_form_that_never_arrives_is_no_fault() -> None:
    """Nothing is logged, and nothing is raised."""
    parts: list[Message] = [{"type": "http.request", "body": b"token=", "more_body": True}, {"type": "http.disconnect"}]
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]

    async def receive() -> Message:
        return parts.pop(0)

    async def endpoint(request: Request) -> Response:
        await read_form(request)
        raise AssertionError

    request = Request({"type": "http", "method": "POST", "path": "/sign-in", "headers": headers, "query_string": b""}, receive)
    with capture_logs() as told:
        answer = run_aside(_answer(endpoint, request))
    assert answer.status_code == 400
    assert told == []


async def _answer(endpoint: object, request: Request) -> Response:
    return await kept_inside(endpoint)(request)  # type: ignore[arg-type]

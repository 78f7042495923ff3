"""Addresses at which nothing is: a page for people, a line for programs."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cstp_server.web.access import failure_page
from cstp_server.web.headers import secured

_SAID = {
    404: "there is no page at this address",
    405: "this address only takes what a form sends: begin at the page of what it is about",
}


async def nowhere(request: Request, problem: Exception) -> Response:
    """What the router says of an address that it does not know, or that is not for this method."""
    if not isinstance(problem, HTTPException):
        raise problem
    message = _SAID.get(problem.status_code)
    if message is None or "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(problem.detail, problem.status_code, problem.headers)
    response = failure_page(request, problem.status_code, message)
    response.headers.update(problem.headers or {})
    return secured(response)

"""The cookie of a session: out of reach of scripts and of other sites, and of plain HTTP wherever the browser speaks HTTPS."""

from starlette.requests import Request
from starlette.responses import Response

SECURE_COOKIE = "__Host-cstp-session"
PLAIN_COOKIE = "cstp-session"


def secret_of(request: Request) -> str | None:
    """The secret that the browser sends."""
    return request.cookies.get(SECURE_COOKIE) or request.cookies.get(PLAIN_COOKIE)


def give(response: Response, request: Request, secret: str) -> None:
    """Have the browser keep the secret until it is closed; behind a proxy, the page's own origin says whether that is HTTPS."""
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    name = SECURE_COOKIE if secure else PLAIN_COOKIE
    response.set_cookie(name, secret, path="/", secure=secure, httponly=True, samesite="strict")


def take_back(response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    response.delete_cookie(PLAIN_COOKIE, path="/", httponly=True, samesite="strict")

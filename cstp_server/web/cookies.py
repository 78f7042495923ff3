"""The cookie of a session: out of reach of scripts and of other sites, and of plain HTTP wherever the browser speaks HTTPS."""

from starlette.requests import Request
from starlette.responses import Response

from cstp_server.services.identifying import names_this_machine

SECURE_COOKIE = "__Host-cstp-session"
PLAIN_COOKIE = "cstp-session"


def secret_of(request: Request) -> str | None:
    """The secret that the browser sends. Over HTTPS only the cookie counts that no other host, and no plain HTTP, can have set."""
    secure = request.cookies.get(SECURE_COOKIE)
    return secure or (None if _is_secure(request) else request.cookies.get(PLAIN_COOKIE)) or None


def give(response: Response, request: Request, secret: str) -> None:
    """Have the browser keep the secret until it is closed; behind a proxy, the page's own origin says whether that is HTTPS."""
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    name = SECURE_COOKIE if secure else PLAIN_COOKIE
    response.set_cookie(name, secret, path="/", secure=secure, httponly=True, samesite="strict")


def _is_secure(request: Request) -> bool:
    """Whether the browser speaks HTTPS, behind a proxy too: over HTTPS, and to its own machine, it tells where a request comes from."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    if request.url.scheme == "https" or forwarded == "https":
        return True
    host = request.headers.get("host", "")
    is_local = names_this_machine(host) or host.partition(":")[0].lower().endswith(".localhost")
    return "sec-fetch-site" in request.headers and forwarded != "http" and not is_local


def take_back(response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    response.delete_cookie(PLAIN_COOKIE, path="/", httponly=True, samesite="strict")

"""What is said once after somebody has done something: on the page that they are sent to next."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cstp_server.domain.values import dataclass

NOTICE = "cstp-notice"
_KINDS = frozenset({"good", "bad"})
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """What was done, or (`bad`) what was not."""

    kind: str
    text: str


def go_on(address: str, notice: Notice) -> Response:
    """On to a page, which will say it."""
    response = RedirectResponse(address, 303)
    value = urlsafe_b64encode(f"{notice.kind} {notice.text[:_LONGEST]}".encode("utf-8", "replace")).decode()
    response.set_cookie(NOTICE, value, max_age=60, path="/", httponly=True, samesite="strict")
    return response


def notice_of(request: Request) -> Notice | None:
    """What is to be said, if anything is; a cookie that somebody has meddled with says nothing."""
    try:
        kind, _, text = urlsafe_b64decode(request.cookies.get(NOTICE, "").encode()).decode().partition(" ")
    except ValueError:
        return None
    return Notice(kind, text) if kind in _KINDS and text else None

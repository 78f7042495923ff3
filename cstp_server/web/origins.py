"""Whether a form was sent by a page of this dashboard, going by what the browser says, which no page can change."""

from urllib.parse import urlsplit

from starlette.requests import Request


def is_own_form(request: Request) -> bool:
    """The browser names the origin of whatever sends a form; it must be the host that it is sent to.

    Where a proxy does not pass the host on, the browser's own word for it counts, which it gives over HTTPS.
    """
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return False
    if request.headers.get("sec-fetch-site") == "same-origin":
        return True
    try:
        authority = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(authority) and authority.lower() == request.headers.get("host", "").lower()

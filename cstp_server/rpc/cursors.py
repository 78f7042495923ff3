"""Where a list goes on: opaque to callers, who only hand it back."""

import base64
import binascii

from cstp_server.rpc.errors import BadParams

_BAD = "must be the `nextCursor` of an earlier answer"


def cursor_of(place: str) -> str:
    """The cursor for a place in a list."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def place_of(cursor: str) -> str:
    """The place that a cursor stands for; `BadParams` when it is none of ours."""
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadParams("cursor", _BAD) from error
    if not place or "\x00" in place:
        raise BadParams("cursor", _BAD)
    return place


def timed_cursor(at: int, id: str) -> str:
    """The cursor after something that has a time and an id: a decision, an event."""
    return cursor_of(f"{at}:{id}")


def timed_place(cursor: str) -> tuple[int, str]:
    """The time and id of what a cursor comes after."""
    at, colon, id = place_of(cursor).partition(":")
    if not (colon and id and at.isascii() and at.isdigit() and len(at) <= 15):
        raise BadParams("cursor", _BAD)
    return int(at), id

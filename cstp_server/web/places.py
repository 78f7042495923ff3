"""Places in lists, and times, as addresses carry them."""

from datetime import UTC, datetime

from cstp_server.services.catalogue import TimedPlace

_LONGEST = 16


def timed_place(text: str | None) -> TimedPlace | None:
    """The place that a link to the next page names; from the beginning, where it names none."""
    at, _, id = (text or "").partition("|")
    return (int(at), id) if at.isascii() and at.isdigit() and len(at) < _LONGEST and id else None


def place_text(place: TimedPlace | None) -> str | None:
    """A place as `timed_place` reads it."""
    return f"{place[0]}|{place[1]}" if place is not None else None


def moment(text: str | None) -> int | None:
    """The time that a field for date and time holds, in UTC, as ms since the epoch; none where it holds none since then."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return int(found.timestamp() * 1000) if found.timestamp() >= 0 else None

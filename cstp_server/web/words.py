"""Times, numbers and names as people read them."""

from datetime import UTC, datetime

from markupsafe import Markup, escape

from cstp_server.web import unseen

_SECOND_MS = 1_000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_JUST_NOW_MS = 5 * _SECOND_MS
_FAILURES = {
    401: "That takes a session",
    403: "That is not allowed",
    404: "There is nothing here",
    405: "There is nothing to see here",
    409: "That does not fit what is recorded",
    429: "Too many requests",
    500: "This page failed",
    503: "Not available right now",
}
_SPELLED = {"half_open": "half-open"}
_UNITS = ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "m"), (_SECOND_MS, "s"))


def exact(at: int) -> str:
    """A time to the second, in UTC."""
    return _moment(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine(at: int) -> str:
    """A time as `<time datetime>` has it."""
    return _moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def relative(at: int, now: int) -> str:
    """How long ago a time was, or how soon it will be: the largest unit that fits."""
    gap = now - at
    if abs(gap) < _JUST_NOW_MS:
        return "just now" if gap >= 0 else "in a moment"
    text = next(f"{abs(gap) // unit} {name}" for unit, name in _UNITS if abs(gap) >= unit)
    return f"{text} ago" if gap > 0 else f"in {text}"


def duration(ms: int) -> str:
    """A duration by its two largest units."""
    if ms < _SECOND_MS:
        return f"{ms} ms"
    parts: list[str] = []
    rest = ms
    for unit, name in _UNITS:
        number, rest = divmod(rest, unit)
        if number or parts:
            parts.append(f"{number}{name}" if number else "")
    return " ".join(part for part in parts[:2] if part)


def countdown(ms: int) -> str:
    """A time that is left, as a clock shows it."""
    seconds = -(-max(ms, 0) // _SECOND_MS)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def plain(name: str) -> str:
    """A name of the wire in words."""
    return _SPELLED.get(name) or name.replace("_", " ").replace(".", " ")


def sentence(text: str) -> Markup:
    """A message of the service where it stands by itself."""
    return coded(text[:1].upper() + text[1:])


def many(count: float, thing: str) -> str:
    """So many of a thing: `1 failure`, `2 failures`."""
    return f"{number(count)} {thing}" if count == 1 else f"{number(count)} {thing}{'es' if thing.endswith('s') else 's'}"


def number(value: float) -> str:
    """A number with its thousands apart, and no more than two places."""
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{share * 100:.0f} %"


def coded(text: str) -> Markup:
    """A message of the service, in which names stand in backticks."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(unseen.visible(text))
    return Markup().join(
        Markup("<code>{}</code>").format(unseen.name(piece)) if place % 2 else escape(unseen.visible(piece))
        for place, piece in enumerate(pieces)
    )


def failure(status: int) -> str:
    """What a failure is called."""
    return _FAILURES.get(status, "That did not work")


def short(text: str, most: int = 140) -> str:
    """A text that fits on a line or two."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)

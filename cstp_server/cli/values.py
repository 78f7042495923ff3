"""What people type: `key=value`, `30d`, times."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import typer

from cstp_server.clock import Clock, SystemClock

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
LONGEST_NAME = 256
_EPOCH = datetime.fromtimestamp(0, UTC)


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """The values of a repeated `key=value` option: JSON where it reads as JSON, text otherwise.

    >>> parse_pairs(["amount=1000", "to=bob", 'note="7"', "urgent=true"], "--param")
    {'amount': 1000, 'to': 'bob', 'note': '7', 'urgent': True}
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"`{pair}` should be `key=value`, such as `amount=1000`", param_hint=option)
        if key in values:
            raise typer.BadParameter(f"`{key}` is given twice", param_hint=option)
        values[key] = _parse_value(text, key, option)
    return values


def _parse_value(text: str, key: str, option: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise typer.BadParameter(
            f'`{key}` is `{constant}`, which is no number in JSON; for a text write `{key}="{constant}"`', param_hint=option
        )

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


def parse_name(text: str, hint: str) -> str:
    """What names an agent or a principal in records and scopes, by the rules of the wire: short, seen, one line, and not for everybody.

    >>> parse_name("refund-bot", "--agent")
    'refund-bot'
    """
    if not text.strip() or not text.isprintable():
        raise typer.BadParameter("must not be blank, nor hold line ends or other characters that cannot be seen", param_hint=hint)
    if text.strip() == "*":
        raise typer.BadParameter("must not be `*`, which stands for every agent", param_hint=hint)
    if len(text) > LONGEST_NAME:
        raise typer.BadParameter(f"must be at most {LONGEST_NAME} characters long", param_hint=hint)
    return text


def parse_duration(text: str, option: str) -> int:
    """A duration such as `30d` in ms.

    >>> parse_duration("90m", "--expires")
    5400000
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise typer.BadParameter(
            f"`{text}` is no duration: use a number and one of `s`, `m`, `h`, `d`, `w`, such as `30d`", param_hint=option
        )
    return int(found[1]) * _UNITS_MS[found[2]]


def parse_since(text: str, option: str, clock: Clock | None = None) -> str:
    """A time in RFC 3339: given as such (a date alone is its start, UTC), or as how long ago (`2h`)."""
    if _DURATION.fullmatch(text.strip().lower()):
        now = (clock if clock is not None else SystemClock()).now()
        return format_time(now - parse_duration(text, option))
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        wanted = "use a time such as `2026-02-11T13:30:00Z`, a date, or how long ago, such as `2h`"
        raise typer.BadParameter(f"`{text}` is no time: {wanted}", param_hint=option) from None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC).isoformat().replace("+00:00", "Z")


def format_time(at: int) -> str:
    """A time in ms since the epoch as RFC 3339, to the second.

    >>> format_time(0)
    '1970-01-01T00:00:00Z'
    """
    return (_EPOCH + timedelta(seconds=at // 1000)).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_words(ms: int) -> str:
    """A duration in the largest units that say it, rounded up.

    >>> in_words(90_000)
    '1m 30s'
    """
    seconds = -(-ms // 1000)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"

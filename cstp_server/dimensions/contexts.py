"""The context that dimensions are asked about: what an action says of itself, and what the service adds to it (SPEC 9)."""

import re
from collections.abc import Mapping
from datetime import datetime, time, tzinfo
from typing import Any

from cstp_server.domain.constraints import CheckResult

COST_USED = "cost_used"
CURRENT_TIME = "current_time"
RESOURCE_REQUESTED = "resource_requested"
REQUESTS_IN_PERIOD = "requests_in_period"
CONTAINS_PII = "contains_pii"
DATA_CLASSIFICATION = "data_classification"
COMMUNICATION_TARGET = "communication_target"
ABSENT = object()
"""What stands for a key that the context lacks; a key with null is there."""
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?")
_TIME_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?")


class Tallies(dict[str, int]):
    """How many requests the service itself has counted in each period (`second`, `minute`, …), the one that is asked about included.

    It stands for `requests_in_period`; nothing that comes over the wire is one.
    """


def prepared(context: Mapping[str, Any], now_ms: int, zone: tzinfo, tallies: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The context with everything that the service knows: `current_time`, and where the context lacks `requests_in_period`, `tallies`.

    The time is a `datetime` in `zone` then: now where none is given or it is null, else the one that is given, be it a text as in
    RFC 3339 or `HH:MM[:SS]` (of today), a `datetime` or a `time`. Without an offset it is in `zone`. What is no time becomes null, and
    fails.
    """
    filled = dict(context)
    filled[CURRENT_TIME] = _local(context.get(CURRENT_TIME), now_ms, zone)
    if tallies is not None and REQUESTS_IN_PERIOD not in context:
        filled[REQUESTS_IN_PERIOD] = Tallies(tallies)
    return filled


def missing(key: str) -> CheckResult:
    """The result where a context lacks a key."""
    return CheckResult(satisfied=False, reason=f"the context lacks `{key}`", missing=key)


def _local(value: object, now_ms: int, zone: tzinfo) -> datetime | None:
    now = datetime.fromtimestamp(now_ms / 1000, zone)
    if value is None:
        return now
    try:
        given = _read(value)
        if isinstance(given, time):
            given = datetime.combine(now.astimezone(given.tzinfo or zone).date(), given)
        return given if given is None else given.astimezone(zone) if given.tzinfo is not None else given.replace(tzinfo=zone)
    except (ValueError, OverflowError):  # no such day, no such hour, or no such year in that zone
        return None


def _read(value: object) -> datetime | time | None:
    """The time that a value is, with or without an offset; none when it is none. Raises `ValueError` for what only looks like one."""
    if isinstance(value, datetime | time):
        return value
    if not isinstance(value, str):
        return None
    if _MOMENT.fullmatch(value):
        return datetime.fromisoformat(value.upper())
    return time.fromisoformat(value.upper()) if _TIME_OF_DAY.fullmatch(value) else None

"""Numbers as constraints and contexts give them: exact, finite, not negative, also as texts."""

import re

from cstp_server.domain.amounts import UNIT, amount_of

_NUMBER = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")
_LARGEST = 10**18 * UNIT
"""Beyond it, nothing is a limit that anybody meant."""


def amount_in(value: object) -> int | None:
    """The amount in billionths; none when it is none."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else None
    amount = amount_of(value)
    return amount if amount is not None and amount <= _LARGEST else None


def count_in(value: object) -> int | None:
    """The whole number; none when it is none."""
    amount = amount_in(value)
    if amount is None or amount % UNIT:
        return None
    return amount // UNIT

"""Amounts of money and of anything else that is summed: exact, in whole billionths, never in floating point."""

import math
from decimal import ROUND_CEILING, Decimal

UNIT = 1_000_000_000
"""One, in billionths."""
_EXACT = Decimal(UNIT)
_LARGEST_INTEGER = 2**63 - 1
"""The largest integer that the wire and the store carry."""


def amount_of(value: object) -> int | None:
    """The value in billionths, as its decimal text says it, rounded up; none when it is no amount.

    What is missing, no number, not finite or negative is no amount: a limit that applies to it has been exceeded (SPEC 7).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value * UNIT if value >= 0 else None
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        if value.is_integer():
            return int(value) * UNIT
        scaled = Decimal(repr(value)) * _EXACT
        return int(scaled.to_integral_value(ROUND_CEILING))
    return None


def amount_number(amount: int) -> int | float:
    """The amount as a number on the wire: whole where it is whole; where no such number has its last digits, the next one below."""
    whole, rest = divmod(amount, UNIT)
    if not rest and abs(whole) <= _LARGEST_INTEGER:
        return whole
    number = float(Decimal(amount) / _EXACT)
    while (known := amount_of(number)) is not None and known > amount:
        number = math.nextafter(number, 0)
    return number


def amount_text(amount: int) -> str:
    """The amount as a person writes it: `500`, `0.3`."""
    sign, whole, rest = "-" if amount < 0 else "", *divmod(abs(amount), UNIT)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")

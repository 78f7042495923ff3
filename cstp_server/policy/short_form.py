"""The short form of tripwires: a name says what a number limits (SPEC 7).

One table, `FORMS`, holds the grammar: the loader reads names by it, the reference shows it, and agents' limits are compared by it.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator
from enum import Enum

from cstp_server.domain.amounts import amount_of
from cstp_server.domain.tripwire_rules import Limit, Measure, Quota
from cstp_server.domain.tripwires import Applies, Tripwire
from cstp_server.domain.usage import Span
from cstp_server.domain.values import dataclass
from cstp_server.domain.words import words_of

Bound = int | float
AMOUNT = ("action", "parameters", "amount")
_CONFIDENCE = ("action", "confidence")
_CARRIED_AMOUNT = Measure(AMOUNT, optional=True)
_NAME = r"[^\W_]+(?:_[^\W_]+)*"
_THINGS = rf"(?P<things>{_NAME})"
_SPANS = {"minute": Span.MINUTE, "hour": Span.HOUR, "day": Span.DAY}
_NEAREST_SPANS = {
    "min": "minute", "minutely": "minute", "sec": "minute", "second": "minute", "h": "hour", "hr": "hour", "hourly": "hour",
    "daily": "day", "fortnight": "day", "week": "day", "weekly": "day", "month": "day", "monthly": "day", "quarter": "day",
    "quarterly": "day", "year": "day", "yearly": "day", "annual": "day", "annually": "day",
}  # fmt: skip
_TIMES = "|".join(sorted([*_SPANS, *_NEAREST_SPANS]))
_NO_WINDOW = rf"(?!(?:.*_)?per_(?:{_TIMES})s?$)"
_ALL_ACTIONS = words_of("actions")
_SUMS = frozenset(word for name in ("budget", "spend", "spending", "amount", "cost", "money") for word in words_of(name))
"""What is summed rather than counted: `daily_cost_limit` would count actions whose type contains `cost`, which nobody means."""


class Number(Enum):
    """What a bound may be, as one says it."""

    ANY = "a number, 0 or greater"
    WHOLE = "a whole number, 0 or greater"
    SHARE = "a number from 0 to 1"


class Direction(Enum):
    """Which bounds are tighter than others."""

    MAX = "lower"
    MIN = "higher"

    def tightens(self, child: Bound, parent: Bound) -> bool:
        """Whether `child` lets nothing through that `parent` refuses."""
        return child <= parent if self is Direction.MAX else child >= parent


@dataclass(frozen=True, slots=True)
class Form:
    """One row of the grammar: how its names look, what their number bounds, and which actions they are about."""

    names: tuple[str, ...]
    bounds: str
    applies: str
    number: Number
    direction: Direction
    pattern: re.Pattern[str]
    build: Callable[[str, re.Match[str], int], Tripwire]


class UnknownLimit(ValueError):
    """A name that is no limit; the message gives the nearest one."""


def _largest(name: str, found: re.Match[str], bound: int) -> Tripwire:
    what = found["what"]
    measures = (Measure(("action", "parameters", what), optional=True), Measure(AMOUNT, words=words_of(what)))
    return Tripwire(name, Limit(measures, max=bound))


def _least(name: str, found: re.Match[str], bound: int) -> Tripwire:
    return Tripwire(name, Limit((Measure(("action", "parameters", found["what"]), optional=True),), min=bound))


def _transaction(name: str, _: re.Match[str], bound: int) -> Tripwire:
    return Tripwire(name, Limit((_CARRIED_AMOUNT,), max=bound))


def _confidence(name: str, _: re.Match[str], bound: int) -> Tripwire:
    return Tripwire(name, Limit((Measure(_CONFIDENCE),), min=bound))


def _approval(name: str, _: re.Match[str], bound: int) -> Tripwire:
    return Tripwire(name, Limit((_CARRIED_AMOUNT,), max=bound), asks=True)


def _count(name: str, found: re.Match[str], bound: int) -> Tripwire:
    words = words_of(found["things"])
    span = _SPANS[found.groupdict().get("span") or Span.DAY.value]
    return Tripwire(name, Quota(bound, span), applies=Applies(words=() if words == _ALL_ACTIONS else words))


def _day_budget(name: str, _: re.Match[str], bound: int) -> Tripwire:
    return Tripwire(name, Quota(bound, Span.DAY, sums=_CARRIED_AMOUNT, settles=True))


def _whole_budget(name: str, _: re.Match[str], bound: int) -> Tripwire:
    return Tripwire(name, Quota(bound, Span.TOTAL, sums=_CARRIED_AMOUNT, settles=True))


_EVERY = "every action"
_CARRYING = "every action that carries one"
_SUCH = "`actions`: all; else actions whose type contains the singular (`api_calls`: `api_call`)"
FORMS: tuple[Form, ...] = (
    Form(
        ("max_<x>",),
        "`action.parameters.<x>`, and the amount",
        "actions that carry that parameter; the amount of actions whose `type` contains the word `<x>` (`max_refund` and `issue_refund`)",
        Number.ANY,
        Direction.MAX,
        re.compile(rf"max_{_NO_WINDOW}(?P<what>(?!transaction$){_NAME})"),
        _largest,
    ),
    Form(
        ("min_<x>",),
        "`action.parameters.<x>`",
        "actions that carry that parameter",
        Number.ANY,
        Direction.MIN,
        re.compile(rf"min_{_NO_WINDOW}(?P<what>(?!confidence(?:_score)?$){_NAME})"),
        _least,
    ),
    Form(("max_transaction",), "the amount", _CARRYING, Number.ANY, Direction.MAX, re.compile("max_transaction"), _transaction),
    Form(
        ("min_confidence_score", "min_confidence"),
        "`action.confidence`",
        _EVERY,
        Number.SHARE,
        Direction.MIN,
        re.compile("min_confidence(?:_score)?"),
        _confidence,
    ),
    Form(
        ("max_<things>_per_minute", "max_<things>_per_hour", "max_<things>_per_day"),
        "how many such actions of one agent: in any minute, in any hour, on a calendar day",
        _SUCH,
        Number.WHOLE,
        Direction.MAX,
        re.compile(rf"max_{_THINGS}_per_(?P<span>minute|hour|day)"),
        _count,
    ),
    Form(
        ("daily_action_limit", "daily_<thing>_limit"),
        "how many such actions of one agent on a calendar day",
        "`action`: all; else actions whose type contains it",
        Number.WHOLE,
        Direction.MAX,
        re.compile(rf"daily_(?P<things>(?!spend_limit$){_NAME})_limit"),
        _count,
    ),
    Form(
        ("daily_budget", "daily_spend_limit"),
        "the sum of one agent's amounts on a calendar day",
        _CARRYING,
        Number.ANY,
        Direction.MAX,
        re.compile("daily_budget|daily_spend_limit"),
        _day_budget,
    ),
    Form(
        ("budget_limit",),
        "the sum of one agent's amounts, for ever",
        _CARRYING,
        Number.ANY,
        Direction.MAX,
        re.compile("budget_limit"),
        _whole_budget,
    ),
    Form(
        ("require_approval_above",),
        "the amount; above it an approval is asked for",
        _CARRYING,
        Number.ANY,
        Direction.MAX,
        re.compile("require_approval_above"),
        _approval,
    ),
)
_EXAMPLES = tuple(name for form in FORMS for name in form.names if "<" not in name)


def form_of(name: str) -> Form:
    """The row that a name belongs to. Raises `UnknownLimit` for one that belongs to none."""
    return _parsed(name)[0]


def tripwire_of(name: str, bound: Bound) -> Tripwire:
    """The tripwire that a name and its number mean. Raises `UnknownLimit`, or `ValueError` for a number that cannot be the bound."""
    form, found = _parsed(name)
    _refuse_bad_bound(form.number, bound)
    amount = amount_of(bound)
    if amount is None:
        raise ValueError(f"must be {form.number.value}")
    return form.build(name, found, amount)


def check_bound(value: object) -> Bound:
    """A bound of any limit: finite and not negative. Raises `ValueError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"must be {Number.ANY.value}")
    return value


def _refuse_bad_bound(number: Number, bound: Bound) -> None:
    fits = {Number.ANY: True, Number.WHOLE: float(bound).is_integer(), Number.SHARE: bound <= 1}[number]
    if not fits:
        raise ValueError(f"must be {number.value}")


def _parsed(name: str) -> tuple[Form, re.Match[str]]:
    for form in FORMS:
        found = form.pattern.fullmatch(name)
        if found is None:
            continue
        things = found.groupdict().get("things")
        if things is not None and words_of(things)[-1] in _SUMS:
            raise UnknownLimit(f"is no limit: it would count actions; the sum of their amounts is limited by {_sums_like(found)}")
        return form, found
    near = next(_candidates(name), None)
    raise UnknownLimit(f"is no limit, {f'did you mean `{near}`?' if near else _all_forms()}")


def _sums_like(found: re.Match[str]) -> str:
    return "`daily_budget`" if (found.groupdict().get("span") or "day") == "day" else "a `quota` with `sum` in the long form"


def _all_forms() -> str:
    return f"names are {', '.join(f'`{name}`' for form in FORMS for name in form.names)}"


def _candidates(name: str) -> Iterator[str]:
    """Names that are limits and look like this one, best first."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).replace("-", "_").replace(" ", "_").replace(".", "_").lower()
    snake = re.sub(r"_+", "_", snake).strip("_")
    in_day = re.sub(rf"_per_({_TIMES})s?$", lambda found: f"_per_{_NEAREST_SPANS.get(found[1], found[1])}", snake)
    each_day = re.sub(r"^(?:hourly|weekly|monthly|quarterly|yearly|annual)_", "daily_", snake)
    every = each_day.replace("daily_limit", "daily_action_limit")
    maximum = re.sub(r"^(?:maximum|maximal|most)_|_(?:max|maximum)$", "", snake)
    minimum = re.sub(r"^(?:minimum|minimal|least)_|_(?:min|minimum)$", "", snake)
    counted = re.sub(r"^m(?:ax|in)_(?=.+_per_)", "max_", re.sub(r"^max_per_", "max_actions_per_", in_day))
    guesses = [snake, counted, every, f"{every}_limit" if every.startswith("daily_") else ""]
    guesses += [f"{snake}_limit" if f"{snake}_limit" in _EXAMPLES else ""]
    guesses += [f"max_{maximum}" if maximum != snake else "", f"min_{minimum}" if minimum != snake else ""]
    guesses += difflib.get_close_matches(snake, _EXAMPLES, n=3)
    for guess in guesses:
        if guess != name and any(form.pattern.fullmatch(guess) for form in FORMS):
            yield guess

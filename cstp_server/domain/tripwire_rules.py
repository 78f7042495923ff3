"""What tripwires look at: each kind of rule answers with what is wrong, or with nothing (SPEC 7).

Rule
├── Limit       a value within bounds
├── Quota       how many, or how much in all, in a window
├── Condition   an expression that must not hold
├── Flag        something that an agent says of itself and that is never right
├── Pattern     texts that must not be there
└── Secrets     credentials in what the action says
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

from cstp_server.domain.amounts import UNIT, amount_number, amount_of, amount_text
from cstp_server.domain.expressions import EvaluationFailed, Predicate, Subject
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Remedy
from cstp_server.domain.paths import texts_in, values_at, values_named
from cstp_server.domain.usage import Span
from cstp_server.domain.values import dataclass
from cstp_server.domain.words import contains


class Per(StrEnum):
    """Whose actions a quota counts together."""

    AGENT = "agent"
    USER = "user"
    CATEGORY = "category"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Trip:
    """What is wrong: a reason for the message, and changes to the action that may put it right.

    `failure` says why the rule could not tell, where it could not; a message that the tripwire has of its own is followed by it.
    """

    reason: str
    changes: tuple[Remedy, ...] = ()
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A value that a limit looks at. `path` is as in an expression, `label` is what messages call it.

    `optional`: an action that does not carry it is left alone; otherwise a value that is missing trips. `words`: only actions whose
    type contains them.
    """

    path: tuple[str, ...]
    optional: bool = False
    words: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.path[-1]

    @property
    def text(self) -> str:
        """The path as it is written in a policy."""
        return ".".join(self.path)

    def values(self, subject: Subject, facts: Facts) -> Sequence[object]:
        """The values to look at: none when the action is left alone, `None` when one is missing."""
        if self.words and not contains(facts.type_words, self.words):
            return ()
        found = values_at(subject.data, self.path, subject.named)
        return found if found or self.optional else _MISSING


_MISSING = (None,)


@dataclass(frozen=True, slots=True)
class Limit:
    """A value must lie within bounds, both of which it may reach. `max` and `min` in billionths."""

    measures: tuple[Measure, ...]
    max: int | None = None
    min: int | None = None

    def check(self, name: str, subject: Subject, facts: Facts) -> Trip | None:
        """What is wrong with the first value that is not within the bounds."""
        for measure in self.measures:
            for value in measure.values(subject, facts):
                trip = self._look(name, measure, value)
                if trip is not None:
                    return trip
        return None

    def _look(self, name: str, measure: Measure, value: object) -> Trip | None:
        amount = amount_of(value)
        if amount is None:
            return Trip(f"{measure.label} {_wrong(value)}, {name} is {self._bounds()}")
        if self.max is not None and amount > self.max:
            return Trip(f"{measure.label} exceeds {name} of {amount_text(self.max)}", (_lower(measure, self.max),))
        if self.min is not None and amount < self.min:
            return Trip(f"{measure.label} is below {name} of {amount_text(self.min)}", (_raise(measure, self.min),))
        return None

    def _bounds(self) -> str:
        return " to ".join(amount_text(bound) for bound in (self.min, self.max) if bound is not None)


@dataclass(frozen=True, slots=True)
class Quota:
    """How many actions, or how much of something in all, a subject may have in a window. `max` in billionths.

    `sums` is the value that is summed; none counts actions. `settles`: the actual cost of an action takes the place of what it asked for.
    """

    max: int
    span: Span
    per: Per = Per.AGENT
    sums: Measure | None = None
    settles: bool = False

    def meter(self, name: str) -> str:
        """The name of its tally: one that measures another thing, or in another window, starts anew."""
        return f"{name}|{self.sums.text if self.sums is not None else 'count'}|{self.span.value}"

    def subject(self, facts: Facts) -> str:
        """Whose tally an action is part of. What is left out is a subject too: to leave it out dodges nothing."""
        if self.per is Per.GLOBAL:
            return Per.GLOBAL.value
        if self.per is Per.AGENT:
            return f"agent:{facts.agent_id}"
        return f"user:{facts.user_id or ''}" if self.per is Per.USER else f"category:{facts.category or ''}"

    def charge(self, name: str, subject: Subject, facts: Facts) -> int | Trip | None:
        """How much an action takes of it; what is wrong when that cannot be known; none when it takes nothing."""
        if self.sums is None:
            return UNIT
        charges = self.sums.values(subject, facts)
        if not charges:
            return None
        amounts = [amount_of(value) for value in charges]
        for value, amount in zip(charges, amounts, strict=True):
            if amount is None:
                return Trip(f"{self.sums.label} {_wrong(value)}, {name} is {amount_text(self.max)}")
        return max(amount for amount in amounts if amount is not None)

    def exceeded(self, name: str, used: int, free_at: int | None) -> Trip:
        """What is wrong when `used` is taken already and there is no room for one more; some of it is free again at `free_at`."""
        changes = (Remedy("wait", until=free_at),) if free_at is not None else ()
        if self.sums is None:
            return Trip(f"number of actions exceeds {name} of {amount_text(self.max)}", changes)
        room = self.max - used
        taken = f" ({amount_text(used)} used)" if used else ""
        less = (_lower(self.sums, room),) if room > 0 else ()
        return Trip(f"{self.sums.label} exceeds {name} of {amount_text(self.max)}{taken}", (*changes, *less))


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that must not hold; one that cannot be evaluated counts as if it did."""

    when: Predicate

    def check(self, name: str, subject: Subject, _facts: Facts) -> Trip | None:
        """That the condition holds, or why that cannot be known."""
        matched = self.when(subject)
        if matched is False:
            return None
        if isinstance(matched, EvaluationFailed):
            failure = f"its condition `{self.when.source}` could not be evaluated and counts as matched: {matched.reason}"
            return Trip(f"{name}: {failure}", failure=failure)
        return Trip(name)


@dataclass(frozen=True, slots=True)
class Flag:
    """Something in the action's context that must be absent, null or false, however its name is spelled."""

    name: str

    def check(self, name: str, subject: Subject, facts: Facts) -> Trip | None:
        """That the flag is set; anything but a clear no is a yes."""
        said = values_named(facts.context, self.name, subject.named) if facts.context else ()
        return Trip(name) if any(value is not None and value is not False for value in said) else None


class Detector(Protocol):
    """Finds texts that must not be there, in time that grows no faster than the text."""

    def finds(self, text: str, /) -> bool:
        """Whether it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """Texts that must not stand in these fields (paths as in an expression), nor anywhere below them."""

    fields: tuple[tuple[str, ...], ...]
    detector: Detector

    def check(self, name: str, subject: Subject, _facts: Facts) -> Trip | None:
        """In which field such a text was found; the text itself is nobody's business."""
        for path in self.fields:
            for value in values_at(subject.data, path, subject.named):
                if any(self.detector.finds(text) for text in texts_in(value)):
                    return Trip(f"{'.'.join(path)} contains what {name} forbids")
        return None


class Scanner(Protocol):
    """Knows credentials by their looks."""

    def find(self, facts: Facts, /) -> tuple[str, ...]:
        """The kinds of credentials in what the action says, in words that quote nothing of them."""
        ...

    def redacted(self, facts: Facts, /) -> Facts:
        """The facts with every credential replaced by its kind."""
        ...


@dataclass(frozen=True, slots=True)
class Secrets:
    """Credentials in the action's text, parameters, context or background."""

    scanner: Scanner

    def check(self, _name: str, _subject: Subject, facts: Facts) -> Trip | None:
        """Which kinds of credentials were found."""
        kinds = self.scanner.find(facts)
        return Trip(f"the action contains {' and '.join(kinds)}") if kinds else None


Rule: TypeAlias = Limit | Quota | Condition | Flag | Pattern | Secrets


def _wrong(value: object) -> str:
    if value is None:
        return "is missing"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is not a number"
    return "is negative" if value < 0 else "is not finite"


def _lower(measure: Measure, to: int) -> Remedy:
    return Remedy("lower", field=measure.text, to=amount_number(to))


def _raise(measure: Measure, to: int) -> Remedy:
    return Remedy("raise", field=measure.text, to=amount_number(to))

"""What looking through the record of events has found."""

from dataclasses import field, replace
from enum import StrEnum

from cstp_server.domain.anchors import Anchor
from cstp_server.domain.values import dataclass

MOST_PROBLEMS = 1_000


class Flaw(StrEnum):
    """In which way a place of the record is bad."""

    ALTERED = "altered"
    MISSING = "missing"
    TRUNCATED = "truncated"
    REORDERED = "reordered"
    FOREIGN = "foreign"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"


class Signatures(StrEnum):
    """What is known of the anchors' signatures."""

    VERIFIED = "verified"
    NOT_CHECKED = "not_checked"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad place: an event's, an anchor's or a chain's, and what is wrong there in words."""

    flaw: Flaw
    message: str
    chain: str | None = None
    position: int | None = None
    event_id: str | None = None
    anchor: int | None = None


@dataclass(slots=True)
class AuditReport:
    """The result: what was looked at, what is wrong, and how much of it nobody has sealed.

    `unanchored` events are newer than the last anchor of their chain: it proves their order and content, but not that there are no more.
    `adopted` is how many chains were ended by another process than their own, after that was gone.
    """

    events: int = 0
    anchors: int = 0
    chains: int = 0
    unanchored: int = 0
    adopted: int = 0
    unsigned: int = 0
    signatures: Signatures = Signatures.NONE
    newest: Anchor | None = None
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem_count

    def add(self, problem: Problem) -> None:
        """One more bad place; of very many only the first ones are kept."""
        self.problem_count += 1
        if len(self.problems) < MOST_PROBLEMS:
            chain, event_id = (text if text is None else _shown(text) for text in (problem.chain, problem.event_id))
            self.problems.append(replace(problem, message=_shown(problem.message), chain=chain, event_id=event_id))


def _shown(text: str) -> str:
    """With everything made visible that is not: names may be anything that somebody has written by hand, several lines for instance."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)

"""How far an agent's record can be trusted: the lower bound of Wilson's interval (SPEC 8)."""

import math

from cstp_server.domain.values import dataclass

_Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution: a two-sided interval of 95 %."""
_MOST_SUCCESSES = 1_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an agent's decisions within the score's window.

    `succeeded` and `failed` were reviewed as such, `hits` ran into tripwires that count against trust. `due` are allowed decisions old
    enough that they should have been reviewed, `covered` those of them that were.
    """

    succeeded: int = 0
    failed: int = 0
    hits: int = 0
    due: int = 0
    covered: int = 0

    @property
    def reviewed(self) -> int:
        """How many outcomes the score rests on."""
        return self.succeeded + self.failed

    @property
    def score(self) -> float:
        """The lower bound of the success share, hits of tripwires counted as failures; 0 without any evidence."""
        return wilson_lower_bound(self.succeeded, self.succeeded + self.failed + self.hits)

    @property
    def coverage(self) -> float:
        """The share of due decisions that have an outcome; 1 when none is due."""
        return self.covered / self.due if self.due else 1.0


def wilson_lower_bound(successes: int, total: int) -> float:
    """The lower bound of the 95 % Wilson score interval for a share (Wilson 1927); 0 without any success.

    >>> round(wilson_lower_bound(8, 10), 4)
    0.4902
    """
    if total <= 0 or successes <= 0:
        return 0.0
    share, z2 = successes / total, _Z * _Z
    centre = share + z2 / (2 * total)
    margin = _Z * math.sqrt((share * (1 - share) + z2 / (4 * total)) / total)
    return max(0.0, (centre - margin) / (1 + z2 / total))


def successes_needed(record: Record, *, min_score: float, min_reviewed: int) -> int | None:
    """How many more reviewed successes, and nothing else, reach the score and the number; none when no number does."""
    failures = record.failed + record.hits

    def reaches(more: int) -> bool:
        succeeded = record.succeeded + more
        return succeeded + record.failed >= min_reviewed and wilson_lower_bound(succeeded, succeeded + failures) >= min_score

    if not reaches(_MOST_SUCCESSES):
        return None
    low, high = -1, _MOST_SUCCESSES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high

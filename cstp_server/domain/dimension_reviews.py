"""Reviews of custom dimensions: no code of others bounds an agent before somebody has looked at it (SPEC 9)."""

from collections.abc import Iterable
from enum import StrEnum

from cstp_server.domain.values import dataclass


class DimensionStatus(StrEnum):
    """What stands between a dimension and its use. `pending`: nobody has looked at this version of it."""

    BUILT_IN = "built_in"
    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"

    @property
    def usable(self) -> bool:
        """Whether constraints of this dimension can be met at all."""
        return self in _USABLE


_USABLE = frozenset({DimensionStatus.BUILT_IN, DimensionStatus.APPROVED})


@dataclass(frozen=True, slots=True)
class DimensionReview:
    """What somebody said of one version of a dimension; another version is another dimension. `at` in ms since the epoch."""

    name: str
    version: str
    status: DimensionStatus
    by: str
    at: int
    note: str | None = None


def review_of(reviews: Iterable[DimensionReview], name: str, version: str) -> DimensionReview | None:
    """The review of that very version."""
    return next((review for review in reviews if review.name == name and review.version == version), None)


def status_of(review: DimensionReview | None) -> DimensionStatus:
    """Where a custom dimension stands after its review, if it had one."""
    return review.status if review is not None else DimensionStatus.PENDING

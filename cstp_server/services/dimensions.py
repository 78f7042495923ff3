"""The kinds of constraints that there are, and the reviews that custom ones need before they can be used (SPEC 9)."""

import difflib
from collections.abc import Iterable
from dataclasses import replace

from cstp_server.domain.callers import Caller
from cstp_server.domain.constraints import Dimension
from cstp_server.domain.dimension_reviews import DimensionReview, DimensionStatus, review_of, status_of
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.refusals import Conflict, InvalidInput, Refusal
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.policy.secrets import SCANNER
from cstp_server.services.ports import Decided, Dimensions, Needs, Reader, Transactor, View
from cstp_server.services.requests import DimensionInfo, DimensionRequest


async def list_dimensions(reader: Reader, dimensions: Dimensions, caller: Caller) -> tuple[DimensionInfo, ...]:
    """The built-in ones in their order, then those of installed packages by name, with what was said of the installed version."""
    reviews = await reader.dimension_reviews(caller.tenant) if dimensions.custom else ()
    built_in = [_info(dimension, DimensionStatus.BUILT_IN) for dimension in dimensions.built_in.values()]
    custom = [_custom_info(dimension, review_of(reviews, name, dimension.version)) for name, dimension in sorted(dimensions.custom.items())]
    return (*built_in, *custom)


async def review_dimension(
    transactor: Transactor, dimensions: Dimensions, caller: Caller, request: DimensionRequest, *, approve: bool
) -> DimensionInfo | Refusal:
    """Approve or reject the installed version of a custom dimension; what was said of it before no longer counts."""
    dimension = _reviewable(dimensions, request.name)
    if isinstance(dimension, Refusal):
        return dimension
    if request.version is not None and request.version != dimension.version:
        return Conflict(f"dimension `{dimension.name}` is installed in version `{dimension.version}`, not `{request.version}`: look again")
    note = SCANNER.redacted_text(request.note) if request.note is not None else None
    status = DimensionStatus.APPROVED if approve else DimensionStatus.REJECTED
    return await transactor.run(ReviewDimension(caller, dimension, status, note))


def _reviewable(dimensions: Dimensions, name: str) -> Dimension | InvalidInput:
    dimension = dimensions.custom.get(name)
    if dimension is not None:
        return dimension
    if name in dimensions.built_in:
        return InvalidInput(f"dimension `{name}` is built in: it needs no review", "name")
    return InvalidInput(f"no dimension `{name}` is installed{nearest_hint(name, dimensions.custom)}", "name")


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """The known name that looks like this one, for a message."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean `{nearest[0]}`?" if nearest else ""


@dataclass(frozen=True, slots=True)
class ReviewDimension:
    """One review as the transactor carries it out."""

    caller: Caller
    dimension: Dimension
    status: DimensionStatus
    note: str | None = None

    @property
    def tenant(self) -> str:
        """The caller's tenant: no tenant's review counts for another."""
        return self.caller.tenant

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """What was said of the dimension before."""
        return Needs(dimensions=frozenset((self.dimension.name,)), final=True)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[DimensionInfo]:
        """Put it on record; the same said again changes nothing."""
        dimension = self.dimension
        known = review_of(view.dimension_reviews(dimension.name), dimension.name, dimension.version)
        if known is not None and (known.status, known.note) == (self.status, self.note):
            return Decided(_custom_info(dimension, known))
        review = DimensionReview(dimension.name, dimension.version, self.status, self.caller.principal, now, self.note)
        return Decided(_custom_info(dimension, review), dimension_reviews=(review,), events=(self._event(known, policy, now),))

    def _event(self, known: DimensionReview | None, policy: Policy, now: int) -> Event:
        approved = self.status is DimensionStatus.APPROVED
        return Event(
            EventType.DIMENSION_APPROVED if approved else EventType.DIMENSION_REJECTED,
            self.tenant,
            self.dimension.name,
            self.caller.principal,
            now,
            policy.version,
            {"version": self.dimension.version, "previous_status": status_of(known).value, "note": self.note},
        )


def _custom_info(dimension: Dimension, review: DimensionReview | None) -> DimensionInfo:
    info = _info(dimension, status_of(review))
    return replace(info, by=review.by, at=review.at, note=review.note) if review is not None else info


def _info(dimension: Dimension, status: DimensionStatus) -> DimensionInfo:
    return DimensionInfo(dimension.name, dimension.version, dimension.description, status.value)

"""Reviews of custom dimensions: rows <-> domain."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from cstp_server.domain.dimension_reviews import DimensionReview, DimensionStatus
from cstp_server.storage import tables


def dimension_row(tenant: str, review: DimensionReview) -> dict[str, Any]:
    """The row of a review."""
    return {
        "tenant": tenant,
        "name": review.name,
        "version": review.version,
        "status": review.status.value,
        "by": review.by,
        "at": review.at,
        "note": review.note,
    }


def review_of_row(row: Any) -> DimensionReview:
    """The review that `dimension_row` wrote; what a newer or broken version has left is no approval."""
    try:
        status = DimensionStatus(row.status)
    except ValueError:
        status = DimensionStatus.REJECTED
    return DimensionReview(row.name, row.version, status, row.by, row.at, row.note)


def dimension_reviews(connection: Connection, tenant: str) -> Sequence[DimensionReview]:
    """The last review of each version of each dimension."""
    table = tables.dimensions
    query = select(table).where(table.c.tenant == tenant).order_by(table.c.name, table.c.version)
    return [review_of_row(row) for row in connection.execute(query)]

"""`cstp.listDimensions`, `approveDimension` and `rejectDimension` (SPEC 9)."""

from typing import Annotated

from pydantic import Field

from cstp_server.domain.refusals import Refusal
from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import LONGEST_NAME, Name, Params, Result, Text, Time, omitted
from cstp_server.services import dimensions
from cstp_server.services.requests import DimensionInfo, DimensionRequest

Version = Annotated[Text, Field(max_length=LONGEST_NAME)]


class ListDimensionsParams(Params):
    """Every dimension that there is; takes no params."""


class ReviewDimensionParams(Params):
    """A verdict on an installed dimension; it holds for one version of it."""

    name: Name = Field(description="the dimension, as `cstp.listDimensions` has it")
    version: Version | None = Field(default=None, description="the version that was looked at; the installed one when left out")
    note: str | None = Field(default=None, description="a remark, for the record")


class DimensionResult(Result):
    """One dimension. Only one that is `built_in` or `approved` can be used; any other fails whatever it is asked about."""

    name: str
    version: str
    description: str
    status: str = Field(description="`built_in`, `approved`, `pending` or `rejected`")
    reviewed_by: str | None = omitted("who approved or rejected this version")
    reviewed_at: Time | None = omitted("and when")
    note: str | None = omitted("and why")

    @classmethod
    def of(cls, info: DimensionInfo) -> "DimensionResult":
        """The dimension as it goes out."""
        return cls(
            name=info.name,
            version=info.version,
            description=info.description,
            status=info.status,
            reviewed_by=info.by,
            reviewed_at=info.at,
            note=info.note,
        )


class ListDimensionsResult(Result):
    """Every dimension, built in or installed."""

    dimensions: list[DimensionResult]
    count: int


async def list_dimensions(context: Context, _params: ListDimensionsParams) -> ListDimensionsResult:
    """Every dimension, and how it was reviewed."""
    found = await dimensions.list_dimensions(context.services.reader, context.services.dimensions, context.caller)
    return ListDimensionsResult(dimensions=[DimensionResult.of(info) for info in found], count=len(found))


async def approve(context: Context, params: ReviewDimensionParams) -> DimensionResult | Refusal:
    """Let a dimension be used."""
    return await _review(context, params, approve=True)


async def reject(context: Context, params: ReviewDimensionParams) -> DimensionResult | Refusal:
    """Let a dimension not be used."""
    return await _review(context, params, approve=False)


async def _review(context: Context, params: ReviewDimensionParams, *, approve: bool) -> DimensionResult | Refusal:
    services = context.services
    request = DimensionRequest(params.name, params.version, params.note)
    answer = await dimensions.review_dimension(services.transactor, services.dimensions, context.caller, request, approve=approve)
    return answer if isinstance(answer, Refusal) else DimensionResult.of(answer)

"""The dimensions that the service brings along, in SPEC 9's order."""

from collections.abc import Mapping
from types import MappingProxyType

from cstp_server.dimensions.communication import CommunicationDimension
from cstp_server.dimensions.cost_limit import CostLimitDimension
from cstp_server.dimensions.data_access import DataAccessDimension
from cstp_server.dimensions.rate_limit import RateLimitDimension
from cstp_server.dimensions.resources import ResourcesDimension
from cstp_server.dimensions.time_window import TimeWindowDimension
from cstp_server.domain.constraints import Dimension


def built_in(internal_domains: frozenset[str] = frozenset()) -> Mapping[str, Dimension]:
    """The six by name. `internal_domains` are one's own (`internal_hosts.read_domains`)."""
    dimensions: tuple[Dimension, ...] = (
        CostLimitDimension(),
        TimeWindowDimension(),
        ResourcesDimension(),
        RateLimitDimension(),
        DataAccessDimension(),
        CommunicationDimension(internal_domains),
    )
    return MappingProxyType({dimension.name: dimension for dimension in dimensions})


BUILT_IN = built_in()
"""The six, where no domain is known to be one's own."""

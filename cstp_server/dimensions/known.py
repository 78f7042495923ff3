"""All dimensions that one process knows (`services.ports.Dimensions`)."""

from collections.abc import Mapping

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.installed import installed_dimensions
from cstp_server.domain.constraints import Dimension
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class KnownDimensions:
    """The six, and those of installed packages; `allow_unreviewed`: those are usable without an approval."""

    built_in: Mapping[str, Dimension]
    custom: Mapping[str, Dimension]
    allow_unreviewed: bool = False

    @classmethod
    def found(cls, *, allow_unreviewed: bool = False) -> "KnownDimensions":
        """Those that are there in this process."""
        return cls(BUILT_IN, installed_dimensions(), allow_unreviewed)

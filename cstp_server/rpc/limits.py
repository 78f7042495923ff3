"""How much one request may be; every number is a setting (SPEC 2, Limits)."""

from cstp_server.domain.values import dataclass
from cstp_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what callers send. Sizes in bytes, `nesting` in levels of objects and arrays within one call."""

    body_bytes: int = 1_048_576
    nesting: int = 32
    string_bytes: int = 65_536
    tags: int = 100
    batch: int = 100

    @staticmethod
    def of(settings: Settings) -> "Limits":
        """The limits that the settings name."""
        return Limits(
            body_bytes=settings.max_body_bytes,
            nesting=settings.max_nesting,
            string_bytes=settings.max_string_bytes,
            tags=settings.max_tags,
            batch=settings.max_batch,
        )

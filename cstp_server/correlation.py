"""Which request the running code works for: what every line of the log names that is written for it, in whatever thread."""

from contextvars import ContextVar

CURRENT: ContextVar[str | None] = ContextVar("correlation_id", default=None)
"""The request's id, which its answer carries too; none for what the service does by itself."""

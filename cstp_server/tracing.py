"""What the rest of the service knows of tracing: that there is somebody to tell of calls, if there is."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Span(Protocol):
    """One call in a trace. It takes no free text, because whoever reads traces need not be whoever may read decisions."""

    def concerns(self, decision_id: str, intervention: str | None = None) -> None:
        """The decision that the call is about, and what was answered, where it is a check."""
        ...

    def failed(self, code: int, *, is_fault: bool) -> None:
        """The call was answered with an error's code; `is_fault` where that was the service's own doing."""
        ...


class Tracer(Protocol):
    """Makes spans."""

    def call(self, method: str, correlation_id: str, propagated: Mapping[str, str]) -> AbstractContextManager[Span]:
        """A call of a method, as part of the trace that the caller has `propagated` in the headers `traceparent` and `tracestate`."""
        ...

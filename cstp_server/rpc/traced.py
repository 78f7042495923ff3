"""Calls in traces: where nobody has asked for traces, no call passes here."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cstp_server.rpc.context import Context
from cstp_server.rpc.dispatch import Procedure
from cstp_server.rpc.errors import Code, Failure
from cstp_server.tracing import Tracer

_HEADERS = (b"traceparent", b"tracestate")
_FAULTS = frozenset({Code.INTERNAL_ERROR, Code.STORE_UNAVAILABLE, Code.OVERLOADED})


def traced(methods: Mapping[str, Procedure], tracer: Tracer) -> Mapping[str, Procedure]:
    """The methods, each of whose calls is a span."""
    return {name: _traced(name, procedure, tracer) for name, procedure in methods.items()}


def propagated(headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
    """What the caller says of the trace that its call is part of."""
    return {name.decode(): value.decode("latin-1") for name in _HEADERS if (value := headers.get(name)) is not None}


def _traced(name: str, procedure: Procedure, tracer: Tracer) -> Procedure:
    async def call(context: Context, /, *positional: Any, **named: Any) -> Any:
        with tracer.call(name, context.correlation_id, context.propagated) as span:
            try:
                outcome = await procedure(replace(context, span=span), *positional, **named)
            except Exception:
                span.failed(Code.INTERNAL_ERROR, is_fault=True)
                raise
            if isinstance(outcome, Failure):
                span.failed(outcome.code, is_fault=outcome.code in _FAULTS)
            return outcome

    return call

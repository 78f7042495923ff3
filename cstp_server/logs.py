"""How log lines look and where they go: one line an event on standard error, in JSON or for a console."""

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from cstp_server.correlation import CURRENT
from cstp_server.redaction import HIDDEN, redacted

_SECRET_WORDS = ("authorization", "token", "secret", "password", "api_key", "apikey")
_HIDDEN = "[hidden]"
_CHATTY = ("alembic", "apprise", "httpx", "httpcore", "mcp", "oauthlib", "requests", "requests_oauthlib", "urllib3", "watchfiles")
"""Loggers that write a line for every call, with its URL, every look at the schema, or every file that changes beside the policy, a log
among them."""


def configure(log_format: Literal["console", "json"], level: str) -> None:
    """Send every logger's lines, this package's, uvicorn's and the libraries', through one renderer."""
    shared = _processors()
    renderer: Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=_is_terminal())
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            take_out_credentials,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    _silence(logging.getLogger("uvicorn.access"))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _silence(logger: logging.Logger) -> None:
    """Without any handler, so that uvicorn does not even put a line together for each request."""
    logger.handlers.clear()
    logger.propagate = False


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the value of every field that by its name holds a secret, at any depth."""
    return _without_secrets(event)


def take_out_credentials(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out of every text what looks like a credential: of the line itself, of its fields at any depth, and of what was raised."""
    everything = "\n".join(_texts(event))
    return event if redacted(everything) == everything else {name: _without_credentials(value) for name, value in event.items()}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool | int | float):
        yield str(value)


def name_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the request that the line was written for, unless it names one already."""
    id = CURRENT.get()
    if id is not None:
        event.setdefault("correlation_id", id)
    return event


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        name_request,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        structlog.processors.UnicodeDecoder(),
    ]


def _without_secrets(event: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: HIDDEN if _is_secret(name) else _deeper(value) for name, value in event.items()}


def _deeper(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_secrets(dict(value))
    return [_deeper(item) for item in value] if isinstance(value, list | tuple) else value


def _without_credentials(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {name: _without_credentials(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_credentials(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else redacted(str(value))


def _is_secret(name: str) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS)


def _is_terminal() -> bool:
    return sys.stderr.isatty()

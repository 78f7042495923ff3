"""How log lines look and where they go: one line an event on standard error, in JSON or for a console."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_WORDS = ("authorization", "token", "secret", "password", "api_key", "apikey")
_HIDDEN = "[hidden]"
_CHATTY = ("alembic", "apprise", "httpx", "httpcore", "oauthlib", "requests", "requests_oauthlib", "urllib3", "watchfiles")
"""Loggers that write a line for every call, with its URL, every look at the schema, or every file that changes beside the policy."""


def configure(log_format: Literal["console", "json"], level: str) -> None:
    """Send every logger's lines, this package's, uvicorn's and the libraries', through one renderer."""
    shared = _processors()
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=_is_terminal(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    trace = [structlog.processors.format_exc_info] if log_format == "json" else []
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *trace, renderer],
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


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
        structlog.processors.UnicodeDecoder(),
    ]


def _without_secrets(event: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: _HIDDEN if _is_secret(name) else _deeper(value) for name, value in event.items()}


def _deeper(value: Any) -> Any:
    return _without_secrets(dict(value)) if isinstance(value, Mapping) else value


def _is_secret(name: str) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS)


def _is_terminal() -> bool:
    return sys.stderr.isatty()

"""Connections of callers who may mean harm: what a request may take before it is known whose it is.

uvicorn reads a request's head whatever its size, waits for the rest of a request for ever, and takes every connection. Here a head has a
limit, a request must arrive within a time, an answer must be read within the same time, and there are only so many connections.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from cstp_server.domain.values import dataclass

MOST_HEAD_BYTES = 65_536
MOST_HEADERS = 100
_FRAMING = 8
"""More bytes than a chunk of one byte has around it, so that no honest body is wrapped in too much."""
_ROOM_AGAIN = 0.9
_GRACE_SECONDS = 0.5
_LINGER_SECONDS = 1.0
_ROUNDING_SECONDS = 0.001
"""How much too early a timer may be."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ConnectionLimits:
    """How many connections a process has at most, and how many seconds a request may take to arrive, or an answer to be read."""

    connections: int
    seconds: float
    is_full: bool = False

    def admits(self, connections: int) -> bool:
        """Whether there may be so many; one line of log each time that there is no room."""
        if connections > self.connections:
            if not self.is_full:
                _log.warning("too_many_connections", limit=self.connections, consequence="more are answered with HTTP 503")
            self.is_full = True
            return False
        if self.is_full and connections < self.connections * _ROOM_AGAIN:
            self.is_full = False
        return True


class HeadTooLarge(Exception):
    """Ends the parsing of a request."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A request that is complete with its first bytes, as nearly all are, costs no timer.

    What is called for every request calls uvicorn's own by its name, since to look `super()` up takes longer than most of these do.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._is_arriving = False
        self._has_head = False
        self._is_head_too_large = False
        self._is_turned_away = False
        self._is_last = False
        self._taken = 0
        self._of_body = 0
        self._answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own signature
        """Somebody has connected."""
        super().connection_made(transport)
        if self._limits.admits(len(self.connections)):
            self._expect_more()
        else:
            self.connections.discard(self)
            self._turn_away(HTTPStatus.SERVICE_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._expect_nothing()
        self._stop_leaving()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come. In place of uvicorn's own, which writes a line of log for whatever is no request."""
        if self._is_turned_away:
            return
        self._taken += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered as the plain request that it also is
        except httptools.HttpParserError:
            too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._turn_away(too_large if self._is_head_too_large else HTTPStatus.BAD_REQUEST)
            return
        if self._is_arriving:
            self._await_rest()
        elif self._arriving is None and not self._is_busy():
            self._expect_more()

    def _await_rest(self) -> None:
        """Some of a request is here, and not all."""
        if self._taken > MOST_HEAD_BYTES + (1 + _FRAMING) * self._of_body:
            self._turn_away(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._arriving is None:
            self._expect_more()

    def on_message_begin(self) -> None:
        """A request begins."""
        HttpToolsProtocol.on_message_begin(self)
        self._is_arriving, self._has_head = True, False

    def on_headers_complete(self) -> None:
        """The head is complete: the request goes to the application."""
        if len(self.headers) > MOST_HEADERS or (self._taken > MOST_HEAD_BYTES and self._head_bytes() > MOST_HEAD_BYTES):
            self._is_head_too_large = True
            raise HeadTooLarge
        HttpToolsProtocol.on_headers_complete(self)
        self._has_head = True
        self.headers = []  # those that may follow a body in chunks are none of the application's
        if self._is_last:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body has come."""
        self._of_body += len(body)
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        HttpToolsProtocol.on_message_complete(self)
        self._is_arriving = False
        self._taken = self._of_body = 0
        if self._arriving is not None:
            self._expect_nothing()

    def on_response_complete(self) -> None:
        """A request was answered. In place of uvicorn's own, which sets a timer after each one and cancels it with the next."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which nothing came since its last answer for as long as it may be kept; else look again when that will be."""
        self.timeout_keep_alive_task = None
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self._arriving is not None or self._is_arriving or self._is_busy():
            return  # the next answer sets the timer anew
        if left > _ROUNDING_SECONDS:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """End soon. Who has just connected, or sends something at this moment, still gets an answer, and is told that it is the last."""
        self._is_last = True
        if self._is_busy():
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(_GRACE_SECONDS, self._end_if_idle)

    def pause_writing(self) -> None:
        """The caller does not read as fast as it is written to."""
        super().pause_writing()
        self._leaving = self.loop.call_later(self._limits.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has caught up."""
        self._stop_leaving()
        super().resume_writing()

    def _expect_more(self) -> None:
        self._arriving = self.loop.call_later(self._limits.seconds, self._too_late)

    def _expect_nothing(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _stop_leaving(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _too_late(self) -> None:
        self._arriving = None
        if self._is_turned_away or self.transport.is_closing():
            return
        if self.flow.read_paused or self._waits_behind_another():
            self._expect_more()  # it is the service that keeps the caller waiting
        elif self._is_arriving and (not self._has_head or (self._is_busy() and not self.cycle.response_started)):
            self._turn_away(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _waits_behind_another(self) -> bool:
        """Whether what arrives is a further request, and the one before it is still being answered."""
        return self._is_busy() and not (self._is_arriving and self._has_head)

    def _is_busy(self) -> bool:
        """Whether a request is being received or answered, of which at least the head is there."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # it begins as none

    def _end_if_idle(self) -> None:
        if not self._is_arriving and not self._is_busy() and not self.transport.is_closing():
            self.transport.close()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _turn_away(self, status: HTTPStatus) -> None:
        """Answer, and hang up once the caller has had time to read that; what it goes on to send is dropped."""
        self._is_turned_away = True
        self._expect_nothing()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        body = status.phrase.encode()
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

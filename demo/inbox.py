"""Where the service's alerts arrive: a webhook on this machine, which tells them in the terminal.

It does what a receiver has to: it looks at the signature, as Standard Webhooks prescribes, and tells once what is sent twice.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cstp_server.clock import SystemClock

_HOST = "127.0.0.1"
_LONGEST = 1_048_576
_REMEMBERED = 1_000
_FRESH_SECONDS = 300
_PATIENCE_SECONDS = 10


class Inbox:
    """Takes what is signed with its own secret."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._key = secrets.token_bytes(32)
        self._known: deque[str] = deque(maxlen=_REMEMBERED)
        self._telling = threading.Lock()
        self._tell = tell
        self._server = _Server(self.take)

    @property
    def variables(self) -> Mapping[str, str]:
        """What the policy's channel finds in the environment: where the inbox is, and its secret."""
        return {
            "DEMO_ALERTS_URL": f"http://{_HOST}:{self._server.server_port}/alerts",
            "DEMO_ALERTS_SECRET": f"whsec_{base64.b64encode(self._key).decode()}",
        }

    @contextmanager
    def open(self) -> Iterator[None]:
        """Take alerts; what was sent before waits until then."""
        thread = threading.Thread(target=self._server.serve_forever, name="inbox", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()

    def take(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Tell of a message, unless it was told already; false when nobody signed it who may."""
        id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not self._is_signed(id, timestamp, body, headers.get("webhook-signature", "")):
            return False
        with self._telling:
            if id not in self._known:
                self._known.append(id)
                self._tell(line_of(json.loads(body)["data"]))
        return True

    def _is_signed(self, id: str, timestamp: str, body: bytes, signatures: str) -> bool:
        if not timestamp.isdecimal() or abs(SystemClock().now() / 1000 - int(timestamp)) > _FRESH_SECONDS:
            return False
        digest = hmac.new(self._key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}".encode()
        return any(hmac.compare_digest(expected, signature.encode()) for signature in signatures.split())


def line_of(data: Mapping[str, object]) -> str:
    """An alert in one line.

    >>> line_of({"severity": "warning", "title": "Circuit `global` opened", "heldBack": None})
    'alert, warning: Circuit `global` opened'
    >>> line_of({"severity": "info", "title": "Circuit `global` closed", "heldBack": {"count": 2}})
    'alert, info: Circuit `global` closed (and 2 more within the minute)'
    """
    held_back = data["heldBack"]
    more = f" (and {held_back['count']} more within the minute)" if isinstance(held_back, dict) else ""
    return f"alert, {data['severity']}: {data['title']}{more}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, take: Callable[[Mapping[str, str], bytes], bool]) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.take = take


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE_SECONDS

    def do_POST(self) -> None:
        """Take a message."""
        announced = self.headers.get("content-length", "")
        length = int(announced) if announced.isdecimal() else 0
        is_good = length <= _LONGEST and self.server.take(self._named(), self.rfile.read(length))
        self.send_response(204 if is_good else 401)
        self.send_header("connection", "close")
        self.end_headers()

    def _named(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def log_message(self, format: str, *arguments: object) -> None:
        """The terminal is for the story."""

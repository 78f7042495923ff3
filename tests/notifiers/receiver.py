"""A receiver of messages on loopback, which answers well or in one of many bad ways."""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Answer = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return str(self.json["type"])


def status(code: int, *headers: str) -> Answer:
    """A plain answer."""
    head = "\r\n".join([f"HTTP/1.1 {code} whatever", "Content-Length: 0", "Connection: close", *headers])
    return lambda peer: peer.sendall(f"{head}\r\n\r\n".encode())


def redirect(to: str) -> Answer:
    """Sends the caller elsewhere."""
    return status(302, f"Location: {to}")


def rubbish(peer: socket.socket) -> None:
    """Something that is no HTTP."""
    peer.sendall(b"\x00\x01\x02 what do you want? \xff\xfe\r\n\r\n")


def reset(peer: socket.socket) -> None:
    """Cuts the connection off."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def huge(peer: socket.socket) -> None:
    """Success, and then more of an answer than anybody wants."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(4_000):
        peer.sendall(b"x" * 65_536)


def endless_head(peer: socket.socket) -> None:
    """A head of an answer that does not end."""
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.sendall(b"X-More: " + b"y" * 1_000 + b"\r\n")


@dataclass(slots=True)
class Receiver:
    """Takes requests until it is closed; `answer` is how it answers the next ones, and can be changed at any time."""

    answer: Answer = field(default_factory=lambda: status(204))
    received: list[Received] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    server_names: list[str | None] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _closed: threading.Event = field(default_factory=threading.Event)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        if self.tls is not None:
            self.tls.sni_callback = lambda _peer, name, _context: self.server_names.append(name)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._listener.close()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def types(self) -> list[str]:
        """The types of the messages that came, in their order."""
        return [received.type for received in list(self.received)]

    def hang(self, _peer: socket.socket) -> None:
        """Says nothing as long as the receiver is there."""
        self._closed.wait()

    def drip(self, peer: socket.socket) -> None:
        """An answer that comes a byte at a time, and would take a quarter of an hour."""
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: " + b"z" * 4_000:
            if self._closed.wait(0.2):
                return
            peer.sendall(bytes([byte]))

    def wait(self, count: int, seconds: float = 15) -> list[Received]:
        """What came, once so many requests have."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= count, seconds), f"only {len(self.received)} of {count} came"
            return list(self.received)

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(peer,), daemon=True).start()

    def _take(self, peer: socket.socket) -> None:
        try:
            with self.tls.wrap_socket(peer, server_side=True) if self.tls is not None else peer as opened:
                request = _read(opened)
                with self._arrived:
                    self.received.append(request)
                    self._arrived.notify_all()
                self.answer(opened)
        except OSError:
            return


def _read(peer: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(peer)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _some(peer)
    return Received(first.split(" ")[1], headers, body)


def _some(peer: socket.socket) -> bytes:
    some = peer.recv(65_536)
    if not some:
        raise ConnectionError("the caller has gone")
    return some


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)

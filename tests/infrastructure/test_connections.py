"""Callers who mean harm, before it is known who they are: endless heads, slow bodies, too many connections."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import httpx
import pytest

from tests.conftest import ROOT, StartServer
from tests.server import RunningServer
from tests.story.test_the_loop import wait_for

REQUEST_TIMEOUT_MS = 600
CONNECTIONS = 20
ENOUGH_SECONDS = 20
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "cstp.listGuardrails", "params": {}}).encode()
HEAD = b"POST /cstp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
LENGTH = b"content-length: %d\r\n" % len(BODY)


@pytest.fixture(params=[1, 2])
def guarded(request: pytest.FixtureRequest, start_server: StartServer, sqlite_url: str) -> RunningServer:
    """The service, alone and with workers, with little patience and little room."""
    env = {"CSTP_REQUEST_TIMEOUT_MS": str(REQUEST_TIMEOUT_MS), "CSTP_MAX_CONNECTIONS": str(CONNECTIONS)}
    server = start_server(database_url=sqlite_url, config=ROOT / "config", env=env, workers=request.param)
    wait_for(lambda: server.logs.count("startup complete") == request.param, ENOUGH_SECONDS)
    return server


def connect(server: RunningServer) -> socket.socket:
    """One connection to the service."""
    return socket.create_connection((server.host, server.port), timeout=ENOUGH_SECONDS)


def answer_on(connection: socket.socket) -> bytes:
    """All that the service says until it hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            said += part
    return said


def send_all(connection: socket.socket, parts: Iterator[bytes]) -> int:
    """How much could be sent before the service hung up."""
    sent = 0
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for part in parts:
            connection.sendall(part)
            sent += len(part)
    return sent


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def one_long_line() -> Iterator[bytes]:
    yield HEAD + b"x: "
    for _ in range(2_000):
        yield b"a" * 32_768


def many_lines() -> Iterator[bytes]:
    yield HEAD
    for _ in range(2_000):
        yield b"a: b\r\n" * 5_000


def long_address() -> Iterator[bytes]:
    yield b"POST /"
    for _ in range(2_000):
        yield b"a" * 32_768


def long_trailer() -> Iterator[bytes]:
    yield HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: "
    for _ in range(2_000):
        yield b"a" * 32_768


@pytest.mark.parametrize("flood", [one_long_line, many_lines, long_address, long_trailer])
def test_a_head_without_end_is_cut_off(guarded: RunningServer, flood: Callable[[], Iterator[bytes]]) -> None:
    """After 64 KiB the service says 431 and reads no more than what is under way; it goes on serving others."""
    with connect(guarded) as connection:
        connection.settimeout(ENOUGH_SECONDS)
        started = time.monotonic()
        send_all(connection, flood())
        assert status_of(answer_on(connection)) in {0, 431}
    assert time.monotonic() - started < ENOUGH_SECONDS
    assert guarded.call("cstp.listGuardrails")["guardrails"] is not None


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", 200),
        (b"x: " + b"a" * 60_000 + b"\r\n", 200),
        (b"x: " + b"a" * 66_000 + b"\r\n", 431),
        (b"x: y\r\n" * 90, 200),
        (b"x: y\r\n" * 101, 431),
    ],
    ids=["plain", "long", "too long", "many", "too many"],
)
def test_a_head_that_comes_at_once_has_the_same_limits(guarded: RunningServer, lines: bytes, status: int) -> None:
    """64 KiB and 100 lines, however it is cut into packets, and whatever body follows."""
    with connect(guarded) as connection:
        connection.sendall(HEAD + lines + LENGTH + b"connection: close\r\n\r\n" + BODY)
        assert status_of(answer_on(connection)) == status


def test_a_long_body_is_not_taken_for_a_head(guarded: RunningServer) -> None:
    """A megabyte of body, or a body in tiny chunks, is a body."""
    long = BODY[:-1] + b" " * 1_000_000 + b"}"
    assert guarded.raw(long).status_code == httpx.codes.OK
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY + b" " * 50_000)
    with connect(guarded) as connection:
        connection.sendall(HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert status_of(answer_on(connection)) == httpx.codes.OK


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", 0), (b"POST /cs", 408), (HEAD, 408), (HEAD + LENGTH + b"\r\n", 408), (HEAD + LENGTH + b"\r\n" + BODY[:-1], 408)],
    ids=["nothing", "half a line", "half a head", "no body", "half a body"],
)
def test_a_request_that_does_not_arrive_is_given_up(guarded: RunningServer, sent: bytes, status: int) -> None:
    """The caller is told so with 408, or, when it said nothing at all, the connection is closed."""
    with connect(guarded) as connection:
        connection.sendall(sent)
        assert status_of(answer_on(connection)) == status


def test_a_byte_now_and_then_buys_no_time(guarded: RunningServer) -> None:
    """The time counts from the first byte to the last."""
    with connect(guarded) as connection:
        connection.sendall(b"POST /")
        started = time.monotonic()
        connection.settimeout(0.05)
        answer = b""
        while not answer:
            assert time.monotonic() - started < ENOUGH_SECONDS
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(1_000)
        assert status_of(answer) == 408


def test_a_connection_may_serve_many_requests_and_idle_between_them(guarded: RunningServer) -> None:
    """The time for a request begins with it, not with the connection."""
    connection = HTTPConnection(guarded.host, guarded.port, timeout=ENOUGH_SECONDS)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("POST", "/cstp", BODY, {"content-type": "application/json"})
            with connection.getresponse() as response:
                assert (response.status, bool(response.read()), response.will_close) == (200, True, False)
            time.sleep(REQUEST_TIMEOUT_MS / 1000 * 0.7)


def test_no_more_connections_than_there_may_be(start_server: StartServer, sqlite_url: str) -> None:
    """One more gets 503 at once; when one of the others ends there is room again; the log says so in one line."""
    server = start_server(database_url=sqlite_url, env={"CSTP_MAX_CONNECTIONS": str(CONNECTIONS)})
    server.http.close()
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(connect(server)) for _ in range(CONNECTIONS)]
        for _ in range(3):
            assert wait_for_status(server, {503}) == 503
        for other in others[:10]:
            other.close()
        assert wait_for_status(server, {200}) == 200
    assert server.logs.count("too_many_connections") == 1


def wait_for_status(server: RunningServer, wanted: set[int]) -> int:
    """The status of a look at `/health` on a connection of its own, once it is one of those."""
    deadline = time.monotonic() + ENOUGH_SECONDS
    while (status := httpx.get(f"{server.url}/health", trust_env=False).status_code) not in wanted:
        assert time.monotonic() < deadline
    return status


def test_the_log_is_not_at_the_mercy_of_strangers(guarded: RunningServer) -> None:
    """What is no request is answered with 400 and leaves no line."""
    before = guarded.logs
    for nonsense in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n",
    ):
        with connect(guarded) as connection:
            connection.sendall(nonsense)
            assert status_of(answer_on(connection)) in {400, 404}
    assert guarded.logs == before


def test_an_address_with_a_slash_too_many_redirects_nobody(guarded: RunningServer) -> None:
    """It is answered as the one without: a redirect would go wherever the caller's `Host` says."""
    for path in ("/cstp/", "/cstp"):
        response = guarded.raw(BODY, path=path, headers={"Host": "evil.example"})
        assert (response.status_code, response.headers.get("location")) == (200, None)
    assert guarded.http.get("/health/").status_code == httpx.codes.OK
    assert guarded.http.get("/nowhere/").status_code == httpx.codes.NOT_FOUND
    assert (
        guarded.http.get("//", headers={"Host": "evil.example"}).headers["location"]
        == guarded.http.get("/").headers["location"]
        == "/sign-in"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_who_has_just_connected_when_the_service_is_told_to_end_still_gets_an_answer(
    start_server: StartServer, sqlite_url: str, workers: int
) -> None:
    """A request on a connection that was made before SIGTERM is answered after it, and told that it is the last."""
    server = start_server(database_url=sqlite_url, workers=workers)
    wait_for(lambda: server.logs.count("startup complete") == workers, ENOUGH_SECONDS)
    with connect(server) as connection:
        server.signal(signal.SIGTERM)
        wait_for(lambda: server.logs.count("Shutting down") == workers)
        connection.sendall(HEAD + LENGTH + b"\r\n" + BODY)
        answer = answer_on(connection)
    assert status_of(answer) == httpx.codes.OK
    assert b"connection: close" in answer

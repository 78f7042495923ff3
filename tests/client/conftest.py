"""A scripted server, clients for it, and a time that passes only when somebody sleeps."""

from collections.abc import Callable, Iterator

import pytest

from cstp_server.client import AsyncClient, Client, Retry
from tests.client.scripted_server import ScriptedServer, allowed, reviewed


class Sleeper:
    """A clock, and a sleep that moves it. `before_waking` runs while the sleeper sleeps."""

    def __init__(self) -> None:
        self.at = 1_770_000_000_000
        self.slept: list[float] = []
        self.before_waking: Callable[[], None] = lambda: None

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.at

    def monotonic(self) -> float:
        """Seconds, of the same time."""
        return self.at / 1000

    def sleep(self, seconds: float) -> None:
        """Sleep, in no time."""
        self.slept.append(seconds)
        self.at += int(seconds * 1000)
        self.before_waking()

    async def async_sleep(self, seconds: float) -> None:
        """Sleep, in no time."""
        self.sleep(seconds)


@pytest.fixture
def sleeper() -> Sleeper:
    """The time of this test's clients."""
    return Sleeper()


@pytest.fixture
def idle_server() -> Iterator[ScriptedServer]:
    """A server that refuses connections until it is started."""
    with ScriptedServer() as server:
        server.usual |= {"cstp.checkGuardrails": allowed, "cstp.reviewDecision": reviewed}
        yield server


@pytest.fixture
def server(idle_server: ScriptedServer) -> ScriptedServer:
    """A server that allows every check and takes every review."""
    idle_server.start()
    return idle_server


RETRY = Retry(jitter=lambda: 1.0)


@pytest.fixture
def client(idle_server: ScriptedServer, sleeper: Sleeper) -> Iterator[Client]:
    """A client of that server, in the sleeper's time."""
    with Client(idle_server.url, "cstp_secret", retry=RETRY, sleep=sleeper.sleep, clock=sleeper) as client:
        yield client


def async_client(server: ScriptedServer, sleeper: Sleeper) -> AsyncClient:
    """An async client of that server, in the sleeper's time."""
    return AsyncClient(server.url, "cstp_secret", retry=RETRY, sleep=sleeper.async_sleep, clock=sleeper)

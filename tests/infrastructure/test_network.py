"""The tests reach nobody outside this machine."""

import socket

import httpx
import pytest


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "http://example.org/"])
def test_the_outside_is_out_of_reach(url: str) -> None:
    """An address or a name that is not loopback is refused before anything is sent."""
    with pytest.raises(RuntimeError, match="reaches for the network"):
        httpx.get(url, trust_env=False)


def test_loopback_is_open() -> None:
    """A loopback listener can be connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as connection:
        assert connection.getpeername() == listener.getsockname()

"""Where messages may go: to public addresses, and nowhere else unless the policy allows it.

A name is resolved here, and the connection is made to the very address that was looked at: a name that means another address a moment
later leads nowhere.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Protocol

from httpcore import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout

from cstp_server.notifiers.apart import apart

_MOST_ADDRESSES = 4
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # what a cloud tells its machines, at an address that looks like any other
        "192.0.0.0/24",
        "64:ff9b:1::/48",
        "3fff::/20",
        "5f00::/16",
    )
)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]


class NotPublic(Exception):
    """The host leads to no address that messages may go to."""


class Resolve(Protocol):
    """Knows the addresses of a host."""

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses, the preferred one first. Raises `OSError` when there are none."""
        ...


def is_public(text: str) -> bool:
    """Whether an address leads to the public Internet."""
    try:
        address = _led_to(ipaddress.ip_address(text))
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _REFUSED)


def _led_to(address: Address) -> Address:
    """The address itself, or the IPv4 address that an IPv6 address is only another form of, or a gateway's way to."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address((int(address) >> 80) & 0xFFFF_FFFF)
    return address


async def resolve(host: str, port: int) -> Sequence[str]:
    """What the system says, in a thread of its own: a resolver that hangs keeps nothing else waiting."""
    found = await apart(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), f"resolve {host}")
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(AsyncNetworkBackend):
    """Connects to addresses that messages may go to."""

    def __init__(self, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._backend = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first of the host's addresses that is allowed and answers. Raises `NotPublic`, `ConnectError`."""
        failure: Exception = ConnectError("the host has no address")
        for address in await self._addresses(host, port):
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (ConnectError, ConnectTimeout) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise ConnectError("the host is not known") from error
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if found and not allowed:
            raise NotPublic
        return allowed[:_MOST_ADDRESSES]

"""How often somebody may try to sign in: failures count, by address and of all together, in this process."""

import ipaddress
import math
from collections import OrderedDict, deque

from cstp_server.clock import Clock

MOST_OF_ONE = 10
MOST_OF_ALL = 500
WINDOW_SECONDS = 300.0
_MOST_ADDRESSES = 10_000
_IPV6_NETWORK = 64


class Attempts:
    """Remembers failed attempts of the last minutes. Nobody is kept out whose session stands."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._of: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque()

    def wait(self, host: str | None) -> int:
        """After how many seconds that address may try again; 0 when it may now."""
        now = self._now()
        own = self._of.get(_network(host), deque())
        return max(_wait(own, MOST_OF_ONE, now), _wait(self._all, MOST_OF_ALL, now))

    def failed(self, host: str | None) -> None:
        """Count a failure of that address."""
        network, now = _network(host), self._now()
        own = self._of.setdefault(network, deque(maxlen=MOST_OF_ONE))
        own.append(now)
        self._of.move_to_end(network)
        if len(self._of) > _MOST_ADDRESSES:
            self._of.popitem(last=False)
        self._all.append(now)

    def succeeded(self, host: str | None) -> None:
        """Forget the failures of that address."""
        self._of.pop(_network(host), None)


def _wait(failures: deque[float], most: int, now: float) -> int:
    while failures and failures[0] <= now - WINDOW_SECONDS:
        failures.popleft()
    return math.ceil(failures[-most] + WINDOW_SECONDS - now) if len(failures) >= most else 0


def _network(host: str | None) -> str:
    """The address, or the network that one owner of IPv6 addresses has to themselves."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
    return str(address)

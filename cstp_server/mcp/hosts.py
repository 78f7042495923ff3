"""Which hosts and origins are answered, so that no web page reaches the service by having its own name point here."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names of this service besides `localhost`. An address needs no name: nobody can have it point elsewhere."""

    names: Collection[str] = ()

    def answers(self, host: str | None) -> bool:
        """Whether a `Host` header, with or without a port, is one of this service's."""
        name = _name_in(f"//{host}") if host else None
        return name is not None and (name == "localhost" or _is_address(name) or name in self.names)

    def trusts(self, origin: str, host: str) -> bool:
        """Whether a page of that `Origin` may call: one of this service itself, or of this machine."""
        name = _name_in(origin)
        return name is not None and (name == _name_in(f"//{host}") or name in self.names or name == "localhost" or _is_loopback(name))


def _name_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback

"""Which hosts are one's own (SPEC 9)."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cstp_server.dimensions.hosts import Host, host_named

PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")))
"""Private addresses, and one's own machine. Link-local ones are not among them: clouds hand out credentials there."""
PRIVATE6 = tuple(map(IPv6Network, ("fc00::/7", "::1/128")))
"""The same of IPv6. Addresses that are translated to IPv4 on their way (NAT64, 6to4) are public ones."""
SUFFIXES = (".internal", ".local", ".lan")
"""The ends of names that are never public."""
_LOCALHOST = "localhost"
_LABEL = ".internal."


def read_domains(domains: Iterable[str]) -> frozenset[str]:
    """The domains as they are compared. Raises `ValueError` for what is none."""
    return frozenset(domain_named(domain) for domain in domains)


def domain_named(text: str) -> str:
    """One domain: a name, which stands for itself and everything below, or `*.name` for what is below it alone."""
    wildcard = "*." if text.startswith("*.") else ""
    host = host_named(text.removeprefix(wildcard))
    if host.address is not None:
        raise ValueError("is an address: private ones are internal anyway")
    return wildcard + host.text


def is_internal(host: Host, domains: frozenset[str]) -> bool:
    """Whether a host is one's own. The label `internal` in its name says so only where no domains are given."""
    if host.address is not None:
        return _is_private(host.address)
    name = host.text
    if name == _LOCALHOST or name.endswith(SUFFIXES):
        return True
    return is_below(name, domains) if domains else _LABEL in name


def are_internal_below(name: str, domains: frozenset[str]) -> bool:
    """Whether all names below that one are."""
    return is_internal(Host(f"x.{name}"), domains)


def is_below(name: str, domains: frozenset[str]) -> bool:
    """Whether the name is one of the domains, or below one."""
    return name in domains or any(parent in domains or f"*.{parent}" in domains for parent in parents(name))


@lru_cache(maxsize=4096)
def parents(name: str) -> tuple[str, ...]:
    """The names that a name is below, the nearest first."""
    labels = name.split(".")
    return tuple(".".join(labels[first:]) for first in range(1, len(labels)))


def _is_private(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in PRIVATE)
    return any(address in network for network in PRIVATE6)

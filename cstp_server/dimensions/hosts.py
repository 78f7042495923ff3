"""Hosts as targets of communication name them, in the one form in which they are compared (SPEC 9).

A target is a URL, a host with or without a port and a path, or an e-mail address. What programs read differently is read by none here:
white space, backslashes, percent signs before the path, two `@`, a scheme without `//`.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

import idna

_UNREADABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
_MAILTO = re.compile(r"mailto:", re.IGNORECASE)
_END_OF_AUTHORITY = re.compile(r"[/?#]")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PARTS_OF_AN_ADDRESS = 4
_LONGEST_TARGET = 8192
_LONGEST_HOST = 254
_LARGEST_PORT = 65_535


class Host(NamedTuple):
    """A host. `text` is its name in lower case and as IDNA encodes it, without a dot at its end, or its address as it is written today."""

    text: str
    address: IPv4Address | IPv6Address | None = None


def host_of(target: str) -> Host:
    """The host that a target names. Raises `ValueError`."""
    if len(target) > _LONGEST_TARGET or _UNREADABLE.search(target):
        raise ValueError("is no target that every program reads the same")
    if _MAILTO.match(target):
        return _recipient(target.partition(":")[2])
    scheme = _SCHEME.match(target)
    address = target[scheme.end() :] if scheme is not None else target
    end = _END_OF_AUTHORITY.search(address)
    authority = address if end is None else address[: end.start()]
    if "%" in authority or authority.count("@") > 1 or (end is not None and end.group() != "/" and "@" in address[end.start() :]):
        raise ValueError("does not say plainly which host it means")
    if scheme is None and authority.count(":") > 1 and "[" not in authority:
        return _address6(authority)
    return _of_authority(authority.rpartition("@")[2])


def host_named(text: str) -> Host:
    """The host that a text is, without scheme, user, port or path. Raises `ValueError`."""
    if text.count(":") > 1 and "[" not in text:
        return _address6(text)
    if _UNREADABLE.search(text) or _END_OF_AUTHORITY.search(text) or "@" in text or (":" in text and not text.startswith("[")):
        raise ValueError("must be a host alone, without scheme, user, port or path")
    return _of_authority(text)


def _recipient(address: str) -> Host:
    """The host of one e-mail address; headers, such as `?cc=`, may name others."""
    if address.count("@") != 1 or "?" in address or "," in address or ";" in address:
        raise ValueError("is no single address")
    return host_named(address.partition("@")[2])


def _of_authority(authority: str) -> Host:
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found["port"] or 0) > _LARGEST_PORT:
        raise ValueError("has no host, or one that cannot be read")
    host = found["host"]
    return _address6(host[1:-1]) if host.startswith("[") else _name(host)


def _address6(text: str) -> Host:
    """An IPv6 address; one that only wraps an IPv4 address is that one."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise ValueError("has no host, or one that cannot be read") from None
    if address.scope_id is not None:
        raise ValueError("names a zone, which means something else on every machine")
    wrapped = address.ipv4_mapped
    return Host(str(wrapped), wrapped) if wrapped is not None else Host(str(address), address)


@lru_cache(maxsize=4096)
def _name(text: str) -> Host:
    """A name, or an IPv4 address in any of its spellings: decimal, octal, hexadecimal, with fewer parts."""
    if len(text) > _LONGEST_HOST:
        raise ValueError("is too long")
    plain = (text if text.isascii() else _encoded(text)).lower().removesuffix(".")
    labels = plain.split(".")
    if not all(map(_is_label, labels)):
        raise ValueError("is no name of a host")
    if _NUMERIC.fullmatch(labels[-1]):
        address = _address4(labels)
        return Host(str(address), address)
    return Host(plain)


def _encoded(text: str) -> str:
    return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")


def _is_label(label: str) -> bool:
    if not _LABEL.fullmatch(label):
        return False
    if label.startswith("xn--"):
        idna.decode(label)
    return True


def _address4(labels: list[str]) -> IPv4Address:
    """As the C library's `inet_aton` and browsers read it: the last part fills what the others leave."""
    if len(labels) > _PARTS_OF_AN_ADDRESS:
        raise ValueError("is no address")
    *firsts, last = map(_number, labels)
    if any(part > 0xFF for part in firsts) or last >= 256 ** (_PARTS_OF_AN_ADDRESS - len(firsts)):
        raise ValueError("is no address")
    return IPv4Address(sum(part << 8 * (3 - place) for place, part in enumerate(firsts)) + last)


def _number(label: str) -> int:
    if not _NUMERIC.fullmatch(label):
        raise ValueError("is no address")
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") else int(label)

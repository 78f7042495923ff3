"""Who is calling: from the bearer token alone, or from loopback while no token is configured (SPEC 2, Auth)."""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from cstp_server.domain.callers import LOOPBACK, Caller
from cstp_server.domain.refusals import Unauthorized
from cstp_server.domain.values import dataclass
from cstp_server.services.ports import Authenticator
from cstp_server.services.tokens import digest_of, split_named

NO_TOKEN = Unauthorized("this takes a token: send `Authorization: Bearer <token>`")
BAD_TOKEN = Unauthorized("the token is unknown, revoked or expired")
BAD_SCHEME = Unauthorized("the token must come as `Authorization: Bearer <token>`")
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
_LONGEST_TOKEN = 1024


@dataclass(frozen=True, slots=True)
class Identification:
    """Finds out who calls. `key` keys the digests of tokens; `host` is the address that a request comes from."""

    authenticator: Authenticator
    key: bytes

    async def caller_of(self, host: str | None, headers: Mapping[bytes, bytes]) -> Caller | Unauthorized:
        """The caller of an HTTP request, or why there is none."""
        authorization = headers.get(b"authorization")
        if authorization is None:
            return await self.local_caller(host, headers)
        scheme, _, credentials = authorization.decode("latin-1").partition(" ")
        presented = credentials.strip()
        if scheme.lower() != "bearer" or not presented:
            return BAD_SCHEME
        return await self.holder_of(presented)

    async def holder_of(self, presented: str) -> Caller | Unauthorized:
        """Who holds a token, in either of its forms: bare, or `name:secret` with the name that it was made for."""
        if len(presented) > _LONGEST_TOKEN:
            return BAD_TOKEN
        name, secret = split_named(presented)
        caller = await self.authenticator.caller_of(digest_of(secret, self.key))
        if caller is None or (name is not None and name != caller.principal):
            return BAD_TOKEN
        return caller

    async def local_caller(self, host: str | None, headers: Mapping[bytes, bytes]) -> Caller | Unauthorized:
        """The loopback caller, while no token is configured.

        A request that a proxy passed on, or that a web page of another site made, comes from loopback too, but is not its caller's own.
        """
        if host is None or not is_loopback(host) or await self.authenticator.any_tokens():
            return NO_TOKEN
        if not _FORWARDED.isdisjoint(headers):
            return NO_TOKEN
        origin = headers.get(b"origin")
        if origin is not None and not _is_local(origin.decode("latin-1")):
            return NO_TOKEN
        return LOOPBACK


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def names_this_machine(authority: str) -> bool:
    """Whether a `Host` names this machine itself, so that no other site's name was pointed at it."""
    return _is_local(f"//{authority}")


def _is_local(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    return host is not None and (host == "localhost" or is_loopback(host))

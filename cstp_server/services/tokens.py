"""Tokens: random, shown once, kept only as a keyed digest (SPEC 2, Auth)."""

import hashlib
import secrets
from functools import lru_cache

from cstp_server.domain.callers import Role
from cstp_server.domain.values import dataclass

PREFIX = "cstp_"
_BYTES = 32


def mint() -> str:
    """A new token with 256 bits of randomness; a fast digest is enough for what cannot be guessed."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(token: str, key: bytes = b"") -> bytes:
    """The keyed digest under which a token is stored and looked up. `key` is at most 64 bytes."""
    digest = _keyed(key).copy()
    digest.update(token.encode("utf-8", "surrogatepass"))
    return digest.digest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> "hashlib.blake2b":
    """The digest of nothing but the key, which is half the work."""
    return hashlib.blake2b(key=key, digest_size=32)


def split_named(presented: str) -> tuple[str | None, str]:
    """The name and the secret of a token in CSTP's form `name:secret`; no name for a bare token."""
    name, colon, secret = presented.rpartition(":")
    return (name, secret) if colon and name and secret else (None, presented)


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token as it is listed: everything but the token. Times in ms since the epoch."""

    name: str
    roles: tuple[Role, ...]
    tenant: str
    agent_id: str | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None

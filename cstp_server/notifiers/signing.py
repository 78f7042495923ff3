"""Signatures of webhooks, as Standard Webhooks prescribes: https://www.standardwebhooks.com."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SHORTEST = 24
LONGEST = 64


def keys_of(secrets: str) -> tuple[bytes, ...]:
    """The keys in a text of one or more secrets, a space between them; while one takes another's place, both sign.

    Raises `ValueError`, whose message holds nothing of them.
    """
    keys = tuple(_key(secret) for secret in secrets.split())
    if not keys:
        raise ValueError(f"must hold a secret, `{PREFIX}` and base64")
    return keys


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        raise ValueError(f"must hold a secret that begins with `{PREFIX}`")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must hold base64 after `{PREFIX}`") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"must hold {SHORTEST} to {LONGEST} bytes in base64 after `{PREFIX}`")
    return key


def signatures(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`; `timestamp` in seconds since the epoch."""
    signed = f"{id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}" for key in keys)

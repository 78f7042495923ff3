"""The digests under which tokens are stored (SPEC 2, Auth)."""

import hashlib

import pytest

from cstp_server.services.tokens import digest_of


@pytest.mark.parametrize("key", [b"", b"k" * 64])
def test_a_digest_is_the_same_however_often_it_is_asked_for(key: bytes) -> None:
    """It is that of the token under the key, as it was stored: nothing that was asked before changes it."""
    for token in ("cstp_one", "cstp_two", "cstp_one", "caf\u00e9 \udc80"):
        expected = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), key=key, digest_size=32).digest()
        assert digest_of(token, key) == expected

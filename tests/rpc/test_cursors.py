"""A cursor comes back as it was given out, or is refused (SPEC 2: bad input names its field)."""

import base64

import pytest

from tests.rpc.edge import Edge

LISTS = ("cstp.listDecisions", "cstp.listCircuits", "cstp.listEvents")


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize("place", [b"", b"1:dec\x00", b"\xff\xfe"], ids=["empty", "NUL", "no UTF-8"])
def test_a_cursor_of_nobodys_is_refused(edge: Edge, method: str, place: bytes) -> None:
    """No place of ours is empty, is no text, or holds a character that no store takes."""
    error = edge.error(method, {"cursor": base64.urlsafe_b64encode(place).decode()})
    assert (error["code"], error["data"]["field"]) == (-32602, "cursor")

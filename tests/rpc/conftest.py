"""What the tests of the edge share."""

import pytest

from tests.rpc.edge import Edge


@pytest.fixture
def edge() -> Edge:
    """An edge without tokens: callers from this machine have every role."""
    return Edge()

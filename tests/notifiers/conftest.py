"""Receivers on loopback."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.notifiers.receiver import Receiver
from tests.storage.conftest import make_world, sqlite_world

__all__ = ["make_world", "sqlite_world"]
MakeReceiver = Callable[..., Receiver]


@pytest.fixture
def make_receiver() -> Iterator[MakeReceiver]:
    """Makes receivers; each is closed when the test ends."""
    with ExitStack() as stack:

        def make(**arguments: object) -> Receiver:
            return stack.enter_context(Receiver(**arguments))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def receiver(make_receiver: MakeReceiver) -> Receiver:
    """A receiver that takes what it gets."""
    return make_receiver()

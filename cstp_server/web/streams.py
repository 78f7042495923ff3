"""How many streams are open, so that nobody takes the connections of all others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cstp_server.services.sessions import SignedIn

MOST_OF_SESSION = 20
MOST_OF_PERSON = 100
_OF_CONNECTIONS = 2


class Streams:
    """Counts the streams of this process: of each session, of each person with all their sessions, and altogether."""

    def __init__(self, connections: int) -> None:
        """Streams take at most half of the `connections` that the process has."""
        self._most = max(connections // _OF_CONNECTIONS, 1)
        self._open: Counter[tuple[str, ...]] = Counter()

    def has_room(self, signed_in: SignedIn) -> bool:
        """Whether that session may have another one."""
        return all(self._open[place] < most for place, most in self._places(signed_in).items())

    @contextmanager
    def open(self, signed_in: SignedIn) -> Iterator[None]:
        """One is open."""
        places = self._places(signed_in)
        self._open.update(places.keys())
        try:
            yield
        finally:
            self._open.subtract(places.keys())
            for place in places:
                if not self._open[place]:
                    del self._open[place]

    def _places(self, signed_in: SignedIn) -> dict[tuple[str, ...], int]:
        caller = signed_in.caller
        return {
            (): self._most,
            ("person", caller.tenant, caller.principal): MOST_OF_PERSON,
            ("session", signed_in.secret): MOST_OF_SESSION,
        }

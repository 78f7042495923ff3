"""Outages of the store in the log: one line when it begins and one when it is over, however many calls meet it."""

import threading
from collections.abc import Callable
from enum import StrEnum

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cstp_server.clock import Clock
from cstp_server.storage.database_file import FileLost
from cstp_server.storage.trouble import cause_of

_log = structlog.get_logger(__name__)
_QUIET_SECONDS = 5.0


class Side(StrEnum):
    """What is done with the store; one side may fail while the other works, on a full disk for instance."""

    READING = "reading"
    WRITING = "writing"


class Outage:
    """Whether the store works, by what was last tried. It is over once every side that failed works, and none has failed for a while."""

    def __init__(self, clock: Clock, on_change: Callable[[str, bool], None]) -> None:
        """`on_change` is told of a side, by its name, whether it works from now on."""
        self._clock = clock
        self._on_change = on_change
        self._changing = threading.Lock()
        self._failing: set[Side] = set()
        self._failed_at = 0.0
        self._told: set[str] = set()

    def failed(self, side: Side, error: SQLAlchemyError) -> None:
        """The store did not do what it was asked to. May be called from any thread."""
        cause = cause_of(error)
        with self._changing:
            if not self._failing:
                self._told.clear()
            # what is wrong with the file asks for something else each time, so each cause is told
            if not self._failing or (isinstance(error, FileLost) and cause not in self._told):
                _log.error("store_unavailable", side=side.value, cause=cause)
                self._told.add(cause)
            if side not in self._failing:
                self._failing.add(side)
                self._on_change(side.value, False)  # noqa: FBT003 - a callback has no names for what it is told
            self._failed_at = self._clock.monotonic()

    def is_on(self, side: Side) -> bool:
        """Whether that side has failed, and is not known to work again."""
        return side in self._failing

    def worked(self, side: Side) -> None:
        """The store did what it was asked to. May be called from any thread."""
        if side not in self._failing:
            return
        with self._changing:
            if self._clock.monotonic() - self._failed_at < _QUIET_SECONDS:
                return
            self._failing.discard(side)
            self._on_change(side.value, True)  # noqa: FBT003
            if not self._failing:
                _log.warning("store_available_again")

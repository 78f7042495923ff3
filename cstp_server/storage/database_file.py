"""The SQLite file that a process has open, and whether it is still the one under its path.

SQLite goes on reading and writing a file that was removed or replaced: what it then acknowledges is lost. So every connection knows which
file it opened, its write-ahead log and the log's index included, and compares that with what lies under the path before it says anything.
"""

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError

Identity = tuple[tuple[int, int] | None, ...]
"""Device and inode of the file, of its write-ahead log and of the log's index; none where there is no such file."""
_BESIDE = ("-wal", "-shm")


class FileLost(SQLAlchemyError):
    """The file under the path is not the one that was opened, and must not be used; the message tells the operator why."""


class FileReplaced(FileLost):
    """Another database lies under the path, and may be opened in place of the one before."""


class OpenFile(sqlite3.Connection):
    """A connection that knows which file it opened."""

    identity: Identity = ()
    generation: int = 0
    file: "DatabaseFile | None" = None

    def verify(self) -> None:
        """Raise `FileLost` unless the file under the path is the one that this connection has open."""
        if self.file is not None:
            self.file.verify(self.identity)

    def close(self) -> None:
        """Let go of the file."""
        file, self.file = self.file, None
        if file is None:
            super().close()
            return
        with file.forgetting(self.identity):
            super().close()


class DatabaseFile:
    """One path at which a process finds its database. It never makes the file: a database that is gone must not come back empty."""

    def __init__(self, path: Path) -> None:
        self._path = str(path.absolute())
        self._paths = (self._path, *(self._path + suffix for suffix in _BESIDE))
        self._opening = threading.Lock()
        self._open: Counter[Identity] = Counter()
        self._generation = 0

    def open(self, *, busy_seconds: float) -> OpenFile:
        """Open the file, which nothing has been read from yet. Raises `FileLost`."""
        with self._opening:
            before = self._identity()
            if before[0] is None:
                raise FileLost(self._gone())
            for other in self._open:
                if other != before:
                    self._refuse_mixture(other, before)
        connection = _connect(f"file:{quote(self._path)}?mode=rw", busy_seconds, uri=True)
        connection.identity = before
        return connection

    def remember(self, connection: OpenFile) -> None:
        """Note which file a connection has open, now that its write-ahead log is there. Raises `FileLost`."""
        opened = connection.identity[0]
        with self._opening:
            now = self._identity()
            if now[0] is None:
                raise FileLost(self._gone())
            if now[0] != opened:
                raise FileReplaced(f"`{self._path}` was replaced while it was opened")
            for other in self._open:
                if other != now:
                    self._refuse_mixture(other, now)
            if now not in self._open:
                self._generation += 1
            self._open[now] += 1
            connection.identity, connection.generation, connection.file = now, self._generation, self

    @contextmanager
    def forgetting(self, identity: Identity) -> Iterator[None]:
        """While a connection to that file is closed: the last one removes the write-ahead log, and that must not look like a loss."""
        with self._opening:
            try:
                yield
            finally:
                self._open[identity] -= 1
                if not self._open[identity]:
                    del self._open[identity]

    def verify(self, identity: Identity) -> None:
        """Raise `FileLost` unless the files under the path are those."""
        now = self._identity()
        if now == identity:
            return
        if now[0] is None:
            raise FileLost(self._gone())
        self._refuse_mixture(identity, now)
        raise FileReplaced(f"`{self._path}` was replaced by another file")

    def _refuse_mixture(self, opened: Identity, now: Identity) -> None:
        """No file of a database may serve another one, nor may a database have two logs."""
        if now[0] == opened[0]:
            raise FileLost(f"`{self._path}-wal` or `-shm` was removed from under the service: restart it, which saves what was in them")
        if any(there is not None and there == before for there, before in zip(now[1:], opened[1:], strict=True)):
            raise FileLost(
                f"`{self._path}` was replaced, but `{self._path}-wal` and `-shm` belong to the file before: remove the two, or put it back"
            )

    def _gone(self) -> str:
        return f"`{self._path}` is gone: put it back, or restore a backup"

    def _identity(self) -> Identity:
        return tuple([_inode(path) for path in self._paths])


def open_or_create(path: Path, *, busy_seconds: float) -> OpenFile:
    """Open the file, or make it. Raises `FileLost` when a log lies there without its database, which SQLite would empty."""
    if not path.exists() and Path(f"{path}-wal").exists():
        raise FileLost(f"`{path}` is gone, but `{path}-wal` is there: put the file back, or remove `{path}-wal` and `{path}-shm` as well")
    return _connect(str(path), busy_seconds, uri=False)


def _connect(target: str, busy_seconds: float, *, uri: bool) -> OpenFile:
    # check_same_thread: a pool hands a connection from thread to thread, never to two at a time
    arguments: dict[str, Any] = {"timeout": busy_seconds, "check_same_thread": False, "isolation_level": None, "factory": OpenFile}
    connection: OpenFile = sqlite3.connect(target, uri=uri, **arguments)
    return connection


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked for before and after every transaction, and `Path` doubles its price
    except OSError:
        return None
    return found.st_dev, found.st_ino

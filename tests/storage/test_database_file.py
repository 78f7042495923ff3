"""The SQLite file that a process has open: what the process does with it itself is no loss (SPEC 12)."""

import threading
from contextlib import closing
from pathlib import Path

from cstp_server.storage.database_file import DatabaseFile, FileLost, open_or_create


def test_a_log_that_goes_with_its_last_connection_was_removed_by_nobody(tmp_path: Path) -> None:
    """However many connections come and go at the same time: none takes another one's end for a loss."""
    path = tmp_path / "x.db"
    with closing(open_or_create(path, busy_seconds=5)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE things (name TEXT)")
    file, losses = DatabaseFile(path), list[FileLost]()

    def come_and_go() -> None:
        for _ in range(500):
            try:
                with closing(file.open(busy_seconds=5)) as connection:
                    connection.execute("SELECT name FROM things").fetchall()
                    file.remember(connection)
            except FileLost as lost:
                losses.append(lost)

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert losses == []

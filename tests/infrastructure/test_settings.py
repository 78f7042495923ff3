"""Settings that are wrong are told by the name of their variable, before anything is started; what is set is what is used."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.server import RunningServer

SECRET = "correct-horse-battery-staple" * 3


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("CSTP_DEADLINE_MS", "abc", "`CSTP_DEADLINE_MS` must be a whole number, not `abc`"),
        ("CSTP_DEADLINE_MS", "", "`CSTP_DEADLINE_MS` must be a whole number, not ``"),
        ("CSTP_DEADLINE_MS", "1.5", "`CSTP_DEADLINE_MS` must be a whole number, not `1.5`"),
        ("CSTP_DEADLINE_MS", "0", "`CSTP_DEADLINE_MS` must be at least 1, not `0`"),
        ("CSTP_MAX_NESTING", "501", "`CSTP_MAX_NESTING` must be at most 500, not `501`"),
        ("CSTP_RATE_LIMIT_PER_SECOND", "fast", "`CSTP_RATE_LIMIT_PER_SECOND` must be a number, not `fast`"),
        ("CSTP_LOG_FORMAT", "xml", "`CSTP_LOG_FORMAT` must be `console` or `json`, not `xml`"),
        ("CSTP_TOKEN_KEY", SECRET, "`CSTP_TOKEN_KEY` must be at most 64 bytes long"),
        (
            "CSTP_AUDIT_KEY",
            "correct horse",
            "`CSTP_AUDIT_KEY` must be at least 32 bytes long, such as `openssl rand -hex 32` makes",
        ),
        (
            "CSTP_AUDIT_KEY_FILE",
            "/nowhere/key",
            "`CSTP_AUDIT_KEY_FILE`: `/nowhere/key` cannot be read: no such file or directory",
        ),
        ("CSTP_PUBLIC_URL", "cstp.example.org", "`CSTP_PUBLIC_URL` must be a URL such as `https://cstp.example.org`"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, variable: str, value: str, problem: str) -> None:
    """With what would be right and what was found, unless that is a secret."""
    server = RunningServer(tmp_path, env={variable: value})
    assert server.spawn_and_wait() == 1
    assert server.logs == f"error: {problem}\n"


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    """Each on a line of its own."""
    server = RunningServer(tmp_path, env={"CSTP_MAX_TAGS": "many", "CSTP_MAX_BATCH": "0"})
    assert server.spawn_and_wait() == 1
    assert server.logs.splitlines() == [
        "error: `CSTP_MAX_TAGS` must be a whole number, not `many`",
        "`CSTP_MAX_BATCH` must be at least 1, not `0`",
    ]


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ((), ""),
        (("PORT=9000",), "--port 9000"),
        (("HOST=0.0.0.0", "WORKERS=3", "CONFIG=policies"), "--config policies --host 0.0.0.0 --workers 3"),
    ],
)
def test_make_serve_leaves_to_the_settings_what_it_is_not_told(given: tuple[str, ...], options: str) -> None:
    """So `CSTP_PORT=9000 make serve` listens on port 9000."""
    make = shutil.which("make")
    assert make is not None
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR"}}
    done = subprocess.run(
        [make, "--dry-run", "serve", "VENV=no-such-folder", *given], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    served = [line for line in done.stdout.splitlines() if "cstp_server serve" in line]
    assert [line.partition("cstp_server serve")[2].split() for line in served] == [options.split()]

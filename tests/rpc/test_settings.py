"""Settings, and what the process writes of itself."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog
from pydantic import SecretStr, ValidationError

from cstp_server.logs import configure
from cstp_server.rpc.limits import Limits
from cstp_server.settings import Settings, describe, unknown_variables
from tests.conftest import ROOT


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Gives what was written to standard error; logging is afterwards as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield lambda: capsys.readouterr().err
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.reset_defaults()


def test_settings_have_defaults_for_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any variable: loopback, a SQLite file, the limits of the specification."""
    for setting in describe():
        monkeypatch.delenv(setting.name, raising=False)
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8787, 1)
    assert (settings.database_url, settings.config, settings.key) == ("sqlite:///./data/cstp.db", Path("config/"), b"")
    assert Limits.of(settings) == Limits()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`CSTP_…` for each, and plain `DATABASE_URL`, which wins over `CSTP_DATABASE_URL`."""
    monkeypatch.setenv("CSTP_PORT", "9000")
    monkeypatch.setenv("CSTP_TOKEN_KEY", "swordfish")
    monkeypatch.setenv("CSTP_DATABASE_URL", "sqlite:///a.db")
    assert Settings().database_url == "sqlite:///a.db"
    monkeypatch.setenv("DATABASE_URL", "sqlite:///b.db")
    settings = Settings()
    assert (settings.port, settings.database_url, settings.key) == (9000, "sqlite:///b.db", b"swordfish")
    assert "swordfish" not in repr(settings)
    assert Settings(port=1, database_url="sqlite:///c.db").database_url == "sqlite:///c.db"


@pytest.mark.parametrize(
    ("name", "value"), [("CSTP_PORT", "70000"), ("CSTP_WORKERS", "0"), ("CSTP_LOG_FORMAT", "xml"), ("CSTP_MAX_TAGS", "x")]
)
def test_a_bad_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It is an error, never a silent default."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_key_that_is_too_long_stops_the_start() -> None:
    """The digest takes 64 bytes of key."""
    with pytest.raises(ValidationError, match="64 bytes"):
        Settings(token_key=SecretStr("k" * 65))


def test_a_mistyped_variable_is_reported() -> None:
    """With the nearest one; the client's own variables are not the server's business."""
    environment = {"CSTP_PROT": "1", "CSTP_PORT": "1", "CSTP_URL": "x", "CSTP_TOKEN": "x", "CSTP_QQQQQQ": "", "PATH": "/bin"}
    assert unknown_variables(environment) == ["`CSTP_PROT` is no setting: did you mean `CSTP_PORT`?", "`CSTP_QQQQQQ` is no setting"]


def test_every_setting_is_described() -> None:
    """Each has a variable of its own and a sentence."""
    settings = list(describe())
    assert len({setting.name for setting in settings}) == len(settings) == len(Settings.model_fields)
    assert all(setting.description.endswith(".") for setting in settings)


def test_log_lines_are_json_and_hide_secrets(logged: Callable[[], str]) -> None:
    """Our lines and the libraries' look alike; fields that hold a secret by their name are hidden, at any depth."""
    configure("json", "info")
    structlog.get_logger("cstp_server.x").info("hello", token="t0ken", inner={"Authorization": "Bearer t0ken", "n": 1})
    logging.getLogger("uvicorn.error").info("started on %s", "port 1")
    logging.getLogger("cstp_server.y").debug("too fine")
    written = logged()
    ours, theirs = (json.loads(line) for line in written.splitlines())
    assert (ours["event"], ours["level"], ours["logger"], ours["inner"]["n"]) == ("hello", "info", "cstp_server.x", 1)
    assert (theirs["event"], theirs["logger"]) == ("started on port 1", "uvicorn.error")
    assert "t0ken" not in written


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_logged_with_its_traceback(logged: Callable[[], str], form: Literal["json", "console"]) -> None:
    """But without the values of variables, which may be secret."""
    configure(form, "info")
    hidden = "".join(["sword", "fish"])
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        structlog.get_logger("x").exception("failed")
    written = logged()
    assert written.count("RuntimeError: broken") == 1
    assert hidden not in written


def test_several_processes_share_their_metrics(tmp_path: Path) -> None:
    """With `PROMETHEUS_MULTIPROC_DIR`, any process answers for all of them."""
    count = (
        "from cstp_server.domain.findings import CLEAN; from cstp_server.metrics import Metrics;"
        "from cstp_server.settings import metrics_folder;"
        "m = Metrics(metrics_folder()); m.called('cstp.checkGuardrails', 0, 0.001); m.answered(CLEAN); m.queued(2); m.committed(3);"
        "m.moved('agent:bot', 'tripped', 'open'); m.reloaded(accepted=True, at=5000, version='v1');"
        "m.store_works('writing', False); print(m.render()[0].decode())"
    )
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", count]
    _, second = (subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert 'cstp_calls_total{code="0",method="cstp.checkGuardrails"} 2.0' in second
    assert 'cstp_circuit_transitions_total{cause="tripped",kind="agent",state="open"} 2.0' in second
    assert "cstp_batch_size_count 2.0" in second

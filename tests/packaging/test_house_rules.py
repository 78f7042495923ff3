"""The rules that hold the house together bite: what breaks one is found by the checks that `make test` runs."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

_STANDARD_LIBRARY = sys.stdlib_module_names | {"cstp_server"}


def _lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its rules, to be violated without harm."""
    shutil.copytree(ROOT / "cstp_server", tmp_path / "cstp_server", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_its_import_rules(copy: Path) -> None:
    """The code as it is breaks no contract."""
    done = _lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("domain/intruder.py", "from cstp_server.policy import compiled", "imports point one way"),
        ("services/intruder.py", "from cstp_server import storage", "imports point one way"),
        ("rpc/intruder.py", "from cstp_server import storage", "imports point one way"),
        ("storage/intruder.py", "from cstp_server import cli", "imports point one way"),
        ("notifiers/intruder.py", "from cstp_server import storage", "imports point one way"),
        ("notifiers/intruder.py", "from cstp_server import rpc", "imports point one way"),
        ("worker_intruder.py", "import apprise", "only notifiers reach out"),
        ("storage/intruder.py", "import httpcore", "only notifiers reach out"),
        ("web/intruder.py", "from cstp_server import rpc", "imports point one way"),
        ("web/intruder.py", "from cstp_server import storage", "imports point one way"),
        ("mcp/intruder.py", "from cstp_server import rpc", "imports point one way"),
        ("rpc/intruder.py", "from cstp_server import mcp", "imports point one way"),
        ("mcp/intruder.py", "import mcp", "only what answers tools imports the SDK of MCP"),
        ("domain/intruder.py", "import time", "the domain is pure"),
        ("domain/intruder.py", "import random", "the domain is pure"),
        ("domain/intruder.py", "import uuid", "the domain is pure"),
        ("domain/intruder.py", "import logging", "the domain is pure"),
        ("domain/intruder.py", "import asyncio", "the domain is pure"),
        ("domain/intruder.py", "import os", "the domain is pure"),
        ("domain/intruder.py", "import pydantic", "the domain is pure"),
        ("domain/intruder.py", "from cstp_server import clock", "the domain is pure"),
        ("domain/intruder.py", "from cstp_server import dimensions", "imports point one way"),
        ("dimensions/intruder.py", "from cstp_server import policy", "imports point one way"),
        ("dimensions/intruder.py", "import time", "dimensions decide on what they are told"),
        ("dimensions/intruder.py", "import socket", "dimensions decide on what they are told"),
        ("dimensions/intruder.py", "import structlog", "dimensions decide on what they are told"),
        ("policy/intruder.py", "import wcmatch", "only globs know wcmatch, only hosts know idna"),
        ("dimensions/intruder.py", "import idna", "only globs know wcmatch, only hosts know idna"),
        ("services/intruder.py", "import jinja2", "use cases know neither the store nor the wire"),
        ("services/intruder.py", "import sqlalchemy", "use cases know neither the store nor the wire"),
        ("services/intruder.py", "import starlette", "use cases know neither the store nor the wire"),
        ("rpc/intruder.py", "import jsonrpcserver", "only rpc.dispatch imports jsonrpcserver"),
        ("policy/intruder.py", "import sqlalchemy", "only the store, and the backend"),
        ("cli/intruder.py", "import alembic", "only the store, and the backend"),
        ("client/intruder.py", "from cstp_server import domain", "the client stands alone"),
    ],
)
def test_a_forbidden_import_is_found(copy: Path, file: str, line: str, contract: str) -> None:
    """One file with one wrong import breaks the contract that forbids it, by name."""
    (copy / "cstp_server" / file).write_text(f"{line}\n")
    done = _lint_imports(copy)
    broken = [name for name in done.stdout.splitlines() if name.startswith(contract) and " BROKEN" in name]
    assert done.returncode == 1, done.stdout + done.stderr
    assert broken, done.stdout


def test_the_domain_imports_the_standard_library_and_itself_only() -> None:
    """No file of the domain names a module from elsewhere, at any depth of the file."""
    foreign = {
        f"{path.name}: {module}"
        for path in (ROOT / "cstp_server" / "domain").rglob("*.py")
        for module in _modules_of(path)
        if module.partition(".")[0] not in _STANDARD_LIBRARY
        or (module.startswith("cstp_server") and not module.startswith("cstp_server.domain"))
    }
    assert foreign == set()


def _modules_of(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return named + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module is not None]


_ANYWHERE = [
    "import os\n\nHOME = os.environ\n",
    'import os\n\nHOME = os.getenv("HOME")\n',
    "import time\n\nNOW = time.time()\n",
    "from time import time_ns\n\nNOW = time_ns()\n",
    "import datetime as dt\n\nNOW = dt.datetime.now(dt.UTC)\n",
    "from datetime import date\n\nTODAY = date.today()\n",
    "import uuid\n\nID = uuid.uuid4()\n",
    "from pydantic_settings import BaseSettings\n\nBASE = BaseSettings\n",
]


def _banned_in(file: str, source: str) -> bool:
    command = [
        str(Path(sys.executable).parent / "ruff"),
        "check",
        "--no-cache",
        "--output-format",
        "concise",
        "--stdin-filename",
        file,
        "-",
    ]
    done = subprocess.run(command, cwd=ROOT, input=source, capture_output=True, text=True, check=False)
    return "TID251" in done.stdout


@pytest.mark.parametrize("room", ["domain", "dimensions", "services", "policy", "storage", "rpc", "mcp", "cli", "notifiers"])
@pytest.mark.parametrize("source", _ANYWHERE)
def test_time_ids_and_environment_are_read_in_one_place_only(room: str, source: str) -> None:
    """A clock, an id or an environment variable read outside its own file is found, in every room."""
    assert _banned_in(f"cstp_server/{room}/intruder.py", source)


@pytest.mark.parametrize("file", ["cstp_server/clock.py", "cstp_server/settings.py"])
def test_the_one_place_may(file: str) -> None:
    """The files that exist for it read the time and the environment."""
    assert not any(_banned_in(file, source) for source in _ANYWHERE)

"""The built wheel, installed elsewhere, is the whole service."""

import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from cstp_server import __version__
from tests.conftest import ROOT
from tests.server import RunningServer


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without network or isolation."""
    directory = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory), cwd=ROOT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new virtual environment with the wheel; the packages it depends on are lent by the tests' environment."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", str(place), cwd=place.parent)
    python = place / "bin" / "python"
    _run(
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=place.parent
    )
    packages = Path(_run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place.parent).strip())
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _tree(folder: str) -> set[str]:
    root = ROOT / folder
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def _within(wheel: Path, folder: str) -> set[str]:
    return {name.removeprefix(f"{folder}/") for name in zipfile.ZipFile(wheel).namelist() if name.startswith(f"{folder}/")}


def test_the_wheel_carries_the_migrations(wheel: Path) -> None:
    """Every file of `migrations/` is in the wheel, beside the code that runs them."""
    migrations = _tree("migrations")
    assert any(name.startswith("versions/") for name in migrations)
    assert _within(wheel, "cstp_server/migrations") == migrations


def test_the_wheel_carries_all_of_the_package_and_nothing_else(wheel: Path) -> None:
    """The package is complete, typed, with its licence; tests, benchmarks and the checkout's own policy stay outside."""
    names = zipfile.ZipFile(wheel).namelist()
    assert _tree("cstp_server") <= _within(wheel, "cstp_server")
    assert "cstp_server/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"cstp_server"}
    assert [name for name in names if "__pycache__" in name] == []


def test_the_service_starts_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """`cstp serve` where there is nothing makes its database, serves with the built-in rules alone, says so, and ends well."""
    with RunningServer(tmp_path / "empty", program=installed / "cstp") as server:
        health = server.http.get("/health").json()
        checked = server.call("cstp.checkGuardrails", {"action": {"description": "try it"}})
        ready = server.http.get("/ready").status_code
        page = server.http.get("/sign-in")
        sheets = re.findall(r'href="(/static/[^"]+)"', page.text)
        files = [server.http.get(sheet).status_code for sheet in sheets]
        server.terminate()
        logs = server.logs
    assert health["version"] == __version__
    assert ready == 200
    assert "Go on without a token" in page.text
    assert files == [200] * len(sheets) != []
    assert checked["allowed"] is True
    assert checked["evaluated"] > 0
    assert "config" in logs
    assert list((tmp_path / "empty" / "data").iterdir())


def test_the_installed_code_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    """Elsewhere `cstp_server` is not the checkout's, and it brings its schema to head by itself."""
    found = _run(str(installed / "python"), "-I", "-c", "import cstp_server; print(cstp_server.__file__)", cwd=tmp_path).strip()
    assert Path(found).is_relative_to(installed.parent)
    beside = RunningServer(tmp_path / "schema", program=installed / "cstp", database_url=f"sqlite:///{tmp_path / 'x.db'}")
    beside.directory.mkdir()
    beside.cli("db", "upgrade")
    assert beside.cli("db", "current").stdout.strip()


def test_the_editable_install_and_the_wheel_have_one_version(wheel: Path) -> None:
    """The version in the wheel's name is the package's."""
    assert wheel.name == f"cstp_server-{__version__}-py3-none-any.whl"

"""Packages beside the service, as an installer puts them there."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

DIMENSION_PLUGIN = ROOT / "docs" / "examples" / "dimension-plugin"


def install(folder: Path, source: Path) -> Path:
    """The folder, with a package in it; without network or isolation."""
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def beside(*folders: Path) -> dict[str, str]:
    """The environment of a service that has what is in these folders installed."""
    return {"PYTHONPATH": ":".join(map(str, (ROOT, *folders)))}

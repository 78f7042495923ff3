"""What the documents say of the code is what the code says."""

import re
import subprocess
import sys

from tests.conftest import ROOT
from tests.server import RunningServer


def test_the_generated_parts_are_up_to_date() -> None:
    """Settings and the breaker's picture stand in the documents as the code has them; `make docs` writes them anew."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `make docs`:\n{done.stdout}{done.stderr}"


def test_there_are_generated_parts() -> None:
    """The breaker's picture, both tables of settings, and the metrics have their place."""
    text = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert {name for name in ("breaker", "settings", "first-settings", "metrics") if f"<!-- generated: {name} -->" in text} == {
        "breaker",
        "settings",
        "first-settings",
        "metrics",
    }


def test_the_metrics_of_the_operators_guide_are_there(server: RunningServer) -> None:
    """Every metric that the guide names is one that `/metrics` has, and none is left out."""
    named = set(re.findall(r"`(cstp_[a-z_]+)`", (ROOT / "docs" / "operating.md").read_text()))
    text = server.http.get("/metrics").text
    offered = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert named == offered

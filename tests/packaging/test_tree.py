"""The tracked files are free of what belongs to one machine."""

import re
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

_HOME = "/" + "(?:work|root|home|Users|farm)" + "/"
_MACHINE_PATH = re.compile(rf"(?<![\w.}}/-]){_HOME}\w|/tmp/v\b")
_INDEX = re.compile("pypi" + r"\.org|files\.pythonhosted" + r"|--(?:extra-)?index-url\s+\S|--find-links\s+\S")
_SELF = "tests/packaging/test_tree.py"


def _tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        names = [name for name in done.stdout.split("\0") if name]
    else:  # an unpacked source distribution has no git
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if not any(map(_is_made, path.relative_to(ROOT).parts))]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def _is_made(part: str) -> bool:
    return part in {".git", ".venv", ".hypothesis", "__pycache__", "build", "data", "dist"} or part.endswith("_cache")


def _lines() -> list[tuple[str, int, str]]:
    found = []
    for path in _tracked():
        name = str(path.relative_to(ROOT))
        if name != _SELF and b"\0" not in (data := path.read_bytes()):
            found += [(name, number, line) for number, line in enumerate(data.decode("utf-8").splitlines(), 1)]
    return found


def test_no_file_names_a_machines_paths() -> None:
    """No path of somebody's home or workplace stands in a tracked file."""
    found = [f"{name}:{number}: {line.strip()[:120]}" for name, number, line in _lines() if _MACHINE_PATH.search(line)]
    assert found == []


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is the machine's business: no index host and no index option stands in a tracked file."""
    found = [f"{name}:{number}: {line.strip()[:120]}" for name, number, line in _lines() if _INDEX.search(line)]
    assert found == []


def test_every_file_is_text_of_one_kind() -> None:
    """Lines end with a newline alone, and every file that is not empty ends with one."""
    bad = [
        str(path.relative_to(ROOT))
        for path in _tracked()
        if b"\0" not in (data := path.read_bytes()) and data and (b"\r\n" in data or not data.endswith(b"\n"))
    ]
    assert bad == []


def test_the_locks_name_every_package_with_its_hash_and_nothing_else() -> None:
    """A lock line is a pinned package, a hash of it, or a remark; nothing points anywhere."""
    allowed = re.compile(r"[a-z0-9][a-z0-9._-]*(?:\[[a-z,]+\])?==\S+(?: ;.*)? \\$|    --hash=sha256:[0-9a-f]{64}(?: \\)?$|    #.*$")
    for lock in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / lock).read_text().splitlines()
        assert [line for line in lines if not allowed.match(line)] == []


def _pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_runtime_lock_is_part_of_the_development_lock() -> None:
    """What is tested is what is shipped: every runtime package stands in both locks with the same version."""
    runtime, development = _pinned("requirements.lock"), _pinned("requirements-dev.lock")
    assert runtime
    assert {name: development.get(name) for name in runtime} == runtime


def test_the_locks_hold_what_the_project_asks_for() -> None:
    """Every dependency of pyproject.toml is locked, at a version that it allows; `make lock` brings the locks up to date."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    development = [*project["dependency-groups"]["dev"], *project["project"]["optional-dependencies"]["otel"]]
    asked = {"requirements.lock": project["project"]["dependencies"], "requirements-dev.lock": development}
    outdated = [
        f"{lock}: {requirement}"
        for lock, requirements in asked.items()
        for requirement in map(Requirement, requirements)
        if (version := _pinned(lock).get(canonicalize_name(requirement.name))) is None or version not in requirement.specifier
    ]
    assert outdated == []

"""The worked example of a guard is a package: installed beside the service, it is found and asked (SPEC 8)."""

import asyncio
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from cstp_server.domain.posture_guards import GuardRefusal, TransitionRequest
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.guardians import InstalledGuardians, load_guards
from cstp_server.policy.compiled import Policy
from cstp_server.services.guardrails import list_guardrails
from tests.conftest import ROOT
from tests.plugins import install

EXAMPLE = ROOT / "docs" / "examples" / "guard-plugin"
UPGRADE = TransitionRequest(
    agent_id="refund-bot",
    from_posture=Posture.SUPERVISED,
    to_posture=Posture.ASSISTED,
    type=TransitionType.UPGRADE,
    requester="ops",
    reason="30 days without a failure",
    metadata={},
    acl_tier=2,
    score=0.9,
    reviewed=120,
)


@dataclass(frozen=True)
class At:
    """A clock that stands still."""

    moment: datetime

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return int(self.moment.timestamp() * 1000)

    def monotonic(self) -> float:
        """No time passes."""
        return 0.0


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example in it, as an installer puts it there; without network or isolation."""
    return install(tmp_path_factory.mktemp("packages"), EXAMPLE)


@pytest.fixture
def guardians(packages: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledGuardians:
    """Those of a service that has the example installed."""
    monkeypatch.setitem(sys.modules, "office_hours", None)  # so that it is forgotten again after the test
    del sys.modules["office_hours"]
    monkeypatch.syspath_prepend(str(packages))
    return InstalledGuardians(load_guards())


def _at(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr(import_module("office_hours").OfficeHours, "clock", At(datetime.fromisoformat(moment).replace(tzinfo=UTC)))


def _ask(guardians: InstalledGuardians, request: TransitionRequest = UPGRADE) -> GuardRefusal | None:
    return asyncio.run(guardians.ask((), request))


@pytest.mark.parametrize("moment", ["2026-02-11T08:00", "2026-02-13T15:59", "2026-07-15T07:00"])
def test_the_example_lets_agents_be_raised_in_office_hours(
    guardians: InstalledGuardians, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """On a working day between nine and five, in its own time zone, in summer too."""
    _at(monkeypatch, moment)
    assert _ask(guardians) is None


def test_the_example_is_listed(guardians: InstalledGuardians) -> None:
    """By its name, with what it is asked about."""
    (info,) = [info for info in list_guardrails(Policy("v"), guardians.installed) if info.type == "posture"]
    assert (info.id, info.description) == ("office_hours", "installed; is asked before upgrades of an agent's posture")


@pytest.mark.parametrize("moment", ["2026-02-11T07:59", "2026-02-11T16:00", "2026-02-14T12:00", "2026-07-15T15:00"])
def test_the_example_refuses_it_at_other_times(guardians: InstalledGuardians, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """With its own name and reason; moves downwards, and up to supervised, are none of its business."""
    _at(monkeypatch, moment)
    reason = "agents are raised to `assisted` in office hours only, 09:00 to 17:00 (Europe/Berlin)"
    assert _ask(guardians) == GuardRefusal("office_hours", reason)
    assert _ask(guardians, replace(UPGRADE, from_posture=Posture.BLOCKED, to_posture=Posture.SUPERVISED)) is None
    assert _ask(guardians, replace(UPGRADE, to_posture=Posture.BLOCKED, type=TransitionType.DOWNGRADE)) is None


def test_installing_it_leaves_nothing_behind_in_the_checkout(packages: Path) -> None:
    """The example's folder holds its two files."""
    assert (packages / "office_hours.py").is_file()
    assert {path.name for path in EXAMPLE.iterdir()} - {"__pycache__"} == {"office_hours.py", "pyproject.toml"}

"""`make demo`: a newcomer sees circuits open and recover, decisions that wait, a blocked agent and a user's trust that comes back."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import httpx
import pytest
import yaml

from cstp_server.client import Client
from demo.agents import JOBS, Job
from demo.pace import Pace
from demo.policy import write_policy
from demo.stage import phase
from tests.conftest import ROOT
from tests.server import RunningServer

_SPEED = "6"
_HAPPENS = (
    r"circuit category:tooling: closed -> open",
    r"circuit category:tooling: (open|half_open) -> closed",
    r"circuit user:maria/billing: closed -> open",
    r"circuit user:maria/billing: (open|half_open) -> closed",
    r"agent scraper: \w+ -> blocked",
    r"agent scraper: blocked -> human_decides",
    r"alert, warning: Circuit `category:tooling` opened",
    r"alert, critical: Agent `scraper` is blocked",
)


@contextmanager
def demo(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The demo as `make demo` runs it, on a free port; it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", "0", "--speed", _SPEED],
        cwd=ROOT,
        env=RunningServer(folder).environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_the_story_is_told_and_ends_without_a_trace(tmp_path: Path) -> None:
    """All that the dashboard is to show happens, and Ctrl-C ends the service and takes its database along."""
    with demo(tmp_path) as process:
        assert process.stdout is not None
        url = found(r"the dashboard is at (http://127\.0\.0\.1:\d+)/", process.stdout.readline())
        token = found(r"sign in with the token (\S+)", process.stdout.readline())
        told = read_until_all_happened(process.stdout)
        assert all(re.search(expected, told) for expected in _HAPPENS), told
        with Client(url, token) as operator:
            assert look_at(operator) == {"pending", "blocked", "denied", "reviewed", "no-customer-export", "max_refund", "constraint"}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", trust_env=False)
    assert not list(tmp_path.glob("cstp-demo-*"))


def test_a_service_that_ends_by_itself_ends_the_story(tmp_path: Path) -> None:
    """The demo does not go on about a service that is gone: it ends with what that one said last."""
    with demo(tmp_path) as process:
        assert process.stdout is not None
        found(r"(the dashboard is at)", process.stdout.readline())
        (service,) = children_of(process.pid)
        os.kill(service, signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "the service does not run; the end of its log:" in told
        assert "Traceback" not in told


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def found(pattern: str, line: str) -> str:
    match = re.search(pattern, line)
    assert match is not None, line
    return match[1]


def read_until_all_happened(lines: Iterator[str]) -> str:
    """What is told until everything has happened that should; all of it, if it ends before."""
    told = ""
    for line in lines:
        told += line
        if all(re.search(expected, told) for expected in _HAPPENS):
            break
    return told


def look_at(operator: Client) -> set[str]:
    """What an operator sees by then, of what is to be seen."""
    wanted = {"pending", "blocked", "denied", "reviewed", "no-customer-export", "max_refund", "constraint"}
    seen: set[str] = set()
    while not wanted <= seen:
        for decision in operator.list_decisions():
            seen.add(decision.status)
            seen.update(finding.type for finding in (decision.answer.violations if decision.answer is not None else ()))
        seen.update(tripwire.name for tripwire in operator.tripwire_stats().tripwires)
    return wanted & seen


def test_every_recipe_of_an_agent_is_one_that_repeats() -> None:
    """The same seed brings the same proposals, and another one others."""

    def proposals(job: Job, seed: str) -> list[str]:
        draw = Random(seed)
        return [job.work(draw).description for _ in range(20)]

    for job in JOBS:
        assert proposals(job, "a") == proposals(job, "a")
    assert proposals(JOBS[0], "a") != proposals(JOBS[0], "b")


def test_the_policy_goes_as_fast_as_the_story(tmp_path: Path) -> None:
    """Every duration is divided by the speed, and nothing else is changed."""
    plain, fast = (yaml.safe_load(write_policy(tmp_path / str(speed), speed).read_text()) for speed in (1, 10))
    assert plain == yaml.safe_load((ROOT / "demo" / "policy.yaml").read_text())
    assert fast["circuit_breakers"][0]["cooldown_ms"] == plain["circuit_breakers"][0]["cooldown_ms"] / 10
    assert fast["trust"]["domains"]["*"]["recovery_period_hours"] == plain["trust"]["domains"]["*"]["recovery_period_hours"] / 10
    assert fast["tripwires"] == plain["tripwires"]


def test_the_story_tells_its_own_time() -> None:
    """At ten times the speed a second of waiting is a tenth of one, and phases come round in the story's time."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    pace = Pace(speed=10, sleep=sleep)
    with pytest.raises(StopIteration):
        pace.wait(5).send(None)
    assert waited == [0.5]
    assert [phase(at, 60, 8, 20) for at in (7, 8, 19, 20, 68)] == [False, True, True, False, True]

"""`cstp metrics`: what it sends, prints, and exits with."""

import json
import re

import pytest

from tests.cli.conftest import Cli
from tests.client.scripted_server import Error, Message, ScriptedServer

METHOD = "cstp.getMetrics"
MEASURES: Message = {
    "postureDistribution": {"full_autonomy": 1, "assisted": 0, "supervised": 1, "human_decides": 0, "blocked": 1},
    "averagePostureLevel": 3,
    "transitionsByType": {"upgrade": 1, "downgrade": 1, "maintain": 0, "emergency_downgrade": 2},
    "circuitBreakerOpens": 4,
    "emergencyDowngrades": 2,
    "evaluationsTotal": 40,
    "evaluationsPassed": 38,
    "passRate": 0.95,
    "dimensionFailures": {"cost_limit": 1, "rate_limit": 2},
    "antiGamingFlags": {"boundary_pushing": 3},
    "averageEvaluationTimeMs": 0.0213,
}
NOTHING: Message = {
    "postureDistribution": {"full_autonomy": 0, "assisted": 0, "supervised": 0, "human_decides": 0, "blocked": 0},
    "averagePostureLevel": None,
    "transitionsByType": {"upgrade": 0, "downgrade": 0, "maintain": 0, "emergency_downgrade": 0},
    "circuitBreakerOpens": 0,
    "emergencyDowngrades": 0,
    "evaluationsTotal": 0,
    "evaluationsPassed": 0,
    "passRate": None,
    "dimensionFailures": {},
    "antiGamingFlags": {},
    "averageEvaluationTimeMs": None,
}


@pytest.fixture
def measured(scripted: ScriptedServer) -> ScriptedServer:
    """A server that has measured something."""
    scripted.usual[METHOD] = lambda params: MEASURES
    return scripted


def _record(text: str) -> dict[str, str]:
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in text.splitlines())


def test_the_measures_are_shown(cli: Cli, measured: ScriptedServer) -> None:
    """A line each; what failed most comes first."""
    done = cli("metrics")
    assert (done.exit_code, done.stderr) == (0, "")
    assert measured.params(METHOD) == [{}]
    shown = _record(done.stdout)
    assert (shown["agents blocked"], shown["average level"], shown["moves emergency_downgrade"]) == ("1", "3", "2")
    assert (shown["circuits opened"], shown["emergencies"], shown["evaluations"]) == ("4", "2", "40")
    assert (shown["passed"], shown["failures"], shown["gaming flags"]) == (
        "38 (95%)",
        "rate_limit (2), cost_limit (1)",
        "boundary_pushing (3)",
    )
    assert shown["one evaluation"] == "0.0213 ms"


def test_where_nothing_was_measured_nothing_is_made_up(cli: Cli, scripted: ScriptedServer) -> None:
    """No average of no agents, no share of no evaluations."""
    scripted.usual[METHOD] = lambda params: NOTHING
    shown = _record(cli("metrics").stdout)
    assert (shown["average level"], shown["evaluations"]) == ("no agent yet", "0")
    assert not {"passed", "one evaluation"} & shown.keys()


def test_a_beginning_may_be_named(cli: Cli, measured: ScriptedServer) -> None:
    """As a date; what is no time is wrong usage, and nothing is asked."""
    done = cli("metrics", "--since", "2026-02-11", "--json")
    assert json.loads(done.stdout) == MEASURES
    assert measured.params(METHOD) == [{"since": "2026-02-11T00:00:00Z"}]
    assert cli("metrics", "--since", "yesterday").exit_code == 2
    assert len(measured.params(METHOD)) == 1


def test_an_error_is_said(cli: Cli, scripted: ScriptedServer) -> None:
    """The role that it takes is missing: nothing on standard output."""
    scripted.script.append(Error(-32001, "Forbidden", {"required": ["viewer"]}, 403))
    done = cli("metrics")
    assert (done.exit_code, done.stdout) == (1, "")

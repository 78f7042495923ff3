"""The dashboard and the rules under `config/monitoring/` ask for what the service really has (SPEC 11)."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cstp_server.domain.decisions import Outcome
from cstp_server.domain.findings import GuardType, Intervention, Mode
from cstp_server.policy.loading import load_policy
from cstp_server.policy.sources import policy_files
from cstp_server.rpc.errors import Code
from cstp_server.rpc.methods import METHODS
from tests.conftest import ROOT
from tests.server import RunningServer

FOLDER = ROOT / "config" / "monitoring"
POLICY = """
agents: {"*": {posture: full_autonomy}}
circuit_breakers: [{scope: "category:*", failure_threshold: 1}]
constraints: {global: {cost_limit: 100}}
tripwires: {max_refund: 500}
notifications: {channels: [{name: nobody, type: apprise, url: "json://127.0.0.1:9", allow_private: true, events: ["*"]}]}
"""
_SELECTOR = re.compile(r"\b(?P<name>cstp_[a-z_]+|up)\b(?:\{(?P<matchers>[^{}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without)\s*\(([^()]*)\)")
_FUNCTIONS = {"rate", "increase", "sum", "max", "min", "count", "time", "histogram_quantile", "by", "and", "or", "unless", "without"}
_OF_PROMETHEUS = {"job", "instance"}
_VOCABULARY: Mapping[str, set[str]] = {
    "code": {"0", *(str(int(code)) for code in Code)},
    "method": {method.name for method in METHODS},
    "intervention": {intervention.label for intervention in Intervention},
    "guard": {guard.value for guard in GuardType},
    "mode": {mode.value for mode in Mode},
    "outcome": {outcome.value for outcome in Outcome},
    "result": {"sent", "failed", "given_up", "succeeded", "waited", "faulted"},
    "cause": {"threshold_reached", "probe_failed", "tripped"},
}


def _panels() -> Iterator[dict[str, Any]]:
    yield from json.loads((FOLDER / "dashboard.json").read_text())["panels"]


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _expressions() -> list[str]:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    asked = [target["expr"] for panel in _panels() for target in panel.get("targets", ())]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    return [*asked, *(rule["expr"] for rule in _rules())]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Mapping[str, str]]]:
    """What two processes serve after a busy day: the labels of every sample, by its name."""
    folder = tmp_path_factory.mktemp("monitored")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with RunningServer(folder / "server", config=policy, workers=2) as server:
        _be_busy(server)
        text = _once_alerts_were_tried(server)
    found: dict[str, list[Mapping[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def _once_alerts_were_tried(server: RunningServer) -> str:
    """What is served as soon as an alert has met the channel that nobody listens to."""
    deadline = time.monotonic() + 30
    while True:
        text = httpx.get(f"{server.url}/metrics", trust_env=False).text
        if ("cstp_notifications_total{" in text and "cstp_notifications_waiting{" in text) or time.monotonic() > deadline:
            return text
        time.sleep(0.2)


def _be_busy(server: RunningServer) -> None:
    """A little of everything that is measured."""
    for number, (cost, amount) in enumerate(((1, 1), (99, 1), (101, 600))):
        action = {"description": "x", "category": f"c{number}", "type": "issue_refund", "parameters": {"amount": amount}}
        server.call("cstp.checkGuardrails", {"action": {**action, "context": {"cost_used": cost}}, "decisionId": f"d-{number}"})
        server.call("cstp.reviewDecision", {"id": f"d-{number}", "outcome": "failure"})
    server.call("cstp.evaluateConstraints", {"constraints": {"cost_limit": 1}, "context": {"cost_used": 2}, "agentId": "bot"})
    server.call("cstp.emergencyDowngrade", {"agentId": "bot", "reason": "x"})
    server.call("cstp.recordDamage", {"userId": "anna", "damageType": "wrong_answer"})
    server.call("cstp.checkGuardrails", {"action": {"description": "x", "type": "issue_refund", "parameters": {"amount": 600},
                                                    "context": {"cost_used": 1}}})  # fmt: skip
    server.raw("{")


def test_every_metric_and_label_that_is_asked_for_is_served(served: Mapping[str, list[Mapping[str, str]]]) -> None:
    """Names, labels, and values of labels, in every expression; two processes tell it together."""
    assert len(_expressions()) > 40
    for expression in _expressions():
        grouped = {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")}
        asked = [match for match in _SELECTOR.finditer(expression) if match["name"] != "up"]
        assert asked, expression
        known = set[str]()
        for selector in asked:
            assert selector["name"] in served, f"{selector['name']} in {expression}"
            samples = served[selector["name"]]
            labels = {label for sample in samples for label in sample} | _OF_PROMETHEUS
            known |= labels
            for label, sign, value in _MATCHER.findall(selector["matchers"] or ""):
                assert label in labels, f"{label} in {expression}"
                if not value.startswith("$"):
                    values = {sample[label] for sample in samples} | _VOCABULARY.get(label, set())
                    assert set(value.split("|") if "~" in sign else [value]) <= values, f"{label}={value} in {expression}"
        assert grouped <= known, expression


def test_the_expressions_are_well_formed() -> None:
    """Brackets close, ranges and matchers are what Prometheus knows, and rates are of counters and histograms."""
    for expression in _expressions():
        bare = re.sub(r'"[^"]*"', '""', expression)
        assert all(bare.count(opening) == bare.count(closing) for opening, closing in ("()", "{}", "[]")), expression
        ranges = re.findall(r"\[([^\]]*)\]", bare)
        assert all(re.fullmatch(r"\d+[smhd]|\$__rate_interval", each) for each in ranges), expression
        called = set(re.findall(r"\b([a-z_]+)\s*\(", bare))
        assert called <= _FUNCTIONS, expression
        for counted in re.findall(r"(?:rate|increase)\((\w+)", bare):
            assert counted.endswith(("_total", "_bucket", "_sum", "_count")), expression
        for matchers in re.findall(r"\{([^}]*)\}", expression):
            assert re.fullmatch(r'\s*[a-z_]+\s*(=~|!~|!=|=)\s*"[^"]*"(\s*,\s*[a-z_]+\s*(=~|!~|!=|=)\s*"[^"]*")*', matchers), expression


def test_every_alert_says_what_it_means() -> None:
    """A name of its own, how bad it is, and a summary for people."""
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"Cstp[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        labels = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert labels <= {label.strip() for each in _GROUPING.findall(rule["expr"]) for label in each.split(",")}, rule["alert"]


def test_background_work_that_is_never_done_is_told_of_whatever_the_reason() -> None:
    """By its task: it fails, or it waits for the store and was not done for as long."""
    rules = {
        result: rule
        for rule in _rules()
        for result in ("faulted", "waited")
        if f'task) (increase(cstp_worker_rounds_total{{result="{result}"}}' in rule["expr"]
    }
    assert set(rules) == {"faulted", "waited"}
    waits, done = rules["waited"]["expr"].split("unless")
    assert done.strip() == waits.strip().replace("waited", "done").replace("> 100", "> 0")


def test_the_dashboard_is_laid_out() -> None:
    """Panels have ids and titles of their own, a place within the width, and none covers another."""
    panels = list(_panels())
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = set[tuple[int, int]]()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + across, place["y"] + down) for across in range(place["w"]) for down in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_what_watches_the_service_is_no_policy(tmp_path: Path) -> None:
    """A folder of policy files is merged, and what lies in a folder below it is none of them."""
    assert policy_files(ROOT / "config") == [ROOT / "config" / "policy.yaml"]
    assert load_policy(ROOT / "config").version == load_policy(ROOT / "config" / "policy.yaml").version

"""What `/metrics` and `cstp.getMetrics` tell over the wire (SPEC 11)."""

import asyncio
import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cstp_server.census import Census
from cstp_server.domain.callers import Role
from cstp_server.domain.postures import AgentPosture, Posture
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.metrics import Metrics
from cstp_server.services.ports import AlertCounts, StoreCounts
from tests.rpc.edge import Edge, check_params
from tests.rpc.memory import START, SetClock

UNIT = re.compile(r"_(total|seconds|size|depth|info|up|timestamp_seconds)$")
COUNTED = ("cstp_circuits", "cstp_agents", "cstp_users", "cstp_decisions_waiting", "cstp_notifications_waiting", "cstp_notifications_dead")
_LABELS = "type method channel code guard intervention mode outcome side kind cause state task result version dimension trust posture le"


@pytest.fixture
def edge() -> Edge:
    """An edge that anybody on the machine may use."""
    return Edge()


def samples(edge: Edge) -> dict[str, float]:
    """What is scraped: every sample by its name and labels."""
    text = edge.request("GET", "/metrics").text
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {_named(sample.name, sample.labels): sample.value for sample in found}


def _named(name: str, labels: dict[str, str]) -> str:
    return name + "".join(f",{key}={value}" for key, value in sorted(labels.items()))


def test_findings_are_counted_by_guard_intervention_and_mode(edge: Edge) -> None:
    """A clean check counts none; each finding of the others counts once."""
    edge.call("cstp.checkGuardrails", check_params())
    assert not [name for name in samples(edge) if name.startswith("cstp_findings_total")]
    edge.call("cstp.checkGuardrails", check_params(context={}))
    edge.store.postures_of["default", "deploy-bot"] = AgentPosture("deploy-bot", Posture.BLOCKED, since=1, set_by="olivia")
    edge.call("cstp.checkGuardrails", check_params(context={}))
    found = samples(edge)
    assert found["cstp_findings_total,guard=guardrail,intervention=warn,mode=enforce"] == 2
    assert found["cstp_findings_total,guard=posture,intervention=block,mode=enforce"] == 1
    assert found["cstp_verdicts_total,intervention=block"] == 1


def test_what_never_reached_a_method_is_counted_by_code() -> None:
    """Bad tokens, bad bodies, too many calls: none of them is a call of a method."""
    edge = Edge(per_second=0.001, burst=2)
    edge.tokens.add("secret", "olivia", Role.OPS)
    edge.respond("cstp.listCircuits", token="wrong")
    edge.respond("cstp.listCircuits")
    edge.post("{", {"authorization": "Bearer secret"})
    for _ in range(2):
        edge.respond("cstp.listCircuits", token="secret")
    edge.request("GET", "/cstp")
    found = {name: value for name, value in samples(edge).items() if name.startswith(("cstp_refused", "cstp_calls"))}
    assert found == {
        "cstp_refused_total,code=-32001": 2,
        "cstp_refused_total,code=-32700": 1,
        "cstp_refused_total,code=-32002": 1,
        "cstp_refused_total,code=-32600": 1,
        "cstp_calls_total,code=0,method=cstp.listCircuits": 1,
    }


def test_names_and_labels_keep_to_the_conventions(edge: Edge) -> None:
    """Base units in the names, counters end in `_total`, every metric says what it is, and labels are of a few kinds that are bounded."""
    edge.call("cstp.checkGuardrails", check_params(context={}))
    edge.metrics.reloaded(accepted=True, at=START, version="sha256:test")
    families = list(text_string_to_metric_families(edge.request("GET", "/metrics").text))
    assert {family.name for family in families if not family.documentation} == set()
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.startswith("cstp_")
        assert UNIT.search(name) or name in COUNTED, name
        assert {label for sample in family.samples for label in sample.labels} <= set(_LABELS.split()), name


def test_what_is_in_the_store_is_told_whoever_put_it_there(edge: Edge) -> None:
    """Circuits by kind and state, users by trust, agents by posture, what waits; what there is none of is 0."""
    edge.store.postures_of["default", "bot"] = AgentPosture("bot", Posture.BLOCKED, since=1)
    edge.call("cstp.tripCircuit", {"scope": "category:tooling", "reason": "incident"})
    edge.metrics.reloaded(accepted=True, at=START, version="sha256:test")
    found = samples(edge)
    assert found["cstp_circuits,kind=category,state=open"] == 1
    assert found["cstp_circuits,kind=agent,state=half_open"] == 0
    assert found["cstp_users,trust=reduced_autonomy"] == 0
    assert (found["cstp_agents,posture=blocked"], found["cstp_agents,posture=assisted"]) == (1, 0)
    assert (found["cstp_decisions_waiting"], "cstp_decisions_waiting_since_timestamp_seconds" in found) == (0, False)
    assert found["cstp_policy_info,version=sha256:test"] == 1


def test_only_one_policy_is_told_of(edge: Edge) -> None:
    """After a reload the version before it is gone; a policy that was refused changes nothing but the count."""
    for version, accepted in (("sha256:one", True), ("sha256:two", True), ("sha256:two", False)):
        edge.metrics.reloaded(accepted=accepted, at=START, version=version)
    found = samples(edge)
    assert [name for name in found if name.startswith("cstp_policy_info")] == ["cstp_policy_info,version=sha256:two"]
    assert (found["cstp_policy_reloads_total,result=accepted"], found["cstp_policy_reloads_total,result=rejected"]) == (2, 1)


def test_however_often_it_is_scraped_the_store_is_counted_seldom(edge: Edge) -> None:
    """Once in five seconds, and no more."""
    for _ in range(20):
        samples(edge)
    assert edge.store.censuses == 1
    edge.clock.pass_seconds(5)
    samples(edge)
    samples(edge)
    assert edge.store.censuses == 2


def test_what_is_not_known_any_more_is_not_told(edge: Edge) -> None:
    """While the store is down the last count is told for a minute, then none, until it is back."""
    name = "cstp_circuits,kind=global,state=open"
    assert name in samples(edge)
    edge.store.fault = StoreUnavailable()
    edge.clock.pass_seconds(30)
    assert name in samples(edge)
    edge.clock.pass_seconds(31)
    assert name not in samples(edge)
    edge.store.fault = None
    edge.clock.pass_seconds(5)
    assert name in samples(edge)


class Ponderous:
    """A store whose content takes half a minute to count."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.times = 0

    async def counts(self) -> StoreCounts:
        """Count, and take that time."""
        self.times += 1
        await asyncio.sleep(0)
        self.clock.pass_seconds(30)
        return StoreCounts({}, {}, self.times, None)


def test_alerts_are_told_by_channel() -> None:
    """What waits, since when in seconds, and what was given up; no time where nothing waits."""
    alerts = {"ops": AlertCounts(3, 1_770_000_000_000, 0), "chat": AlertCounts(dead=2)}
    text = Metrics().render(StoreCounts({}, {}, 0, None, alerts))[0].decode()
    told = [line for line in text.splitlines() if line.startswith(("cstp_notifications_waiting", "cstp_notifications_dead"))]
    assert told == [
        'cstp_notifications_waiting{channel="chat"} 0.0',
        'cstp_notifications_waiting{channel="ops"} 3.0',
        'cstp_notifications_waiting_since_timestamp_seconds{channel="ops"} 1.77e+09',
        'cstp_notifications_dead{channel="chat"} 2.0',
        'cstp_notifications_dead{channel="ops"} 0.0',
    ]


def test_what_takes_long_to_count_is_counted_less_often() -> None:
    """At most a twentieth of the time goes into it, and those who ask at once share one count."""
    clock = SetClock()
    store = Ponderous(clock)
    census = Census(store, clock)

    async def story() -> None:
        answers = await asyncio.gather(*[census.latest() for _ in range(10)])
        assert [found.waiting for found in answers if found is not None] == [1] * 10
        clock.pass_seconds(599)
        await census.latest()
        assert store.times == 1
        clock.pass_seconds(1)
        await census.latest()
        assert store.times == 2

    asyncio.run(story())


def test_the_measures_are_told_in_the_seeds_names(edge: Edge) -> None:
    """Agents of levels 5, 3 and 1 have 3 on average; nothing was evaluated yet."""
    for agent, posture in (("agent-001", Posture.FULL_AUTONOMY), ("agent-003", Posture.BLOCKED)):
        edge.store.postures_of["default", agent] = AgentPosture(agent, posture, since=1, set_by="olivia")
    edge.call("cstp.checkGuardrails", {**check_params(), "agent": {"id": "agent-002"}})
    assert edge.call("cstp.getMetrics") == {
        "postureDistribution": {"full_autonomy": 1, "assisted": 0, "supervised": 1, "human_decides": 0, "blocked": 1},
        "averagePostureLevel": 3,
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


def test_the_measures_follow_what_happens(edge: Edge) -> None:
    """Moves, emergencies, openings and evaluations; `since` leaves out what was before it, and must be a time."""
    edge.call("cstp.transitionPosture", {"agentId": "bot", "toPosture": "assisted", "reason": "x"})
    edge.call("cstp.emergencyDowngrade", {"agentId": "bot", "reason": "x"})
    edge.call("cstp.tripCircuit", {"scope": "category:tooling", "reason": "x"})
    edge.call(
        "cstp.evaluateConstraints", {"constraints": {"cost_limit": 100, "made_up": 1}, "context": {"cost_used": 99}, "mode": "disjunctive"}
    )
    found = edge.call("cstp.getMetrics", {"since": "2020-01-01T00:00:00Z"})
    assert found["transitionsByType"] == {"upgrade": 1, "downgrade": 0, "maintain": 0, "emergency_downgrade": 1}
    assert (found["emergencyDowngrades"], found["circuitBreakerOpens"]) == (1, 1)
    assert (found["evaluationsTotal"], found["passRate"], found["dimensionFailures"]) == (1, 1, {"other": 1})
    assert found["averageEvaluationTimeMs"] > 0
    later = edge.call("cstp.getMetrics", {"since": "2030-01-01T00:00:00Z"})
    assert (later["emergencyDowngrades"], later["circuitBreakerOpens"], later["postureDistribution"]["blocked"]) == (0, 0, 1)
    assert edge.error("cstp.getMetrics", {"since": "yesterday"})["data"]["field"] == "since"


def test_another_tenants_measures_are_not_told() -> None:
    """Each viewer sees the agents and circuits of the own tenant."""
    edge = Edge()
    edge.tokens.add("here", "olivia", Role.OPS)
    edge.tokens.add("there", "victor", Role.VIEWER, tenant="elsewhere")
    edge.call("cstp.emergencyDowngrade", {"agentId": "bot", "reason": "x"}, token="here")
    assert edge.call("cstp.getMetrics", token="there")["averagePostureLevel"] is None
    assert edge.call("cstp.getMetrics", token="here")["averagePostureLevel"] == 1


def test_a_first_posture_of_the_policy_counts(edge: Edge) -> None:
    """An agent that nobody has moved stands where the policy has it begin."""
    postures = replace(edge.policy.current.postures, default=Posture.ASSISTED)
    edge.policy.current = edge.store.policy = replace(edge.policy.current, postures=postures)
    edge.call("cstp.recordDecision", {"decision": "x"})
    assert edge.call("cstp.getMetrics")["averagePostureLevel"] == 4

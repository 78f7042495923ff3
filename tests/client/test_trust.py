"""Trust through the clients: what they send and read, how they repeat, and what a breaker makes of it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cstp_server.client import (
    AsyncClient,
    BadAnswer,
    Client,
    PolicyNotStrict,
    TrustBreaker,
    TrustDamageType,
    TrustState,
    Unreachable,
    Unsendable,
    create_trust_breaker,
    governed,
)
from cstp_server.client.trust import STRICT_SUCCESSES, STRICT_THRESHOLD
from cstp_server.domain.damage import DamageType
from cstp_server.domain.trust import TrustState as ServedState
from cstp_server.policy.trust_models import PRESETS
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import Drop, Message, Result, ScriptedServer

AT = datetime(2026, 2, 11, 13, 5, tzinfo=UTC)
DAMAGE, SUCCESS, LEVEL, CONFIRM = "cstp.recordDamage", "cstp.recordSuccess", "cstp.getAutonomyLevel", "cstp.shouldRequireConfirmation"
RESET, METRICS = "cstp.resetTrust", "cstp.getTrustMetrics"


def told(params: Message, state: str = "full_autonomy", **fields: object) -> Message:
    """The usual answer to a damage or a success: it is counted, and nothing moves."""
    return {
        "success": True,
        "id": params["id"],
        "userId": params["userId"],
        "domain": params.get("domain", "general"),
        "previousState": "full_autonomy",
        "state": state,
        "damageScore": 1.5,
        "damageThreshold": 3,
        "duplicate": False,
        "recordedAt": "2026-02-11T13:05:00Z",
    } | fields


def level(params: Message, state: str = "full_autonomy", **fields: object) -> Message:
    """The usual answer to a look."""
    return {
        "userId": params["userId"],
        "domain": params.get("domain", "general"),
        "state": state,
        "canActFreely": state == "full_autonomy",
        "damageScore": 2.5,
        "damageThreshold": 3,
        "timeInStateHours": 12.5,
        "recoveryProgress": {"status": "supervised_testing", "progress": 0.7, "successes": 3, "required": 5},
        "recentDamageCount": 2,
        "mood": "grim",
    } | fields


@pytest.fixture
def trust(server: ScriptedServer) -> ScriptedServer:
    """A server that counts everything, and whose users trust."""
    move = {"success": True, "previousState": "reduced_autonomy", "state": "full_autonomy", "resetBy": "olivia"}
    server.usual |= {
        DAMAGE: lambda params: told(params, weight=1.5),
        SUCCESS: told,
        LEVEL: level,
        CONFIRM: lambda params: {"required": True, "state": "supervised", "reason": "so it is"},
        RESET: lambda params: (
            move | {"userId": params["userId"], "domain": params.get("domain", "general"), "resetAt": "2026-02-11T13:05:00Z"}
        ),
        METRICS: lambda params: {
            "states": {"full_autonomy": 2, "supervised": 1, "reduced_autonomy": 0},
            "averageDamageScore": 0.5,
            "recoveryRate": None,
            "averageRecoveryHours": 31.5,
        },
    }
    return server


def test_all_six_methods_send_what_was_given_and_read_what_came(trust: ScriptedServer, client: Client) -> None:
    """Everything arrives under its name on the wire; answers are typed and keep what they do not know."""
    damage = client.record_damage(
        "u", TrustDamageType.IGNORED_PREFERENCE, domain="code", severity=0.5, context="tabs", user_explicit=True, id="d-1"
    )
    assert (damage.id, damage.weight, damage.damage_score, damage.recorded_at, damage.duplicate) == ("d-1", 1.5, 1.5, AT, False)
    success = client.record_success("u", context="fine", user_explicit=True, id="s-1")
    assert (success.weight, success.previous_state, success.domain) == (None, "full_autonomy", "general")
    found = client.get_autonomy_level("u", domain="code")
    assert (found.state, found.can_act_freely, found.time_in_state_hours, found.raw["mood"]) == ("full_autonomy", True, 12.5, "grim")
    assert (found.recovery_progress.progress, found.recovery_progress.time_remaining_hours) == (0.7, None)
    answer = client.should_require_confirmation("u", "file_write", domain="code")
    assert (answer.required, answer.state, answer.reason) == (True, "supervised", "so it is")
    assert client.reset_trust("u", reason="asked for").reset_at == AT
    metrics = client.trust_metrics()
    assert (metrics.states["supervised"], metrics.recovery_rate, metrics.average_recovery_hours) == (1, None, 31.5)
    said = {"context": "tabs", "userExplicit": True, "id": "d-1"}
    assert [call["params"] for call in trust.calls] == [
        {"userId": "u", "domain": "code", "damageType": "ignored_preference", "severity": 0.5, **said},
        {"userId": "u", "context": "fine", "userExplicit": True, "id": "s-1"},
        {"userId": "u", "domain": "code"},
        {"userId": "u", "domain": "code", "action": "file_write"},
        {"userId": "u", "reason": "asked for"},
        {},
    ]


def test_the_async_client_does_the_same(trust: ScriptedServer, sleeper: Sleeper) -> None:
    """All six, awaited."""

    async def story(client: AsyncClient) -> None:
        async with client:
            assert (await client.record_damage("u", "slow_response")).weight == 1.5
            assert (await client.record_success("u")).weight is None
            assert (await client.get_autonomy_level("u")).recent_damage_count == 2
            assert (await client.should_require_confirmation("u")).required
            assert (await client.reset_trust("u")).state == "full_autonomy"
            assert (await client.trust_metrics()).average_damage_score == 0.5

    asyncio.run(story(async_client(trust, sleeper)))
    assert trust.methods == [DAMAGE, SUCCESS, LEVEL, CONFIRM, RESET, METRICS]


@pytest.mark.parametrize(
    ("method", "tell"),
    [
        (DAMAGE, lambda client: client.record_damage("u", "wrong_answer")),
        (SUCCESS, lambda client: client.record_success("u")),
    ],
)
def test_what_is_told_is_repeated_under_one_id_until_it_is_answered(
    trust: ScriptedServer, client: Client, method: str, tell: Callable[[Client], object]
) -> None:
    """The same id each time, so that it counts once; the next telling has another."""
    trust.script.extend([Drop(), Drop()])
    tell(client)
    tell(client)
    first, again, answered, other = (params["id"] for params in trust.params(method))
    assert first == again == answered != other


def test_a_reset_is_not_repeated(trust: ScriptedServer, client: Client) -> None:
    """A second one could forget what went wrong in between."""
    trust.script.append(Drop())
    with pytest.raises(Unreachable):
        client.reset_trust("u")
    assert trust.methods == [RESET]


def test_what_is_no_number_is_not_sent(trust: ScriptedServer, client: Client) -> None:
    """JSON has no NaN."""
    with pytest.raises(Unsendable):
        client.record_damage("u", "wrong_answer", severity=float("nan"))
    assert trust.calls == []


def test_the_names_of_the_client_are_those_of_the_service() -> None:
    """Types of damage, states, and what strict means; the client stands alone, so each has its own."""
    assert {kind.value for kind in TrustDamageType} == {kind.value for kind in DamageType}
    assert {state.value for state in TrustState} == {state.value for state in ServedState}
    assert (PRESETS["strict"]["damage_threshold"], PRESETS["strict"]["supervised_successes_required"]) == (
        STRICT_THRESHOLD,
        STRICT_SUCCESSES,
    )


def test_a_callback_hears_of_the_first_change_that_an_answer_tells_of(trust: ScriptedServer, client: Client) -> None:
    """A breaker that has seen nothing yet knows from the answer what the state was before; a look alone tells nothing new."""
    seen: list[tuple[str, str]] = []
    breaker = TrustBreaker("u", client=client)
    assert breaker.on_state_change(lambda old, new: seen.append((old, new))) is not None
    trust.script.append(Result(told({"id": "t", "userId": "u"}, "reduced_autonomy")))
    breaker.record_damage("wrong_answer")
    assert seen == [("full_autonomy", "reduced_autonomy")]
    other = TrustBreaker("u", client=client)
    other.on_state_change(lambda old, new: pytest.fail("nothing was seen to change"))
    assert other.state is other.state is TrustState.FULL_AUTONOMY


def test_a_callback_may_use_its_breaker_and_what_it_raises_leaves_the_call(trust: ScriptedServer, client: Client) -> None:
    """It sees the new state and is not told again; the damage is recorded all the same."""
    breaker, states = TrustBreaker("u", client=client), []

    def look(_old: TrustState, _new: TrustState) -> None:
        trust.script.append(Result(level({"userId": "u"}, "reduced_autonomy")))
        states.append(breaker.state)
        raise LookupError("whom to tell")

    breaker.on_state_change(look)
    trust.script.append(Result(told({"id": "t", "userId": "u"}, "reduced_autonomy")))
    with pytest.raises(LookupError, match="whom to tell"):
        breaker.record_damage("wrong_answer")
    assert states == [TrustState.REDUCED_AUTONOMY]
    assert trust.methods == [DAMAGE, LEVEL]


def test_a_breaker_that_blocks_takes_no_coroutines(client: Client) -> None:
    """They would never be awaited."""

    async def notify(_old: TrustState, _new: TrustState) -> None:
        pytest.fail("never called")

    with pytest.raises(TypeError, match="AsyncTrustBreaker"):
        TrustBreaker("u", client=client).on_state_change(notify)


def test_a_state_of_a_later_server_is_no_guess(trust: ScriptedServer, client: Client) -> None:
    """An error that says what it was, rather than a state that it is not."""
    trust.script.append(Result(level({"userId": "u"}, "half_trusted")))
    with pytest.raises(BadAnswer, match="`half_trusted`"):
        _ = TrustBreaker("u", client=client).state


def test_when_nobody_answers_nothing_is_assumed(trust: ScriptedServer, client: Client) -> None:
    """Whether to ask the user is an error then, never a no."""
    trust.script.extend([Drop()] * 20)
    with pytest.raises(Unreachable):
        TrustBreaker("u", client=client).should_require_confirmation("file_write")


@pytest.mark.parametrize(("threshold", "required", "strict"), [(2, 10, True), (1.5, 12, True), (2.5, 10, False), (2, 9, False)])
def test_strict_is_at_least_as_strict_as_the_preset(
    trust: ScriptedServer, client: Client, threshold: float, required: int, *, strict: bool
) -> None:
    """By the damage that is borne and the successes that it takes."""
    recovery = {"status": "full_autonomy", "progress": 1, "successes": 0, "required": required}
    trust.usual[LEVEL] = lambda params: level(params, damageThreshold=threshold, recoveryProgress=recovery)
    if strict:
        assert create_trust_breaker("u", strict=True, client=client).user_id == "u"
    else:
        with pytest.raises(PolicyNotStrict):
            create_trust_breaker("u", strict=True, client=client)


def test_a_governed_step_says_what_its_failure_did_to_the_user(trust: ScriptedServer, client: Client) -> None:
    """The report carries the type of damage, and whether the user said so."""
    with governed(client, "Answer", user="u", domain="code", agent="bot") as step:
        step.outcome("failure", damage_type=TrustDamageType.MISUNDERSTOOD_INTENT, user_explicit=True)
    (review,) = trust.params("cstp.reviewDecision")
    assert (review["damageType"], review["userExplicit"]) == ("misunderstood_intent", True)

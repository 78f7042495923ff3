"""The examples of the guide to trust breakers, on a running service: only where a breaker comes from, and its settings, are other."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from cstp_server.client import (
    AsyncClient,
    AsyncTrustBreaker,
    Client,
    Forbidden,
    PolicyNotStrict,
    TrustBreaker,
    TrustDamageType,
    TrustState,
    create_trust_breaker,
)
from tests.shifted import ShiftedServer

POLICY = """
trust:
  domains:
    "*":
      # How many damage "points" before reducing autonomy
      damage_threshold: 3
      # Time window for counting damage (older events decay)
      damage_window_hours: 24.0
      # How long to stay in reduced autonomy before testing recovery
      recovery_period_hours: 24.0
      # Successful interactions needed in supervised mode
      supervised_successes_required: 5
    touchy: {damage_threshold: 1}
    patient: {half_open_tolerance: 3}
    payments: {preset: strict}
  severity_weights:
    wrong_answer: 1.0
    ignored_preference: 1.5
    unexpected_action: 1.2
    slow_response: 0.3
    misunderstood_intent: 0.8
    repetitive_error: 2.0
  high_impact_actions: [file_write, file_delete, git_commit, git_push, external_api_call, code_execution, database_write]
"""
HIGH_IMPACT = ["file_write", "file_delete", "git_commit", "git_push", "external_api_call", "code_execution", "database_write"]
Action = Callable[[], Awaitable[str]]


class Service:
    """A running service, and breakers of users that nobody else has."""

    def __init__(self, server: ShiftedServer, assistant: Client, support: Client) -> None:
        self.server = server
        self.assistant = assistant
        self.support = support
        self._numbers = count()

    def user(self) -> str:
        """A user who has never been seen."""
        return f"user_{next(self._numbers)}"

    def breaker(self, domain: str = "general", user: str | None = None) -> TrustBreaker:
        """The breaker of a user, a new one when none is named."""
        return TrustBreaker(user or self.user(), domain, client=self.assistant)

    def reduced(self, domain: str = "general") -> TrustBreaker:
        """A breaker whose trust has just been reduced."""
        breaker = self.breaker(domain)
        for _ in range(3):
            breaker.record_damage(TrustDamageType.WRONG_ANSWER)
        assert breaker.state is TrustState.REDUCED_AUTONOMY
        return breaker

    def supervised(self, domain: str = "general") -> TrustBreaker:
        """A breaker whose trust is under test, since a moment ago."""
        breaker = self.reduced(domain)
        self.server.advance(24)
        assert breaker.state is TrustState.SUPERVISED
        return breaker


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the guide's settings, in which hours pass when a test says so."""
    folder: Path = tmp_path_factory.mktemp("guide")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with ShiftedServer(folder / "server", config=policy) as server:
        assistant, support = server.token("assistant", "agent"), server.token("support", "ops")
        with Client(server.url, assistant) as one, Client(server.url, support) as other:
            yield Service(server, one, other)


@pytest.mark.parametrize("user_accepted_result", [True, False])
def test_quick_start(service: Service, user_accepted_result: bool) -> None:
    """A user of whom nothing is known is not asked; the outcome is recorded either way."""
    breaker = service.breaker()
    assert not breaker.should_require_confirmation("file_write")
    if user_accepted_result:
        told = breaker.record_success("File written successfully")
    else:
        told = breaker.record_damage(TrustDamageType.UNEXPECTED_ACTION, "User rejected file write")
    assert (told.state, told.damage_score) == ("full_autonomy", 0 if user_accepted_result else 1.2)


def test_the_table_of_states(service: Service) -> None:
    """Full autonomy asks for nothing, reduced for everything, supervised for what is of high impact."""
    breaker, actions = service.breaker(), [*HIGH_IMPACT, "file_read", "Chat"]
    assert [breaker.should_require_confirmation(action) for action in actions] == [False] * 9
    reduced = service.reduced()
    assert [reduced.should_require_confirmation(action) for action in actions] == [True] * 9
    supervised = service.supervised()
    assert [supervised.should_require_confirmation(action) for action in actions] == [True] * 7 + [False] * 2
    assert supervised.should_require_confirmation()
    assert supervised.should_require_confirmation("FILE_WRITE")


def test_the_picture_of_the_transitions(service: Service) -> None:
    """Damage reaches the threshold, the recovery period passes, supervised successes restore trust."""
    breaker, states = service.breaker(), []
    for _ in range(3):
        states.append(breaker.state)
        breaker.record_damage(TrustDamageType.WRONG_ANSWER)
    breaker.record_success()
    for hours in (0, 23.9, 0.2):
        service.server.advance(hours)
        states.append(breaker.state)
    for _ in range(5):
        breaker.record_success()
        states.append(breaker.state)
    full, reduced, supervised = TrustState.FULL_AUTONOMY, TrustState.REDUCED_AUTONOMY, TrustState.SUPERVISED
    assert states == [full, full, full, reduced, reduced, supervised, supervised, supervised, supervised, supervised, full]


@pytest.mark.parametrize(
    ("damage_type", "weight"),
    [
        (TrustDamageType.WRONG_ANSWER, 1.0),
        (TrustDamageType.IGNORED_PREFERENCE, 1.5),
        (TrustDamageType.UNEXPECTED_ACTION, 1.2),
        (TrustDamageType.SLOW_RESPONSE, 0.3),
        (TrustDamageType.MISUNDERSTOOD_INTENT, 0.8),
        (TrustDamageType.REPETITIVE_ERROR, 2.0),
    ],
)
def test_the_table_of_damage_types(service: Service, damage_type: TrustDamageType, weight: float) -> None:
    """Each counts for its weight."""
    breaker = service.breaker()
    assert breaker.record_damage(damage_type).weight == weight
    assert breaker.damage_score == weight


def test_recording_damage(service: Service) -> None:
    """Basic, with context, with half the impact, and by the user's own word, which counts half as much again."""
    breaker = service.breaker()
    told = [
        breaker.record_damage(TrustDamageType.WRONG_ANSWER),
        breaker.record_damage(TrustDamageType.WRONG_ANSWER, context="Suggested Python 2 syntax for Python 3 project"),
        breaker.record_damage(TrustDamageType.SLOW_RESPONSE, severity=0.5),
        breaker.record_damage(TrustDamageType.IGNORED_PREFERENCE, user_explicit=True),
    ]
    assert [one.weight for one in told] == [1, 1, 0.15, 2.25]
    assert [one.damage_score for one in told] == [1, 2, 2.15, 4.4]
    assert [one.state for one in told] == ["full_autonomy"] * 3 + ["reduced_autonomy"]


def test_recording_success(service: Service) -> None:
    """Basic, with context, and by the user's own word: one each."""
    breaker = service.supervised()
    breaker.record_success()
    breaker.record_success("Code review accepted without changes")
    breaker.record_success(context="User clicked thumbs up", user_explicit=True)
    assert breaker.get_autonomy_level()["recovery_progress"]["successes"] == 3


def test_detailed_autonomy_information(service: Service) -> None:
    """The guide's own mapping, number by number: two damages under test that are borne, and three of five successes."""
    breaker = service.supervised("patient")
    service.server.advance(1)
    breaker.record_damage(TrustDamageType.WRONG_ANSWER)
    breaker.record_damage(TrustDamageType.IGNORED_PREFERENCE)
    service.server.advance(11.5)
    for _ in range(3):
        breaker.record_success()
    info = breaker.get_autonomy_level()
    assert info == {
        "state": "supervised",
        "can_act_freely": False,
        "damage_score": 2.5,
        "damage_threshold": 3,
        "time_in_state_hours": pytest.approx(12.5, abs=0.02),
        "recovery_progress": {"status": "supervised_testing", "progress": 0.7, "successes": 3, "required": 5},
        "recent_damage_count": 2,
    }


def test_state_change_callbacks(service: Service) -> None:
    """Each change is told once, by whichever call sees it: those that the breaker's own calls make, and what time does."""
    told: list[str] = []

    def on_trust_change(_old_state: TrustState, new_state: TrustState) -> None:
        if new_state == TrustState.REDUCED_AUTONOMY:
            told.append("I'll ask for confirmation more often until trust rebuilds.")
        elif new_state == TrustState.FULL_AUTONOMY:
            told.append("Trust restored! I can act more independently now.")

    breaker, seen = service.breaker(), []
    breaker.on_state_change(on_trust_change)
    breaker.on_state_change(lambda old, new: seen.append((old, new)))
    for _ in range(3):
        breaker.record_damage(TrustDamageType.WRONG_ANSWER)
    assert told == ["I'll ask for confirmation more often until trust rebuilds."]
    assert breaker.state == breaker.state == TrustState.REDUCED_AUTONOMY
    service.server.advance(24)
    assert breaker.should_require_confirmation("file_write")
    for _ in range(5):
        breaker.record_success()
    assert told[1:] == ["Trust restored! I can act more independently now."]
    full, reduced, supervised = TrustState.FULL_AUTONOMY, TrustState.REDUCED_AUTONOMY, TrustState.SUPERVISED
    assert seen == [(full, reduced), (reduced, supervised), (supervised, full)]


def test_domain_specific_trust(service: Service) -> None:
    """Damage in one domain does not affect the other."""
    user = service.user()
    doc_trust, code_trust = service.breaker("documentation", user), service.breaker("touchy", user)
    code_trust.record_damage(TrustDamageType.WRONG_ANSWER)
    assert code_trust.state == TrustState.REDUCED_AUTONOMY
    assert doc_trust.state == TrustState.FULL_AUTONOMY
    assert (doc_trust.damage_score, service.breaker("general", user).damage_score) == (0, 0)


def test_there_is_nothing_to_save_and_nothing_to_load(service: Service) -> None:
    """What the guide keeps in a store of its own is there for every other breaker of the user, also after the service was killed."""
    first = service.reduced("code_review")
    first.record_damage(TrustDamageType.SLOW_RESPONSE)
    service.server.kill()
    service.server.start()
    again = service.breaker("code_review", first.user_id)
    assert again.state == TrustState.REDUCED_AUTONOMY
    assert again.damage_score == 3.3


class TrustAwareWorkflow:
    """The guide's."""

    def __init__(self, trust: TrustBreaker, answer: bool) -> None:
        self.trust = trust
        self.asked: list[str] = []
        self.answer = answer

    async def ask_confirmation(self, action: str) -> bool:
        self.asked.append(action)
        return self.answer

    async def execute_action(self, action: str, execute_fn: Action) -> Any:
        if self.trust.should_require_confirmation(action):
            confirmed = await self.ask_confirmation(action)
            if not confirmed:
                return {"status": "cancelled", "reason": "user_declined"}
        try:
            result = await execute_fn()
            self.trust.record_success(f"Action {action} succeeded")
        except Exception as e:
            self.trust.record_damage(TrustDamageType.UNEXPECTED_ACTION, context=f"Action {action} failed: {e}")
            raise
        return result


async def _written() -> str:
    return "written"


async def _broken() -> str:
    raise OSError("disk full")


def test_a_workflow_asks_once_it_has_failed_too_often(service: Service) -> None:
    """Three failures of weight 1.2 reduce trust; then the user is asked, and may decline."""
    workflow = TrustAwareWorkflow(service.breaker(), answer=False)
    assert asyncio.run(workflow.execute_action("file_write", _written)) == "written"
    for _ in range(3):
        with pytest.raises(OSError, match="disk full"):
            asyncio.run(workflow.execute_action("file_write", _broken))
    assert asyncio.run(workflow.execute_action("file_read", _written)) == {"status": "cancelled", "reason": "user_declined"}
    workflow.answer = True
    assert asyncio.run(workflow.execute_action("file_read", _written)) == "written"
    assert workflow.asked == ["file_read", "file_read"]


class TrustAwareLLM:
    """The guide's, with a model that always says the same."""

    def __init__(self, trust: TrustBreaker) -> None:
        self.trust = trust

    def respond(self) -> str:
        response = "42"
        if self.trust.state == TrustState.REDUCED_AUTONOMY:
            response = f"Based on my understanding (please verify):\n\n{response}"
        return response

    def process_feedback(self, was_helpful: bool) -> None:
        if was_helpful:
            self.trust.record_success()
        else:
            self.trust.record_damage(TrustDamageType.WRONG_ANSWER)


def test_a_model_hedges_once_it_was_wrong_three_times(service: Service) -> None:
    """And not before."""
    llm, responses = TrustAwareLLM(service.breaker()), []
    for was_helpful in (False, True, False, False):
        responses.append(llm.respond())
        llm.process_feedback(was_helpful)
    assert responses == ["42"] * 4
    assert llm.respond().startswith("Based on my understanding")


def get_empathy_level_adjustment(trust: TrustBreaker) -> int:
    """The guide's."""
    if trust.state == TrustState.FULL_AUTONOMY:
        return 0
    return 1 if trust.state == TrustState.SUPERVISED else 2


def render_trust_badge(trust: TrustBreaker) -> str:
    """The guide's."""
    info = trust.get_autonomy_level()
    if info["state"] == "full_autonomy":
        return "Full Trust"
    progress = info["recovery_progress"]
    if info["state"] == "supervised":
        return f"Rebuilding Trust ({progress['successes']}/{progress['required']})"
    hours = progress.get("time_remaining_hours", 0)
    return f"Reduced Autonomy ({hours:.1f}h remaining)"


def confirmation_dialog(action: str, trust: TrustBreaker) -> str:
    """The text of the guide's."""
    info = trust.get_autonomy_level()
    message = f"Should I proceed with: {action}?"
    if info["state"] == "reduced_autonomy":
        message += "\n\n(Asking because recent interactions had issues)"
    elif info["state"] == "supervised":
        message += "\n\n(Confirming high-impact actions while rebuilding trust)"
    return message


def test_empathy_levels_badges_and_dialogs(service: Service) -> None:
    """What users are shown in each of the states."""
    supervised = service.supervised()
    supervised.record_success()
    reduced = service.reduced()
    service.server.advance(5.5)
    breakers = [service.breaker(), supervised, reduced]
    assert [get_empathy_level_adjustment(trust) for trust in breakers] == [0, 1, 2]
    assert [render_trust_badge(trust) for trust in breakers] == [
        "Full Trust",
        "Rebuilding Trust (1/5)",
        "Reduced Autonomy (18.5h remaining)",
    ]
    assert [confirmation_dialog("git_push", trust).partition("\n\n")[2] for trust in breakers] == [
        "",
        "(Confirming high-impact actions while rebuilding trust)",
        "(Asking because recent interactions had issues)",
    ]


def test_quick_setup(service: Service) -> None:
    """Standard, for a domain, and strict, which is what the policy says of a domain, or an error that tells who can say it."""
    user, client = service.user(), service.assistant
    standard = create_trust_breaker(user_id=user, client=client)
    assert (standard.user_id, standard.domain) == (user, "general")
    assert create_trust_breaker(user_id=user, domain="code_review", client=client).domain == "code_review"
    strict = create_trust_breaker(user_id=user, strict=True, domain="payments", client=client)
    info = strict.get_autonomy_level()
    assert (info["damage_threshold"], info["recovery_progress"]["required"]) == (2, 10)
    with pytest.raises(PolicyNotStrict, match=r"reduced at 3 and restored by 5 successes.*`trust\.domains\.general\.preset`"):
        create_trust_breaker(user_id=user, strict=True, client=client)
    strict.record_damage(TrustDamageType.WRONG_ANSWER)
    strict.record_damage(TrustDamageType.WRONG_ANSWER)
    states = []
    for hours in (47, 1):
        service.server.advance(hours)
        states.append(strict.state)
    assert states == [TrustState.REDUCED_AUTONOMY, TrustState.SUPERVISED]


def test_what_users_are_told_matches_what_is_done(service: Service) -> None:
    """Whenever an indicator is shown, some action wants a confirmation, and the other way round."""
    for trust in (service.breaker(), service.supervised(), service.reduced()):
        shown = trust.get_autonomy_level() if trust.state != TrustState.FULL_AUTONOMY else None
        assert (shown is not None) is trust.should_require_confirmation("git_push")


def test_manual_reset(service: Service) -> None:
    """For support; an assistant may not, and trust is then whole for every breaker of the user."""
    trust = service.reduced()
    with pytest.raises(Forbidden):
        trust.reset()
    assert trust.state == TrustState.REDUCED_AUTONOMY
    done = TrustBreaker(trust.user_id, client=service.support).reset("the user asked for it")
    assert (done.previous_state, done.state, done.reset_by) == ("reduced_autonomy", "full_autonomy", "support")
    assert (trust.state, trust.damage_score) == (TrustState.FULL_AUTONOMY, 0)


def test_metrics_and_monitoring(service: Service) -> None:
    """Counted over breakers as the guide does, and by the service for all users."""
    before = service.support.trust_metrics()
    recovered = service.supervised()
    for _ in range(5):
        recovered.record_success()
    all_breakers = [recovered, service.supervised(), service.reduced()]
    trust_states = Counter(breaker.state for breaker in all_breakers)
    assert trust_states == {TrustState.FULL_AUTONOMY: 1, TrustState.SUPERVISED: 1, TrustState.REDUCED_AUTONOMY: 1}
    assert mean(breaker.damage_score for breaker in all_breakers) == 1
    assert 24 <= mean(breaker.time_in_current_state for breaker in [recovered]) < 24.1
    after = service.support.trust_metrics()
    assert sum(after.states.values()) == sum(before.states.values()) + 3
    assert after.recovery_rate is not None
    assert 0 < after.recovery_rate <= 1
    assert after.average_recovery_hours is not None
    assert after.average_recovery_hours >= 24


def test_an_assistant_that_does_not_block_its_event_loop(service: Service) -> None:
    """The same methods, to be awaited, and callbacks may be coroutines; the state is that of every other breaker of the user."""
    user, token = service.user(), service.server.token("async-assistant", "agent")
    told: list[str] = []

    async def notify(_old: TrustState, new: TrustState) -> None:
        told.append(new.value)

    async def story() -> None:
        async with AsyncClient(service.server.url, token) as client:
            trust = AsyncTrustBreaker(user, "code_review", client=client)
            trust.on_state_change(notify)
            assert not await trust.should_require_confirmation("file_write")
            for _ in range(3):
                await trust.record_damage(TrustDamageType.WRONG_ANSWER, "again")
            assert await trust.state() is TrustState.REDUCED_AUTONOMY
            assert await trust.damage_score() == 3
            assert await trust.time_in_current_state() < 0.1
            assert (await trust.get_autonomy_level())["recovery_progress"]["status"] == "recovery_period"
            service.server.advance(24)
            for _ in range(5):
                await trust.record_success("fine", user_explicit=True)
            with pytest.raises(Forbidden):
                await trust.reset()
            with pytest.raises(PolicyNotStrict):
                await trust.require_strict()
            await AsyncTrustBreaker(user, "payments", client=client).require_strict()

    asyncio.run(story())
    assert told == ["reduced_autonomy", "supervised", "full_autonomy"]
    assert service.breaker("code_review", user).state is TrustState.FULL_AUTONOMY

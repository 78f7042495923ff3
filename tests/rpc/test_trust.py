"""Trust between users and the AI over HTTP: what is told of it, how it stands, and what it does to a check (SPEC 10)."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from tests.server import RpcError
from tests.shifted import ShiftedServer

DAMAGE, SUCCESS, LEVEL, CONFIRM = "cstp.recordDamage", "cstp.recordSuccess", "cstp.getAutonomyLevel", "cstp.shouldRequireConfirmation"
RESET, METRICS, CHECK, RESOLVE = "cstp.resetTrust", "cstp.getTrustMetrics", "cstp.checkGuardrails", "cstp.resolveDecision"
TELLING = [(DAMAGE, {"damageType": "wrong_answer"}), (SUCCESS, {})]
ASKING = [(LEVEL, {}), (CONFIRM, {"action": "file_write"}), (RESET, {})]
POLICY = """
trust:
  domains:
    payments: {preset: strict}
    ours: {high_impact_actions: [send_mail], severity_weights: {slow_response: 2}}
postures: {approval_ttl_ms: 3600000}
"""
QUIET = """
trust: {mode: MODE}
"""


class Service:
    """A running service, and a token for everybody."""

    def __init__(self, server: ShiftedServer, tokens: Mapping[str, str]) -> None:
        self.server = server
        self.tokens = tokens
        self._numbers = count()

    def call(self, who: str, method: str, **params: Any) -> Any:
        """The result of a call."""
        return self.server.call(method, params, token=self.tokens[who])

    def refusal(self, who: str, method: str, **params: Any) -> RpcError:
        """The error of a call."""
        with pytest.raises(RpcError) as raised:
            self.call(who, method, **params)
        return raised.value

    def user(self) -> str:
        """A user who has never been seen; ids may look like paths."""
        return f"org/{next(self._numbers)}"

    def damage(self, user: str, **params: Any) -> Any:
        """A wrong answer, unless it was something else."""
        return self.call("bot", DAMAGE, userId=user, **{"damageType": "wrong_answer", **params})

    def level(self, user: str, domain: str = "general") -> Any:
        """How the user's trust stands."""
        return self.call("bot", LEVEL, userId=user, domain=domain)

    def reduced(self) -> str:
        """A user whose trust was just reduced."""
        user = self.user()
        states = [self.damage(user)["state"] for _ in range(3)]
        assert states == ["full_autonomy", "full_autonomy", "reduced_autonomy"]
        return user

    def supervised(self) -> str:
        """A user whose trust is under test, since a moment ago."""
        user = self.reduced()
        self.server.advance(24)
        assert self.level(user)["state"] == "supervised"
        return user

    def check(self, user: str, type: str | None = None, **params: Any) -> Any:
        """A check of something that nothing but trust objects to."""
        action = {"description": "Do what was asked", **({"type": type} if type is not None else {})}
        return self.call("bot", CHECK, action=action, user={"id": user}, **params)

    def resolve(self, answer: Any, resolution: str, who: str = "bot") -> Any:
        """What somebody says of a decision that waits."""
        return self.call(who, RESOLVE, id=answer["decisionId"], resolution=resolution)

    def review(self, answer: Any, outcome: str, who: str = "ci", **params: Any) -> Any:
        """How a decision turned out."""
        return self.call(who, "cstp.reviewDecision", id=answer["decisionId"], outcome=outcome, **params)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, with a domain that is strict and one that has its own actions and weights."""
    folder = tmp_path_factory.mktemp("trust")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with ShiftedServer(folder / "server", config=policy) as server:
        yield Service(
            server,
            {
                "bot": server.token("bot", "agent"),
                "ci": server.token("ci", "ci"),
                "eve": server.token("eve", "viewer"),
                "olivia": server.token("olivia", "ops"),
                "elsewhere": server.token("elsewhere", "agent", "ops", tenant="other"),
            },
        )


def test_a_damage_is_answered_in_full(service: Service) -> None:
    """What it counts for, and how trust stands after it; the second telling is a duplicate and changes nothing."""
    user = service.user()
    said = {"domain": "code", "damageType": "IGNORED_PREFERENCE", "severity": 0.5, "userExplicit": True, "context": "tabs", "id": "d-1"}
    told = service.damage(user, **said)
    assert told == {
        "success": True,
        "id": "d-1",
        "userId": user,
        "domain": "code",
        "previousState": "full_autonomy",
        "state": "full_autonomy",
        "damageScore": 1.125,
        "damageThreshold": 3,
        "weight": 1.125,
        "duplicate": False,
        "recordedAt": told["recordedAt"],
    }
    again = service.damage(user, **said)
    assert (again["duplicate"], again["damageScore"], again["id"]) == (True, 1.125, "d-1")
    assert "weight" not in again
    assert service.damage(user, domain="code", id="d-2")["damageScore"] == 2.125
    assert service.damage(user, id="d-1")["duplicate"] is False


def test_a_success_is_answered_in_full(service: Service) -> None:
    """Under test it counts once, however often it is told."""
    user = service.supervised()
    told = service.call("ci", SUCCESS, userId=user, context="fine", userExplicit=True, id="s-1")
    assert {name: told[name] for name in ("success", "id", "userId", "domain", "previousState", "state", "duplicate")} == {
        "success": True,
        "id": "s-1",
        "userId": user,
        "domain": "general",
        "previousState": "supervised",
        "state": "supervised",
        "duplicate": False,
    }
    assert service.call("olivia", SUCCESS, userId=user, id="s-1")["duplicate"] is True
    assert service.level(user)["recoveryProgress"] == {"status": "supervised_testing", "progress": 0.4, "successes": 1, "required": 5}


@pytest.mark.parametrize(("first", "second", "what"), [(TELLING[0], TELLING[1], "damage"), (TELLING[1], TELLING[0], "success")])
def test_a_damage_and_a_success_cannot_share_an_id(
    service: Service, first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]], what: str
) -> None:
    """The second is refused rather than taken for the first told again; under an id of its own it counts."""
    user = service.user()
    service.call("bot", first[0], userId=user, **first[1], id="message-7")
    before = service.level(user)["damageScore"]
    refusal = service.refusal("ci", second[0], userId=user, **second[1], id="message-7")
    assert (refusal.code, refusal.message) == (-32011, f"`message-7` was told already, as a {what}: use another id")
    assert service.level(user)["damageScore"] == before
    assert service.call("bot", first[0], userId=user, **first[1], id="message-7")["duplicate"] is True
    assert service.call("ci", second[0], userId=user, **second[1], id="message-8")["duplicate"] is False


def test_who_was_never_seen_is_trusted(service: Service) -> None:
    """Every field of a level, where nothing has happened."""
    user = service.user()
    assert service.level(user) == {
        "userId": user,
        "domain": "general",
        "state": "full_autonomy",
        "canActFreely": True,
        "damageScore": 0,
        "damageThreshold": 3,
        "timeInStateHours": 0,
        "recoveryProgress": {"status": "full_autonomy", "progress": 1, "successes": 0, "required": 5},
        "recentDamageCount": 0,
    }


def test_the_way_back_is_told_hour_by_hour(service: Service) -> None:
    """Progress only rises while no damage comes: a quarter by waiting, the rest by successes."""
    user, progress = service.reduced(), []
    for _ in range(4):
        recovery = service.level(user)["recoveryProgress"]
        assert recovery["status"] == "recovery_period"
        progress.append((recovery["progress"], recovery["timeRemainingHours"]))
        service.server.advance(6)
    assert progress == [pytest.approx(step, abs=0.01) for step in ((0, 24), (0.0625, 18), (0.125, 12), (0.1875, 6))]
    rising = []
    for _ in range(6):
        rising.append(service.level(user)["recoveryProgress"]["progress"])
        service.call("bot", SUCCESS, userId=user)
    assert rising == [0.25, 0.4, 0.55, 0.7, 0.85, 1]
    assert service.level(user)["canActFreely"] is True


def test_damage_under_test_is_borne_up_to_the_tolerance(service: Service) -> None:
    """It takes two successes off, and beyond the tolerance it reduces trust again."""
    user = service.supervised()
    for _ in range(3):
        service.call("bot", SUCCESS, userId=user)
    assert service.damage(user, damageType="slow_response")["state"] == "supervised"
    assert service.level(user)["recoveryProgress"]["successes"] == 1
    assert service.damage(user, damageType="misunderstood_intent")["state"] == "reduced_autonomy"


def test_damage_fades_after_half_the_window(service: Service) -> None:
    """Whole for twelve hours, half after eighteen, nothing after twenty-four."""
    user, scores = service.user(), []
    service.damage(user)
    for _ in range(4):
        service.server.advance(6)
        scores.append(service.level(user)["damageScore"])
    assert scores == [1, pytest.approx(1, abs=0.01), pytest.approx(0.5, abs=0.01), 0]
    assert service.level(user)["recentDamageCount"] == 0


def test_domains_have_their_own_measure(service: Service) -> None:
    """A preset, actions and weights of single domains; nothing of one is seen in another."""
    user = service.user()
    assert [service.damage(user, domain="payments")["state"] for _ in range(2)] == ["full_autonomy", "reduced_autonomy"]
    assert service.level(user, "payments")["recoveryProgress"]["required"] == 10
    assert service.damage(user, domain="ours", damageType="slow_response")["weight"] == 2
    assert service.damage(user, domain="ours", damageType="slow_response")["state"] == "reduced_autonomy"
    assert service.level(user)["damageScore"] == 0
    service.server.advance(24)
    asked = [service.call("bot", CONFIRM, userId=user, domain="ours", action=action)["required"] for action in ("send_mail", "file_write")]
    assert asked == [True, False]


def test_whether_to_ask_is_answered_with_its_reason(service: Service) -> None:
    """In each state; the type is compared without case, and one that is not named may be any."""
    whole, reduced, supervised = service.user(), service.reduced(), service.supervised()
    service.call("olivia", "cstp.tripCircuit", scope=f"user:{reduced}/general", reason="incident 7")

    def asked(user: str, **params: Any) -> tuple[bool, str, str]:
        answer = service.call("eve", CONFIRM, userId=user, **params)
        return answer["required"], answer["state"], answer["reason"]

    assert asked(whole, action="file_write") == (False, "full_autonomy", f"trust of user `{whole}` in `general` is whole")
    required, state, reason = asked(reduced, action="file_read")
    assert (required, state) == (True, "reduced_autonomy")
    assert "olivia has seen to that: incident 7" in reason
    assert service.level(reduced)["forced"] is True
    assert "timeRemainingHours" not in service.level(reduced)["recoveryProgress"]
    assert asked(supervised, action="File_Write")[0] is True
    assert asked(supervised)[0] is True
    assert asked(supervised, action="file_read") == (
        False,
        "supervised",
        f"trust of user `{supervised}` in `general` is under test (0 of 5 successes): `file_read` is not of high impact",
    )


def test_a_reset_makes_trust_whole(service: Service) -> None:
    """By whom and when; the damage is forgotten, and an operator's word ends a forced state too."""
    user = service.reduced()
    done = service.call("olivia", RESET, userId=user, reason="the user asked for it")
    assert done == {
        "success": True,
        "userId": user,
        "domain": "general",
        "previousState": "reduced_autonomy",
        "state": "full_autonomy",
        "resetBy": "olivia",
        "resetAt": done["resetAt"],
    }
    assert (service.level(user)["damageScore"], service.level(user)["recentDamageCount"]) == (0, 0)
    assert service.refusal("bot", RESET, userId=user).status == 403


def test_a_check_for_a_user_whose_trust_is_reduced_wants_a_confirmation_each_time(service: Service) -> None:
    """The finding has the state of trust; confirmed, the decision is approved once, and the next check asks again."""
    user = service.reduced()
    answer = service.check(user, "file_read")
    (finding,) = answer["violations"]
    assert (answer["allowed"], answer["intervention"], answer["pending"]["kind"]) == (False, "confirm", "confirmation")
    assert {name: finding[name] for name in ("type", "state", "action", "severity", "scope")} == {
        "type": "trust",
        "state": "reduced_autonomy",
        "action": "confirm",
        "severity": "confirm",
        "scope": f"user:{user}/general",
    }
    assert finding["guardrail"] == f"trust-{user}/general"
    assert finding["message"].startswith(
        f"trust of user `{user}` in `general` is reduced: every action wants the user's confirmation for 2"
    )
    assert {"change": "wait", "until": finding["resetAt"]} in answer["remedies"]
    assert {"change": "confirm"} in answer["remedies"]
    resolved = service.resolve(answer, "confirm")
    assert (resolved["status"], resolved["allowed"]) == ("approved", True)
    assert service.refusal("bot", RESOLVE, id=answer["decisionId"], resolution="confirm").code == -32011
    assert service.check(user, "file_read", decisionId=answer["decisionId"]) == answer
    assert service.check(user, "file_read")["pending"]["kind"] == "confirmation"


def test_a_user_who_says_no_is_obeyed_and_one_who_says_nothing_too(service: Service) -> None:
    """Cancelled, and expired after an hour."""
    user = service.reduced()
    assert service.resolve(service.check(user), "cancel")["status"] == "cancelled"
    waiting = service.check(user)
    service.server.advance(1)
    assert service.call("bot", "cstp.awaitDecision", id=waiting["decisionId"], timeoutMs=1000)["status"] == "expired"


def test_under_test_only_what_is_of_high_impact_is_asked(service: Service) -> None:
    """Or does not say what it is; any number of them at a time, for no probe is given out."""
    user = service.supervised()
    for type, allowed in (("file_write", False), ("FILE_WRITE ", False), ("file_read", True), (None, False)):
        answer = service.check(user, type)
        assert (answer["allowed"], answer["probes"]) == (allowed, [])
        assert [finding["state"] for finding in answer["violations"]] == ([] if allowed else ["supervised"])
    assert all(service.check(user, "file_read")["allowed"] for _ in range(3))


def test_waiting_is_a_remedy_only_where_it_helps(service: Service) -> None:
    """An action of high impact will still want a confirmation when trust is under test."""
    user = service.reduced()
    assert [remedy["change"] for remedy in service.check(user, "file_read")["remedies"]] == ["wait", "confirm"]
    assert [remedy["change"] for remedy in service.check(user, "file_write")["remedies"]] == ["confirm"]


def test_trust_that_was_reduced_since_stands_against_what_waited_for_something_else(service: Service) -> None:
    """An approval that was asked for before lifts it not."""
    user = service.user()
    service.call("olivia", "cstp.transitionPosture", agentId="careful", toPosture="human_decides", reason="watched")
    params = {"action": {"description": "Do it", "type": "file_read"}, "agent": {"id": "careful"}, "user": {"id": user}}
    waiting = service.call("olivia", CHECK, **params)
    assert waiting["pending"]["kind"] == "approval"
    for _ in range(3):
        service.damage(user)
    settled = service.resolve(waiting, "approve", who="olivia")
    assert (settled["status"], settled["allowed"]) == ("denied", False)
    assert [finding["type"] for finding in settled["violations"]] == ["trust"]


def test_a_dry_run_asks_and_stores_nothing(service: Service) -> None:
    """The same finding, and no decision that waits."""
    user = service.reduced()
    answer = service.check(user, dryRun=True, decisionId="dry-1")
    assert (answer["intervention"], answer["violations"][0]["type"]) == ("confirm", "trust")
    assert service.refusal("olivia", "cstp.getDecision", id="dry-1").code == -32007


def test_without_a_user_trust_says_nothing(service: Service) -> None:
    """Nor does another domain's."""
    user = service.reduced()
    assert service.call("bot", CHECK, action={"description": "x"})["allowed"]
    assert service.call("bot", CHECK, action={"description": "x"}, user={"id": user, "domain": "payments"})["allowed"]


def test_reviews_of_what_was_done_for_a_user_count(service: Service) -> None:
    """By the type of damage, the review's severity, and who said so; a success counts under test."""
    user = service.user()
    weights = []
    for said in (
        {},
        {"severity": "low"},
        {"damageType": "Slow_Response", "severity": "high"},
        {"damageType": "ignored_preference", "userExplicit": True, "severity": "low"},
    ):
        before = service.level(user)["damageScore"]
        service.review(service.check(user, "file_read"), "failure", **said)
        weights.append(round(service.level(user)["damageScore"] - before, 6))
    assert weights == [1, 0.5, 0.6, 1.125]
    assert service.level(user)["state"] == "reduced_autonomy"
    service.server.advance(24)
    for outcome, successes in (("partial", 0), ("success", 1), ("abandoned", 1), ("success", 2)):
        service.review(service.check(user, "file_read"), outcome)
        assert service.level(user)["recoveryProgress"]["successes"] == successes


def test_the_late_outcome_of_an_older_decision_does_not_count_as_a_proof(service: Service) -> None:
    """What was asked for before trust was under test says nothing of it now."""
    user = service.user()
    old = service.check(user, "file_read")
    for _ in range(3):
        service.damage(user)
    service.server.advance(24)
    service.review(old, "success")
    assert service.level(user)["recoveryProgress"]["successes"] == 0


def test_an_amended_review_leaves_trust_as_if_it_had_stood_from_the_start(service: Service) -> None:
    """A failure that was none gives trust back; one of another type weighs what that weighs."""
    user = service.user()
    answers = [service.check(user, "file_read") for _ in range(3)]
    for answer in answers:
        service.review(answer, "failure")
    assert service.level(user)["state"] == "reduced_autonomy"
    service.review(answers[1], "success", who="olivia", amend=True)
    level = service.level(user)
    assert (level["state"], level["damageScore"], level["recentDamageCount"]) == ("full_autonomy", 2, 2)
    assert service.check(user, "file_read")["allowed"]
    service.review(answers[0], "failure", who="olivia", severity="low", damageType="repetitive_error", amend=True)
    assert service.level(user)["damageScore"] == 2
    service.review(answers[2], "failure", who="olivia", severity="high", amend=True)
    assert service.level(user)["state"] == "reduced_autonomy"
    service.review(answers[2], "failure", who="olivia", severity="high", damageType="slow_response", amend=True)
    assert (service.level(user)["state"], service.level(user)["damageScore"]) == ("full_autonomy", 1.6)
    service.review(answers[2], "failure", who="olivia", severity="high", userExplicit=True, amend=True)
    assert service.level(user)["damageScore"] == 1.9
    assert service.review(answers[2], "failure", severity="high", damageType="wrong_answer")["duplicate"] is True


@pytest.mark.parametrize("method", [DAMAGE, "cstp.reviewDecision"])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("wrong_anwser", "did you mean `wrong_answer`?"),
        ("Wrong Answer", "did you mean `wrong_answer`?"),
        ("boredom", "use `wrong_answer`, `ignored_preference`"),
        ("", "use `wrong_answer`"),
        (7, "must be `wrong_answer`"),
    ],
)
def test_a_type_of_damage_that_is_none_is_refused(service: Service, method: str, value: Any, wanted: str) -> None:
    """By its name on the wire, with the nearest name or all of them; in reviews as well."""
    params = {"userId": "u"} if method == DAMAGE else {"id": "dec_1", "outcome": "failure"}
    refusal = service.refusal("ci", method, **params, damageType=value)
    assert (refusal.code, refusal.data["field"]) == (-32602, "damageType")
    assert wanted in refusal.message


@pytest.mark.parametrize(
    ("severity", "wanted"), [(0, "greater than 0"), (-0.5, "greater than 0"), (1.01, "at most 1"), ("1", "a number"), (True, "a number")]
)
def test_a_severity_beyond_its_bounds_is_refused(service: Service, severity: Any, wanted: str) -> None:
    """Above 0 and at most 1; the bound itself is taken, and the smallest severity still counts."""
    refusal = service.refusal("bot", DAMAGE, userId="u", damageType="wrong_answer", severity=severity)
    assert (refusal.code, refusal.data["field"]) == (-32602, "severity")
    assert wanted in refusal.message
    user = service.user()
    assert service.damage(user, severity=1)["weight"] == 1
    assert service.damage(user, severity=1e-12)["weight"] > 0


@pytest.mark.parametrize("severity", ["NaN", "Infinity", "1e999"])
def test_what_is_no_finite_number_is_refused(service: Service, severity: str) -> None:
    """It is no JSON, or no number that a severity can be; nothing is counted."""
    user = service.user()
    params = f'{{"userId": "{user}", "damageType": "wrong_answer", "severity": {severity}}}'
    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "cstp.recordDamage", "params": {params}}}'
    answer = service.server.raw(body, token=service.tokens["bot"]).json()
    assert answer["error"]["code"] in (-32700, -32602)
    assert service.level(user)["recentDamageCount"] == 0


@pytest.mark.parametrize(("method", "params"), [*TELLING, *ASKING])
@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"userId": ""}, "userId"),
        ({"userId": "  "}, "userId"),
        ({"userId": 7}, "userId"),
        ({"userId": "u" * 257}, "userId"),
        ({"domain": "a/b"}, "domain"),
        ({"domain": ""}, "domain"),
        ({"domain": "d" * 257}, "domain"),
        ({"user": "u"}, "user"),
    ],
)
def test_a_user_or_a_domain_that_is_none_is_refused(
    service: Service, method: str, params: dict[str, Any], bad: dict[str, Any], field: str
) -> None:
    """With the name of the field, by every method."""
    refusal = service.refusal("olivia", method, **{"userId": "u", **params, **bad})
    assert (refusal.code, refusal.data["field"]) == (-32602, field)


@pytest.mark.parametrize(("method", "params"), TELLING)
@pytest.mark.parametrize("id", ["", "a b", "é", "x" * 129])
def test_a_name_for_a_telling_is_of_the_characters_of_decision_ids(service: Service, method: str, params: dict[str, Any], id: str) -> None:
    """At most 128 of them."""
    refusal = service.refusal("bot", method, userId="u", **params, id=id)
    assert (refusal.code, refusal.data["field"]) == (-32602, "id")


def test_names_may_be_in_snake_case(service: Service) -> None:
    """As everywhere."""
    user = service.user()
    told = service.call("bot", DAMAGE, user_id=user, damage_type="wrong_answer", user_explicit=True)
    assert told["weight"] == 1.5


def test_another_tenants_users_are_others(service: Service) -> None:
    """The same id is somebody else there, and counts in nobody else's measures."""
    user = service.reduced()
    assert service.call("elsewhere", LEVEL, userId=user)["state"] == "full_autonomy"
    service.call("elsewhere", DAMAGE, userId=user, damageType="repetitive_error")
    service.call("elsewhere", RESET, userId=user)
    assert service.level(user)["damageScore"] == 3
    assert service.call("elsewhere", METRICS)["states"] == {"full_autonomy": 1, "supervised": 0, "reduced_autonomy": 0}


def test_a_credential_in_a_remark_is_not_kept(service: Service) -> None:
    """It is told like any other, and no answer or history shows it."""
    user, secret = service.user(), "AKIA" + "Z7" * 8
    for _ in range(3):
        service.damage(user, context=f"it printed {secret}")
    history = service.call("eve", "cstp.getCircuitHistory", scope=f"user:{user}/general")
    assert [move["state"] for move in history["transitions"]] == ["open"]
    assert secret.encode() not in b"".join(file.read_bytes() for file in (service.server.directory / "data").iterdir())


def test_trust_is_listed_among_the_guards(service: Service) -> None:
    """Each domain of the policy, then all others."""
    listed = [guard for guard in service.call("eve", "cstp.listGuardrails")["guardrails"] if guard["type"] == "trust"]
    assert [(guard["id"], guard["scope"], guard["action"], guard["mode"]) for guard in listed] == [
        ("trust-*/ours", ["user:*/ours"], "confirm", "enforce"),
        ("trust-*/payments", ["user:*/payments"], "confirm", "enforce"),
        ("trust-*", ["user:*"], "confirm", "enforce"),
    ]
    assert "only `send_mail` then" in listed[0]["description"]
    assert "reduced at 2 weighted damages within 24 h" in listed[1]["description"]


@pytest.mark.parametrize(("mode", "findings"), [("shadow", ["trust"]), ("off", [])])
def test_where_trust_is_not_enforced_nothing_is_asked(tmp_path_factory: pytest.TempPathFactory, mode: str, findings: list[str]) -> None:
    """In shadow it is measured and shown beside the answer; off, there is no such measure."""
    folder = tmp_path_factory.mktemp(mode)
    policy = folder / "policy.yaml"
    policy.write_text(QUIET.replace("MODE", mode))
    with ShiftedServer(folder / "server", config=policy) as server:
        if mode == "off":
            for method, params in (*TELLING, *ASKING):
                with pytest.raises(RpcError) as raised:
                    server.call(method, {"userId": "u", **params})
                assert (raised.value.code, raised.value.data["scope"]) == (-32010, "user:u/general")
                assert raised.value.message == "nothing measures the trust of `user:u/general`: the policy has `trust: {mode: off}`"
        else:
            states = [server.call(DAMAGE, {"userId": "u", "damageType": "repetitive_error"})["state"] for _ in range(2)]
            assert states == ["full_autonomy", "reduced_autonomy"]
            asked = server.call(CONFIRM, {"userId": "u", "action": "file_write"})
            assert (asked["required"], asked["state"]) == (False, "reduced_autonomy")
            level = server.call(LEVEL, {"userId": "u"})
            assert (level["state"], level["canActFreely"], level["mode"]) == ("reduced_autonomy", True, "shadow")
            assert asked["reason"].endswith("its mode is `shadow`, so that nothing is asked")
        answer = server.call(CHECK, {"action": {"description": "x"}, "user": {"id": "u"}})
        assert (answer["allowed"], [finding["type"] for finding in answer["shadow"]]) == (True, findings)


def test_the_measures_of_a_tenant(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Null where nothing was recovered yet; then the share of tests that ended well, and the hours from reduced to restored."""
    folder = tmp_path_factory.mktemp("metrics")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with ShiftedServer(folder / "server", config=policy) as server:
        assert server.call(METRICS) == {
            "states": {"full_autonomy": 0, "supervised": 0, "reduced_autonomy": 0},
            "averageDamageScore": 0,
            "recoveryRate": None,
            "averageRecoveryHours": None,
        }
        for user in ("well", "badly", "never", "not-yet"):
            for _ in range(1 if user == "never" else 3):
                server.call(DAMAGE, {"userId": user, "damageType": "wrong_answer"})
        assert server.call(METRICS)["averageDamageScore"] == 2.5
        server.advance(30)
        for _ in range(5):
            server.call(SUCCESS, {"userId": "well"})
        server.call(DAMAGE, {"userId": "badly", "damageType": "repetitive_error"})
        measured = server.call(METRICS)
        assert measured["states"] == {"full_autonomy": 2, "supervised": 1, "reduced_autonomy": 1}
        assert (measured["averageDamageScore"], measured["recoveryRate"]) == (0.5, 0.5)
        assert measured["averageRecoveryHours"] == pytest.approx(30, abs=0.05)

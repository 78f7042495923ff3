"""Forms: what is sent from elsewhere, or by whom it is not for, changes nothing."""

import httpx
import pytest

from tests.web.fleet import Fleet
from tests.web.plain import Plain

ACTIONS = {
    "/circuit/reset": {"scope": "category:tooling"},
    "/circuit/trip": {"scope": "category:tooling", "reason": "because"},
    "/agent/move": {"id": "bot", "to": "blocked", "reason": "because"},
    "/agent/block": {"id": "bot", "reason": "because"},
    "/decision/resolve": {"id": "dec_x", "resolution": "approve"},
    "/trust/reset": {"user": "u", "domain": "d"},
}


def state_of(fleet: Fleet) -> tuple[object, object]:
    """What an action would change."""
    circuit = fleet.server.call("cstp.getCircuitState", {"scope": "category:tooling"}, token=fleet.ops)
    return circuit["state"], fleet.server.call("cstp.getPosture", {"agentId": "bot"}, token=fleet.ops)["posture"]


def refund(fleet: Fleet) -> str:
    """A decision that waits for an approval."""
    answer = fleet.check("refund-bot", "Refund an order in full", type="issue_refund", parameters={"amount": 900})
    assert answer["pending"]["kind"] == "approval"
    return str(answer["decisionId"])


def test_a_form_without_the_sessions_own_token_changes_nothing(shared_fleet: Fleet) -> None:
    """Missing, wrong, or another session's: 403, and all is as before."""
    before = state_of(shared_fleet)
    with Plain(shared_fleet.server.url) as visitor, Plain(shared_fleet.server.url) as other:
        visitor.sign_in(shared_fleet.ops)
        other.sign_in(shared_fleet.ops)
        for path, fields in ACTIONS.items():
            for wrong in ({}, {"form_token": "0" * 48}, {"form_token": other.form_token()}):
                assert visitor.send(path, fields | wrong).status_code == 403, path
    assert state_of(shared_fleet) == before


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_form_of_another_site_changes_nothing(shared_fleet: Fleet, origin: str) -> None:
    """Even with the session's cookie and its form token, the browser's word for where it comes from decides."""
    before = state_of(shared_fleet)
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        token = visitor.form_token()
        for path, fields in ACTIONS.items():
            assert visitor.send(path, fields | {"form_token": token}, headers={"Origin": origin}).status_code == 403, path
        assert visitor.send("/sign-out", {"form_token": token}, headers={"Origin": origin}).status_code == 403
    assert state_of(shared_fleet) == before


def test_a_viewer_is_shown_no_action_and_refused_all(shared_fleet: Fleet, viewer: str) -> None:
    """What the role may not do is not on any page, and 403 to whoever asks for it all the same."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(viewer)
        pending = refund(shared_fleet)
        for path in ("/circuit?scope=category:tooling", "/agent?id=bot", f"/decision?id={pending}", "/trust", "/pending"):
            shown = visitor.get(path)
            assert shown.status_code == 200
            for action in ACTIONS:
                assert action not in shown.text, (path, action)
        for path, fields in ACTIONS.items():
            assert visitor.act(path, **fields).status_code == 403, path
        for path in ("/circuit/trip?scope=category:tooling", "/agent/move?id=bot", "/trust/reset?user=u&domain=d"):
            assert visitor.get(path).status_code == 403
    assert state_of(shared_fleet) == ("closed", "supervised")


def test_the_attempt_of_somebody_who_may_not_move_an_agent_is_on_record(shared_fleet: Fleet, viewer: str) -> None:
    """As over the protocol, the agent's history tells of it."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(viewer)
        visitor.act("/agent/block", id="stubborn-bot", reason="I want to")
    history = shared_fleet.server.call("cstp.getPostureHistory", {"agentId": "stubborn-bot"}, token=shared_fleet.ops)["transitions"]
    assert [(entry["actor"], entry["success"], entry["blockedBy"]) for entry in history] == [("vera", False, "role_too_low")]


def test_nobody_approves_their_own(shared_fleet: Fleet) -> None:
    """The button is not there for the agent's own token, and the server refuses."""
    own = shared_fleet.server.token("self", "ops", "agent", agent="refund-bot")
    id = refund(shared_fleet)
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(own)
        assert 'value="approve"' not in visitor.get(f"/decision?id={id}").text
        refused = visitor.act("/decision/resolve", id=id, resolution="approve")
    assert refused.status_code == 403
    assert "Nobody approves" in refused.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=%00", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(50)), "application/x-www-form-urlencoded", 400),
    ],
)
def test_what_is_no_form_has_an_answer(shared_fleet: Fleet, content: bytes, kind: str, status: int) -> None:
    """Each kind of bad body has its own."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        answer = visitor.client.post("/circuit/reset", content=content, headers={"Origin": visitor.url, "Content-Type": kind})
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_a_reason_that_is_missing_is_asked_for_again(shared_fleet: Fleet) -> None:
    """The form comes back and says so; nothing is carried out."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        for path, fields in (
            ("/circuit/trip", {"scope": "category:tooling"}),
            ("/agent/move", {"id": "bot", "to": "blocked"}),
            ("/agent/block", {"id": "bot"}),
        ):
            answer = visitor.act(path, **fields)
            assert answer.status_code == 422, path
            assert "<code>reason</code> is required" in answer.text
    assert state_of(shared_fleet) == ("closed", "supervised")


def test_an_id_is_what_is_written_and_nothing_else(shared_fleet: Fleet) -> None:
    """An agent whose id ends with a space is another one: blocking it blocks nobody else, and its page is its own."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        visitor.act("/agent/block", id="spaced-bot ", reason="because")
        postures = [
            shared_fleet.server.call("cstp.getPosture", {"agentId": id}, token=shared_fleet.ops)["posture"]
            for id in ("spaced-bot ", "spaced-bot")
        ]
        assert postures == ["blocked", "supervised"]
        assert "blocked" in visitor.get("/agent?id=spaced-bot%20").text
        assert visitor.get("/circuit?scope=agent:a%00b").status_code == 422


def test_unknown_things_have_a_page_that_says_so(shared_fleet: Fleet) -> None:
    """404 with what was asked for, as the protocol would answer."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        for path in ("/decision?id=dec_none", "/circuit?scope=category:nothing"):
            assert visitor.get(path).status_code == 404
        assert visitor.get("/circuit?scope=nonsense").status_code == 422
        assert visitor.get("/agent").status_code == 422
        assert visitor.get("/static/..%2Fstyle.css").status_code == 404


def test_another_tenants_rows_are_not_there(shared_fleet: Fleet) -> None:
    """Whoever looks sees their own tenant alone, on every page."""
    id = refund(shared_fleet)
    shared_fleet.fail("refactor-bot", "writing", 2)
    shared_fleet.damage("user_123", "billing", "wrong_answer")
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.server.token("stranger", "ops", tenant="elsewhere"))
        for path in ("/", "/circuits", "/pending", "/decisions", "/agents", "/tripwires", "/trust", "/events"):
            text = visitor.get(path).text
            assert "refund-bot" not in text, path
            assert "refactor-bot" not in text, path
            assert "user_123" not in text, path
        assert visitor.get(f"/decision?id={id}").status_code == 404
        assert "No outcomes yet" in visitor.get("/circuit?scope=category:tooling").text
        assert visitor.act("/decision/resolve", id=id, resolution="approve").status_code == 404


def headers_of(answer: httpx.Response) -> dict[str, str]:
    """The headers that protect whoever looks."""
    return {
        name: answer.headers.get(name, "")
        for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "cache-control")
    }


def test_every_answer_protects_whoever_looks(shared_fleet: Fleet) -> None:
    """Pages, refusals, redirects and files alike carry the headers; pages are not kept."""
    with Plain(shared_fleet.server.url) as visitor:
        before = [visitor.get("/"), visitor.get("/sign-in")]
        visitor.sign_in(shared_fleet.ops)
        answers = [*before, visitor.get("/"), visitor.get("/decision?id=none"), visitor.send("/circuit/reset", {})]
        asset = visitor.get("/static/style.css")
    for answer in answers:
        headers = headers_of(answer)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    assert headers_of(asset)["x-content-type-options"] == "nosniff"

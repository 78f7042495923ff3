"""A decision that waits says what for, and what becomes of it if nobody does anything; the buttons say what they do."""

from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.web.fleet import Fleet
from tests.web.plain import Plain

POLICY = """
agents: {assistant: {posture: assisted}, careful: {posture: human_decides}}
postures: {assisted_delay_ms: 600000}
trust: {domains: {"*": {damage_threshold: 1}}}
"""


@pytest.fixture
def waiting(start_server: StartServer, tmp_path: Path) -> Fleet:
    """A service in which decisions wait for each of the three."""
    path = tmp_path / "waiting.yaml"
    path.write_text(POLICY)
    server = start_server(database_url=f"sqlite:///{tmp_path / 'waiting.db'}", config=path)
    return Fleet(server, server.token("olivia", "ops"), server.token("ci", "ci"))


@pytest.mark.parametrize(
    ("agent", "says", "buttons", "stop", "status"),
    [
        ("careful", "waits for the approval of a person", ("Approve", "Deny"), "deny", "denied"),
        ("shopper", "waits for its user to confirm it", ("Approve for the user", "Deny"), "deny", "denied"),
        ("assistant", "goes on by itself as soon as the time is over", ("Let it go on now", "Cancel it"), "cancel", "cancelled"),
    ],
)
def test_what_waits_is_settled_in_the_words_of_its_kind(
    waiting: Fleet, agent: str, says: str, buttons: tuple[str, str], stop: str, status: str
) -> None:
    """To let it through and to stop it; the record has the same word for it."""
    waiting.damage("vera", "shop", "wrong_answer")
    user = {"user": {"id": "vera", "domain": "shop"}} if agent == "shopper" else {}
    id = waiting.check(agent, "Order more paper for the office", **user)["decisionId"]
    with Plain(waiting.server.url) as visitor:
        visitor.sign_in(waiting.server.token("anna", "ops"))
        page = visitor.get(f"/decision?id={id}").text
        assert says in page
        for button in buttons:
            assert f">{button}</button>" in page
        assert f'value="{stop}"' in page
        assert visitor.act("/decision/resolve", id=id, resolution=stop).status_code == 303
        assert f"Decision {status}" in visitor.get(f"/decision?id={id}").text
    decision = waiting.server.call("cstp.getDecision", {"id": id}, token=waiting.ops)["decision"]
    assert decision["status"] == status

"""What is known of a user's trust outlives the process that heard it, on either database."""

from tests.conftest import ROOT, StartServer


def test_trust_survives_the_death_of_the_service(start_server: StartServer, server_url: str) -> None:
    """Every acknowledged damage, the state, the confirmations that are waited for, and what was told already; nothing is counted again."""
    server = start_server(database_url=server_url, config=ROOT / "config")
    damage = {"userId": "u", "domain": "code", "damageType": "wrong_answer"}
    check = {"action": {"description": "Write it down", "type": "file_write"}, "user": {"id": "u", "domain": "code"}, "decisionId": "w-1"}
    for number in range(3):
        server.restart()
        assert server.call("cstp.recordDamage", {**damage, "id": f"d-{number}"})["damageScore"] == number + 1
    assert server.call("cstp.checkGuardrails", check)["pending"]["kind"] == "confirmation"
    before = server.call("cstp.getAutonomyLevel", {"userId": "u", "domain": "code"})
    server.restart()
    after = server.call("cstp.getAutonomyLevel", {"userId": "u", "domain": "code"})
    kept = ("state", "damageScore", "damageThreshold", "recentDamageCount")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["recoveryProgress"]["progress"] >= before["recoveryProgress"]["progress"]
    assert server.call("cstp.recordDamage", {**damage, "id": "d-1"})["duplicate"] is True
    assert server.call("cstp.resolveDecision", {"id": "w-1", "resolution": "confirm"})["allowed"] is True
    history = server.call("cstp.getCircuitHistory", {"scope": "user:u/code"})["transitions"]
    assert [(move["previousState"], move["state"]) for move in history] == [("closed", "open")]

"""A circuit's history: one entry a move, with its own cause, actor and reason (SPEC 5)."""

from tests.rpc.edge import Edge, check_params

COOLDOWN_MS = 1_800_000


def test_what_time_did_has_no_operators_reason(edge: Edge) -> None:
    """A reset that is the first to see that the cooldown has ended gives its reason for the reset alone."""
    for _ in range(2):
        id = edge.call("cstp.checkGuardrails", check_params(category="tooling"))["decisionId"]
        edge.call("cstp.reviewDecision", {"id": id, "outcome": "failure"})
    edge.clock.at += COOLDOWN_MS
    edge.call("cstp.resetCircuit", {"scope": "category:tooling", "reason": "fixed"})
    moves = edge.call("cstp.getCircuitHistory", {"scope": "category:tooling", "limit": 2})["transitions"]
    assert [(move["cause"], move["actor"], move["reason"]) for move in moves] == [
        ("reset", "anonymous", "fixed"),
        ("cooldown_elapsed", "system", None),
    ]

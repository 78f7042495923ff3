"""Forcing a circuit open (SPEC 5)."""

from dataclasses import replace

import pytest

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.findings import Mode
from cstp_server.policy.compiled import CircuitPolicies
from tests.rpc.edge import Edge, check_params
from tests.rpc.memory import POLICY

FORCED = "circuit `tag:x` is forced open: it stays open until it is reset"


@pytest.mark.parametrize(
    ("mode", "allowed", "message"),
    [
        (Mode.ENFORCE, False, FORCED),
        (Mode.SHADOW, True, f"{FORCED}; its mode is `shadow`, so that it refuses nothing"),
        (Mode.OFF, True, f"{FORCED}; its mode is `off`, so that it refuses nothing"),
    ],
)
def test_a_kill_switch_says_when_it_refuses_nothing(edge: Edge, mode: Mode, allowed: bool, message: str) -> None:
    """An operator in a hurry must not believe that a circuit in shadow mode stops anybody."""
    settings = CircuitSettings("x", "x", mode=mode)
    edge.store.policy = edge.policy.current = replace(POLICY, circuits=CircuitPolicies(exact={"tag:x": settings}))
    assert edge.call("cstp.tripCircuit", {"scope": "tag:x", "reason": "incident"})["message"] == message
    assert edge.call("cstp.checkGuardrails", check_params(tags=["x"]))["allowed"] is allowed

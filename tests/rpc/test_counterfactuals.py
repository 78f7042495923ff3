"""What is told beside a refusal: single changes that would turn it into an allow (SPEC 3)."""

from dataclasses import replace
from typing import Any

import pytest

from cstp_server.domain.findings import Intervention
from cstp_server.domain.guardrails import Guardrail
from cstp_server.policy.compiled import CircuitPolicies
from tests.rpc.edge import Edge
from tests.rpc.memory import POLICY


def _remedies(edge: Edge, requires: tuple[str, ...], **action: Any) -> Any:
    rule = Guardrail("rule", "", Intervention.BLOCK, "no", requires=requires)
    edge.store.policy = replace(POLICY, circuits=CircuitPolicies(), guardrails=(rule,), rule_groups=())
    answer = edge.call("cstp.checkGuardrails", {"action": {"description": "x", **action}})
    assert not answer["allowed"]
    return answer["remedies"]


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("action.context.reviewed", {}),
        ("action.context.review.completed", {}),
        ("action.context.review.completed", {"context": {"review": {"by": "ann", "completed": False}}}),
        ("action.parameters.checks.unit.green", {"parameters": {"checks": {"unit": None}}}),
    ],
)
def test_a_single_missing_field_is_a_remedy_at_any_depth(edge: Edge, path: str, action: dict[str, Any]) -> None:
    """Setting it is verified by evaluating again, with all else left as it is."""
    assert _remedies(edge, (path,), **action) == [{"change": "set", "field": path, "to": True}]


@pytest.mark.parametrize("requires", [("action.context.a", "action.context.b"), ("action.context.a.x", "action.context.a.y")])
def test_two_missing_fields_have_no_single_remedy(edge: Edge, requires: tuple[str, ...]) -> None:
    """A change that alone is not enough is not offered."""
    assert _remedies(edge, requires) == []


def test_the_missing_one_of_two_fields_is_a_remedy(edge: Edge) -> None:
    """What is there already stays."""
    remedies = _remedies(edge, ("action.context.a.x", "action.context.a.y"), context={"a": {"x": True}})
    assert remedies == [{"change": "set", "field": "action.context.a.y", "to": True}]

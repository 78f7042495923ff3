"""The answer to a check, as it is written (SPEC 3)."""

from dataclasses import fields, replace

import orjson
import pytest

from cstp_server.domain.decisions import Answer, Pending, Probe
from cstp_server.domain.findings import (
    CLEAN,
    CircuitDetail,
    ConstraintDetail,
    Finding,
    GuardType,
    Intervention,
    Mode,
    Remedy,
    TripwireDetail,
    Verdict,
)
from cstp_server.rpc.checking import CheckResult, written

_AT = 1_770_815_280_125
_ALLOWED = Answer("dec_1", CLEAN, "full_autonomy", 3, _AT, "sha256:test")
_CIRCUIT = Finding(
    "tooling",
    GuardType.CIRCUIT_BREAKER,
    Intervention.BLOCK,
    'open: "tooling" \u00e9\u2028\U0001f6a7 \x07',
    suggestion="wait",
    circuit=CircuitDetail("category:tooling", "open", 2 / 3, ("dec_7", "dec_8"), _AT + 1),
)
_TRIPWIRE = Finding(
    "drop",
    GuardType.TRIPWIRE,
    Intervention.DELAY,
    "drops a table",
    mode=Mode.SHADOW,
    tripwire=TripwireDetail("standard", notify=True, trust_impact=False),
)
_CONSTRAINT = Finding(
    "limits", GuardType.CONSTRAINT, Intervention.WARN, "costs 10", constraint=ConstraintDetail("cost_limit", 10.0, 1e300, float("inf"))
)
_REFUSED = replace(
    _ALLOWED,
    verdict=Verdict(Intervention.BLOCK, violations=(_CIRCUIT, _CIRCUIT), warnings=(_CONSTRAINT,), shadow=(_TRIPWIRE,)),
    probes=(Probe("category:tooling", _AT + 875),),
    pending=Pending("approval", _AT + 60_000),
    remedies=(Remedy("wait", until=_AT), Remedy("set", field="action.context.reviewed", to=True), Remedy("lower", "action.ctq", 0.25)),
)


@pytest.mark.parametrize("answer", [_ALLOWED, _REFUSED, replace(_REFUSED, evaluated_at=_AT - 125)])
def test_an_answer_is_written_as_its_model_writes_it(answer: Answer) -> None:
    """The same bytes, whether anything stands in its lists or not."""
    assert orjson.dumps(written(answer)) == CheckResult.of(answer).model_dump_json(by_alias=True).encode()


def test_the_refused_answer_of_these_tests_leaves_nothing_out() -> None:
    """Every field of it has something in it, so that none can be written in another way unnoticed."""
    assert all(getattr(_REFUSED, field.name) for field in fields(_REFUSED))

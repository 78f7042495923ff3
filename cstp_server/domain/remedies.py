"""The counterfactual: which single change would turn a refusal into an allow, each one verified (SPEC 3)."""

from collections.abc import Callable, Iterable

from cstp_server.domain.decisions import Remedy
from cstp_server.domain.findings import Verdict

Trial = Callable[[Remedy], bool]
"""Whether the decision would be allowed if this change were made."""


def find_remedies(verdict: Verdict, allows: Trial) -> tuple[Remedy, ...]:
    """Those among the changes that the findings suggest which alone are enough."""
    return tuple(remedy for remedy in _candidates(verdict) if allows(remedy))


def _candidates(verdict: Verdict) -> Iterable[Remedy]:
    waits = [finding.circuit.free_at for finding in verdict.violations if finding.circuit is not None]
    if waits and None not in waits:
        yield Remedy("wait", until=max(until for until in waits if until is not None))
    fields = dict.fromkeys(path for finding in verdict.violations for path in finding.requires)
    yield from (Remedy("set", field=path, to=True) for path in fields)

"""The counterfactual: which single change would turn a refusal into an allow, each one verified (SPEC 3)."""

from collections.abc import Callable, Iterable

from cstp_server.domain.findings import Finding, Lift, Remedy, Verdict

Trial = Callable[[Remedy], bool]
"""Whether the decision would be allowed if this change were made."""
_LIFTING = {Lift.APPROVAL: Remedy("approval"), Lift.CONFIRMATION: Remedy("confirm")}


def find_remedies(verdict: Verdict, allows: Trial) -> tuple[Remedy, ...]:
    """Those among the changes that the findings suggest which alone are enough; and what lifts them, where something lifts them all."""
    lifting = _LIFTING.get(verdict.lift) if verdict.lift is not None else None
    found = tuple(remedy for remedy in _candidates(verdict) if allows(remedy))
    return (*found, lifting) if lifting is not None else found


def _candidates(verdict: Verdict) -> Iterable[Remedy]:
    waits = [_wait(finding) for finding in verdict.violations]
    if waits and None not in waits:
        yield Remedy("wait", until=max(until for until in waits if until is not None))
    changes = (change for finding in verdict.violations for change in finding.changes if change.field is not None)
    yield from dict.fromkeys(changes)
    fields = dict.fromkeys(path for finding in verdict.violations for path in finding.requires)
    yield from (Remedy("set", field=path, to=True) for path in fields)


def _wait(finding: Finding) -> int | None:
    return next((change.until for change in finding.changes if change.change == "wait"), None)

"""Static rules: where `when` holds, what `requires` names must be true, else the rule's action (SPEC 6)."""

from collections.abc import Iterable, Mapping
from typing import Any

from cstp_server.domain.expressions import EvaluationFailed, Predicate, Subject
from cstp_server.domain.findings import Finding, GuardType, Intervention, Mode
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One rule. `requires` are paths below the subject, such as `action.context.codeReviewCompleted`."""

    id: str
    description: str
    action: Intervention
    message: str
    suggestion: str | None = None
    when: Predicate | None = None
    requires: tuple[str, ...] = ()
    mode: Mode = Mode.ENFORCE

    def check(self, subject: Subject) -> Finding | None:
        """The rule's finding, if it has one.

        A condition that cannot be evaluated counts as matched and the finding says so: fail closed. A required field that is
        missing, or anything but `true`, is a violation.
        """
        matched = self.when(subject) if self.when is not None else True
        if matched is False or self.action is Intervention.ALLOW:
            return None
        missing = tuple(path for path in self.requires if _value_at(subject.data, path) is not True)
        if self.requires and not missing:
            return None
        return Finding(
            guardrail=self.id,
            type=GuardType.GUARDRAIL,
            intervention=self.action,
            message=self._message(matched),
            mode=self.mode,
            suggestion=self.suggestion or _suggestion(missing),
            requires=missing,
        )

    def _message(self, matched: bool | EvaluationFailed) -> str:
        if not isinstance(matched, EvaluationFailed) or self.when is None:
            return self.message
        return f"{self.message} (its condition `{self.when.source}` could not be evaluated and counts as matched: {matched.reason})"


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules with one condition before them all: where `screen` is false, none of them has a finding, and none need be looked at."""

    rules: tuple[Guardrail, ...]
    screen: Predicate | None = None

    def check(self, subject: Subject) -> Iterable[Finding]:
        """The findings of the rules, in their order."""
        if self.screen is not None and self.screen(subject) is False:
            return ()
        return [finding for rule in self.rules if (finding := rule.check(subject)) is not None]


def _suggestion(missing: tuple[str, ...]) -> str | None:
    return f"make sure that {' and '.join(f'`{path}` is true' for path in missing)}" if missing else None


def _value_at(data: Mapping[str, Any], path: str) -> Any:
    value: Any = data
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value

"""Which models an agent may use."""

from collections.abc import Mapping, Sequence
from typing import Any

from cstp_server.domain.constraints import CheckResult

_KEY = "model"


class ModelAccessDimension:
    """Restricts which AI models an agent can use. A constraint is a set of names, compared without case."""

    name = "model_access"
    version = "1.0.0"
    description = "Allowed AI models for agent"

    def parse(self, value: Any) -> frozenset[str]:
        """The names: a text, or a list of them. An empty list allows no model."""
        models = [value] if isinstance(value, str) else value
        if not isinstance(models, list | tuple) or not all(isinstance(model, str) and model.strip() for model in models):
            raise ValueError(f"Model access must be string or list: {value}")
        return frozenset(_folded(model) for model in models)

    def check(self, constraint: frozenset[str], context: Mapping[str, Any]) -> CheckResult:
        """Whether the requested model is one of them; null says that no model is used, and leaving it out says nothing."""
        if _KEY not in context:
            return CheckResult(satisfied=False, reason=f"the context lacks `{_KEY}`", missing=_KEY)
        requested = context[_KEY]
        if requested is None:
            return CheckResult(satisfied=True, reason="no model requested")
        if not isinstance(requested, str) or not requested.strip():
            return CheckResult(satisfied=False, reason=f"`{_KEY}` must be the name of a model")
        if _folded(requested) in constraint:
            return CheckResult(satisfied=True, reason=f"model '{_folded(requested)}' is allowed")
        return CheckResult(satisfied=False, reason=f"model '{_folded(requested)}' not in allowed list: {sorted(constraint)}")

    def tightens(self, parent: frozenset[str], child: frozenset[str]) -> bool:
        """No model that the parent does not have."""
        return child <= parent

    def compose(self, constraints: Sequence[frozenset[str]]) -> frozenset[str]:
        """The models that all of them have."""
        return frozenset.intersection(*constraints)


def _folded(model: str) -> str:
    return model.strip().casefold()

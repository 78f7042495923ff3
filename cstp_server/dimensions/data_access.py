"""`data_access`: what kinds of data an agent may touch (SPEC 9)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cstp_server.dimensions.contexts import ABSENT, CONTAINS_PII, DATA_CLASSIFICATION, missing
from cstp_server.dimensions.mappings import check_keys, mode_of, texts_of
from cstp_server.domain.constraints import CheckResult
from cstp_server.domain.facts import fold_name

NO_PII = "no_pii"
INTERNAL_ONLY = "internal_only"
ALLOW_ALL = "allow_all"
MODES = (NO_PII, INTERNAL_ONLY, ALLOW_ALL)
INTERNAL = frozenset({"internal", "confidential", "restricted"})
"""The classifications of data that is not meant for others; every other one, also one that is not known, is external."""
_MODE = "mode"
_ALLOWED = "allowed_classifications"


class DataAccess(NamedTuple):
    """Whether personal data is out of bounds, and which classifications are within, folded; none: all."""

    no_pii: bool
    allowed: frozenset[str] | None


class DataAccessDimension:
    """Personal data, and classifications of data."""

    name = "data_access"
    version = "1"
    description = "what data may be touched: `no_pii`, `internal_only`, `allow_all`, also with `allowed_classifications`"

    def parse(self, value: Any) -> DataAccess:
        """A mode, or a mapping of `mode` and `allowed_classifications`; what the mode refuses, the list does not allow."""
        if not isinstance(value, Mapping):
            return self._of(mode_of(value, MODES), None)
        check_keys(value, (_MODE, _ALLOWED))
        listed = frozenset(map(fold_name, texts_of(value, _ALLOWED))) if _ALLOWED in value else None
        return self._of(mode_of(value.get(_MODE), MODES, _MODE), listed)

    def check(self, constraint: DataAccess, context: Mapping[str, Any]) -> CheckResult:
        """What the context says of the data. Null says that there is none of the kind."""
        pii = context.get(CONTAINS_PII, ABSENT) if constraint.no_pii else None
        classification = context.get(DATA_CLASSIFICATION, ABSENT) if constraint.allowed is not None else None
        refusal = _about_pii(pii) or _about_classification(classification, constraint.allowed)
        if refusal is not None:
            return CheckResult(satisfied=False, reason=refusal)
        if pii is ABSENT:
            return missing(CONTAINS_PII)
        if classification is ABSENT:
            return missing(DATA_CLASSIFICATION)
        return CheckResult(satisfied=True, reason="the data may be touched")

    def tightens(self, parent: DataAccess, child: DataAccess) -> bool:
        """Personal data stays out of bounds, and no classification is added."""
        if parent.no_pii and not child.no_pii:
            return False
        return parent.allowed is None or (child.allowed is not None and child.allowed <= parent.allowed)

    def compose(self, constraints: Sequence[DataAccess]) -> DataAccess:
        """What all allow."""
        listed = [constraint.allowed for constraint in constraints if constraint.allowed is not None]
        allowed = frozenset.intersection(*listed) if listed else None
        return DataAccess(any(constraint.no_pii for constraint in constraints), allowed)

    def _of(self, mode: str, listed: frozenset[str] | None) -> DataAccess:
        allowed = listed
        if mode == INTERNAL_ONLY:
            allowed = INTERNAL & listed if listed is not None else INTERNAL
        return DataAccess(mode == NO_PII, allowed)


def _about_pii(pii: object) -> str | None:
    if pii is True:
        return "personal data must not be touched"
    return None if pii is ABSENT or pii is None or pii is False else f"`{CONTAINS_PII}` must be true or false"


def _about_classification(classification: object, allowed: frozenset[str] | None) -> str | None:
    if allowed is None or classification is ABSENT or classification is None:
        return None
    if not isinstance(classification, str):
        return f"`{DATA_CLASSIFICATION}` must be a text"
    if fold_name(classification) in allowed:
        return None
    listed = ", ".join(f"`{name}`" for name in sorted(allowed)) or "none"
    return f"data of this classification must not be touched: allowed is {listed}"

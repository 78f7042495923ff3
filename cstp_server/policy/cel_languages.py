"""What conditions may speak of: the variables of each kind, their fields, and what is special about them."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # the wheel carries stubs without a marker
from cel_expr_python.ext import ext_optional  # type: ignore[import-untyped]

from cstp_server.domain.postures import POSTURES, TransitionType
from cstp_server.domain.values import dataclass

Field = tuple[str, str]
"""A variable and one of its fields."""


@dataclass(frozen=True, slots=True)
class Language:
    """The variables of a kind of conditions.

    `fields` are those of the variables that have no others, and `values` those of the fields that take no others, so that a typo is an
    error when the policy is read. `environment` is immutable, and may be used by several threads at once.
    """

    variables: tuple[str, ...]
    fields: Mapping[str, frozenset[str]]
    values: Mapping[Field, frozenset[str]] = field(default_factory=dict)
    environment: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        variables = dict.fromkeys(self.variables, cel.Type.DYN)
        object.__setattr__(self, "environment", cel.NewEnv(variables=variables, extensions=[ext_optional.ExtOptional()]))


ACTIONS = Language(
    variables=("action", "agent", "user", "posture", "trust"),
    fields={
        "action": frozenset({"description", "type", "category", "stakes", "confidence", "ctq", "tags", "parameters", "context"}),
        "agent": frozenset({"id", "acl_tier"}),
        "user": frozenset({"id", "domain"}),
    },
)
"""Of rules, tripwires and classification: what an agent wants to do."""
_POSTURES = frozenset(POSTURES)
_REQUEST = frozenset({"from_posture", "to_posture", "from_level", "to_level", "transition_type", "requester", "reason"})
TRANSITIONS = Language(
    variables=("request", "metadata", "agent", "trust"),
    fields={"request": _REQUEST, "agent": frozenset({"id", "acl_tier"}), "trust": frozenset({"score", "reviewed"})},
    values={
        ("request", "from_posture"): _POSTURES,
        ("request", "to_posture"): _POSTURES,
        ("request", "transition_type"): frozenset(TransitionType),
    },
)
"""Of the guards of postures: a transition that somebody asks for (SPEC 8)."""

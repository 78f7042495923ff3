"""`trust` in the policy: the trust between users and the AI (SPEC 10 and 12)."""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cstp_server.domain.damage import DEFAULT_DAMAGE_WEIGHTS, MICRO, DamageType
from cstp_server.domain.findings import Mode
from cstp_server.policy.fields import Distinct, FieldErrors, FoldedName, Path, Section, nearest, shown

EVERY_DOMAIN = "*"
"""The domain that stands for all: what it is given are the others' defaults."""
HIGH_IMPACT_ACTIONS = (
    "file_write",
    "file_delete",
    "git_commit",
    "git_push",
    "external_api_call",
    "code_execution",
    "database_write",
)
PRESETS: Mapping[str, Mapping[str, float]] = {
    "default": {
        "damage_threshold": 3,
        "damage_window_hours": 24,
        "recovery_period_hours": 24,
        "supervised_successes_required": 5,
        "half_open_tolerance": 1,
    },
    "strict": {
        "damage_threshold": 2,
        "damage_window_hours": 24,
        "recovery_period_hours": 48,
        "supervised_successes_required": 10,
        "half_open_tolerance": 1,
    },
}
_LONGEST_HOURS = 10 * 365 * 24
_LARGEST_WEIGHT = 1000
_SHORTEST_HOURS = 2 / 3_600_000


def _preset(value: object) -> object:
    if isinstance(value, str) and value in PRESETS:
        return value
    hint = nearest(value, PRESETS) if isinstance(value, str) else ""
    raise ValueError(f"must be {' or '.join(f'`{name}`' for name in PRESETS)}, not {shown(value)}{hint}")


def _damage_weights(weights: dict[str, float]) -> dict[str, float]:
    errors: dict[str | Path, str] = {
        name: f"is no type of damage{nearest(name, DamageType) or ': use ' + ', '.join(f'`{known}`' for known in DamageType)}"
        for name in weights
        if name not in DamageType.__members__.values()
    }
    if errors:
        raise FieldErrors(errors)
    return weights


Hours: TypeAlias = Annotated[float, Field(ge=_SHORTEST_HOURS, le=_LONGEST_HOURS)]
DamageWeights: TypeAlias = Annotated[dict[str, Annotated[float, Field(ge=0, le=_LARGEST_WEIGHT)]], AfterValidator(_damage_weights)]
Actions: TypeAlias = Annotated[list[FoldedName], Distinct]


class TrustDomainModel(Section):
    """Trust in one domain. A key that is not given is that of the preset, where one is named, else that of `"*"`."""

    preset: Annotated[str, BeforeValidator(_preset)] | None = Field(
        None, description="`default` (threshold 3, recovery 24 h, 5 successes) or `strict` (2, 48 h, 10); keys given here override it"
    )
    damage_threshold: float | None = Field(
        None, ge=1 / MICRO, le=_LARGEST_WEIGHT**2, description="weighted damage that reduces trust; default 3"
    )
    damage_window_hours: Hours | None = Field(
        None, description="how long damage counts, in hours: whole for the first half, then less and less; default 24"
    )
    recovery_period_hours: Hours | None = Field(
        None, description="how long trust stays reduced before it is under test, in hours; default 24"
    )
    supervised_successes_required: int | None = Field(
        None, ge=1, le=1_000_000, description="successes under test that restore trust; default 5"
    )
    half_open_tolerance: float | None = Field(
        None, ge=0, le=_LARGEST_WEIGHT**2, description="weighted damage that is borne under test before trust is reduced again; default 1"
    )
    severity_weights: DamageWeights = Field(
        default_factory=dict, description="what damage of each type weighs in this domain; those not named weigh what they do everywhere"
    )
    high_impact_actions: Actions | None = Field(
        None, description="the types of action that want a confirmation under test; default those of all domains"
    )


class TrustModel(Section):
    """Trust between users and the AI, for each user and domain of its own."""

    mode: Annotated[Mode, Field(strict=False)] = Field(
        Mode.ENFORCE,
        description="`enforce`, also where the policy says nothing of trust; `shadow` (does all but ask for confirmations) or `off`",
    )
    domains: dict[str, TrustDomainModel] = Field(
        default_factory=dict, description='what holds in single domains, named exactly as callers name them, and under `"*"` in all others'
    )
    severity_weights: DamageWeights = Field(
        default_factory=dict,
        description="what damage of each type weighs: "
        + ", ".join(f"`{kind}` {DEFAULT_DAMAGE_WEIGHTS[kind] / MICRO:g}" for kind in DamageType)
        + "; those not named keep their default",
    )
    high_impact_actions: Actions = Field(
        list(HIGH_IMPACT_ACTIONS), description="the types of action that want the user's confirmation while trust is under test"
    )
    notify: bool = Field(default=True, description="whether its changes raise alerts")

    @model_validator(mode="after")
    def _domains_are_named(self) -> "TrustModel":
        errors: dict[str | Path, str] = {
            ("domains", name): "a domain is a text without `/`, and not empty" for name in self.domains if not name or "/" in name
        }
        if errors:
            raise FieldErrors(errors)
        return self

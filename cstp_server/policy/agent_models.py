"""`agents` and `quality` in the policy (SPEC 7, 8 and 12)."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from cstp_server.domain.findings import Intervention, Mode
from cstp_server.policy.constraint_models import Bounds
from cstp_server.policy.fields import Section, shown
from cstp_server.policy.posture_models import PostureName
from cstp_server.policy.tripwire_models import TripwiresModel

EVERY_AGENT = "*"
"""The agent that stands for all: what it is given are the others' defaults."""
_HIGHEST_TIER = 9
_TIER = re.compile(r"(?:acl[-_ ]?)?([0-9])", re.IGNORECASE)


def _acl_tier(value: object) -> int:
    found = _TIER.fullmatch(value.strip()) if isinstance(value, str) else None
    tier = int(found.group(1)) if found is not None else value
    if isinstance(tier, bool) or not isinstance(tier, int) or not 0 <= tier <= _HIGHEST_TIER:
        raise ValueError(f"must be a whole number from 0 to {_HIGHEST_TIER}, or a text such as `ACL-2`, not {shown(value)}")
    return tier


_TIER_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": _HIGHEST_TIER},
        {"type": "string", "pattern": r"^\s*([Aa][Cc][Ll][-_ ]?)?[0-9]\s*$"},
    ]
}
AclTier = Annotated[int, PlainValidator(_acl_tier), WithJsonSchema(_TIER_SCHEMA)]
QualityActionName: TypeAlias = Literal["warn", "escalate"]


class AgentModel(Section):
    """What holds for one agent, or under `"*"` for every agent that does not say otherwise."""

    posture: PostureName | None = Field(
        None, description="how much it may do by itself before anybody moves it; default that of `*`, or `supervised`"
    )
    acl_tier: AclTier | None = Field(
        None,
        description="the agent's tier, from 0 to 9, also as `ACL-2`: up to 2 a person may let a single action past a standard tripwire, "
        "from 3 on a critical one halts the agent; default that of `*`, or 2",
    )
    tripwires: TripwiresModel | None = Field(
        None, description="limits of its own, in the same forms; one with the name of a limit for all may only tighten it"
    )
    constraints: Bounds | None = Field(
        None,
        description="bounds of its own, by dimension; under `*`, for the agents that have none for that dimension. The most restrictive of "
        "these, those for all and those of the category hold",
    )


class QualityModel(Section):
    """The quality of an agent's reasoning, as it gives it in `action.ctq`."""

    min_ctq: float = Field(ge=0, le=1, description="the least `action.ctq`, from 0 to 1; an action that gives none is below it")
    action: QualityActionName = Field("warn", description="what follows where it is less: `warn`, or `escalate` to ask for an approval")
    mode: Annotated[Mode, Field(strict=False)] = Field(Mode.ENFORCE, description="`enforce`, `shadow` (reported, without effect) or `off`")

    @property
    def intervention(self) -> Intervention:
        """The action as an intervention."""
        return Intervention[self.action.upper()]

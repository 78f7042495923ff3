"""The JSON Schema of the policy, for editors (`cstp policy schema`)."""

import re
from typing import Any

from cstp_server.policy.agent_models import AgentModel
from cstp_server.policy.built_in import BUILT_IN
from cstp_server.policy.constraint_models import ConstraintsModel
from cstp_server.policy.constraint_schema import bounds_schema
from cstp_server.policy.fields import FLAT_VALUE_SCHEMA
from cstp_server.policy.guardrail_models import CONDITION_FIELDS, CONDITION_PREFIX, REQUIRES_FIELDS, REQUIRES_PREFIX, GuardrailModel
from cstp_server.policy.models import PolicyModel
from cstp_server.policy.short_form import FORMS, Number
from cstp_server.policy.tripwire_models import BOUND_SCHEMA, KINDS, TripwireModel, TripwiresModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BOUNDS = {Number.ANY: BOUND_SCHEMA, Number.WHOLE: {"type": "integer", "minimum": 0}, Number.SHARE: {**BOUND_SCHEMA, "maximum": 1}}
_NAMED_GROUP = re.compile(r"\(\?P<\w+>")


def policy_schema() -> dict[str, Any]:
    """A schema of draft 2020-12 that accepts what the loader accepts, but for names given twice, expressions and time zones."""
    schema = PolicyModel.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    _open_flat_fields(definitions[GuardrailModel.__name__])
    _want_one_kind(definitions[TripwireModel.__name__])
    _name_dimensions(definitions)
    definitions[TripwiresModel.__name__] = _all_forms(definitions[TripwiresModel.__name__])
    return {"$schema": DIALECT, **schema, "title": "cstp policy"}


def _open_flat_fields(rule: dict[str, Any]) -> None:
    """Say of the flat fields' names what they begin with."""
    patterns = {}
    for gathered, prefix in ((CONDITION_FIELDS, CONDITION_PREFIX), (REQUIRES_FIELDS, REQUIRES_PREFIX)):
        field = rule["properties"].pop(gathered)
        patterns[f"^{prefix}.+"] = {**FLAT_VALUE_SCHEMA, "description": field["description"]}
    rule["patternProperties"] = patterns


def _want_one_kind(rule: dict[str, Any]) -> None:
    """Say of a tripwire that it has one kind of limit, or is a built-in one."""
    rule["oneOf"] = [*({"required": [kind]} for kind in KINDS), {"properties": {"name": {"enum": list(BUILT_IN)}}}]


def _name_dimensions(definitions: dict[str, Any]) -> None:
    """Say of bounds what each dimension takes; those of installed packages are known by name."""
    definitions["Bounds"] = bounds_schema()
    bounds = {"$ref": "#/$defs/Bounds"}
    of_all = definitions[ConstraintsModel.__name__]["properties"]
    of_all["global"] = {**bounds, "description": of_all["global"]["description"]}
    of_all["categories"]["additionalProperties"] = bounds
    of_agent = definitions[AgentModel.__name__]["properties"]
    of_agent["constraints"] = {**bounds, "description": of_agent["constraints"]["description"]}


def _all_forms(tripwires: dict[str, Any]) -> dict[str, Any]:
    """Limits alone, rules alone, or both under their keys."""
    limits = {
        "type": "object",
        "description": tripwires["properties"]["limits"]["description"],
        "patternProperties": {
            f"^(?:{_NAMED_GROUP.sub('(?:', form.pattern.pattern)})$": {
                **_BOUNDS[form.number],
                "description": f"{form.bounds}: {form.applies}",
            }
            for form in FORMS
        },
        "additionalProperties": False,
    }
    both = {**tripwires, "properties": {**tripwires["properties"], "limits": limits}}
    return {"title": tripwires["title"], "anyOf": [limits, tripwires["properties"]["rules"], both]}

"""The JSON Schema of the policy, for editors (`cstp policy schema`)."""

from typing import Any

from cstp_server.policy.fields import FLAT_VALUE_SCHEMA
from cstp_server.policy.guardrail_models import CONDITION_FIELDS, CONDITION_PREFIX, REQUIRES_FIELDS, REQUIRES_PREFIX, GuardrailModel
from cstp_server.policy.models import PolicyModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """A schema of draft 2020-12 that accepts what the loader accepts, but for names given twice, CEL and time zones."""
    schema = PolicyModel.model_json_schema(by_alias=True)
    _open_flat_fields(schema["$defs"][GuardrailModel.__name__])
    return {"$schema": DIALECT, **schema, "title": "cstp policy"}


def _open_flat_fields(rule: dict[str, Any]) -> None:
    """Say of the flat fields' names what they begin with."""
    patterns = {}
    for gathered, prefix in ((CONDITION_FIELDS, CONDITION_PREFIX), (REQUIRES_FIELDS, REQUIRES_PREFIX)):
        field = rule["properties"].pop(gathered)
        patterns[f"^{prefix}.+"] = {**FLAT_VALUE_SCHEMA, "description": field["description"]}
    rule["patternProperties"] = patterns

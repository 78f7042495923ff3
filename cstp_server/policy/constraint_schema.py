"""The JSON Schema of bounds (`cstp policy schema`)."""

from typing import Any

from cstp_server.dimensions.communication import ALLOWED_DOMAINS, INTERNAL_ONLY, NONE
from cstp_server.dimensions.data_access import MODES
from cstp_server.dimensions.installed import known_dimensions
from cstp_server.dimensions.rate_limit import PERIODS_MS

_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}}
_CENTS = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]{1,30}(\.[0-9]{1,30})?$"}]}
_RATE = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": rf"^[0-9]{{1,30}}(\.0{{1,30}}|/({'|'.join(PERIODS_MS)}))?$"},
    ]
}
_DATA = {
    "anyOf": [
        {"enum": list(MODES)},
        {
            "type": "object",
            "properties": {"mode": {"enum": list(MODES)}, "allowed_classifications": _TEXTS},
            "required": ["mode"],
            "additionalProperties": False,
        },
    ]
}
_HOSTS = {
    "anyOf": [
        {"enum": [NONE, INTERNAL_ONLY]},
        {"type": "object", "properties": {"mode": {"enum": [NONE, INTERNAL_ONLY]}}, "required": ["mode"], "additionalProperties": False},
        {
            "type": "object",
            "properties": {"mode": {"const": ALLOWED_DOMAINS}, "allowed_domains": _TEXTS},
            "required": ["mode", "allowed_domains"],
            "additionalProperties": False,
        },
    ]
}
_VALUES: dict[str, dict[str, Any]] = {
    "cost_limit": _CENTS,
    "time_window": {"type": "string", "pattern": f"^{_CLOCK}-{_CLOCK}$"},
    "resources": {"anyOf": [{"type": "string", "minLength": 1}, _TEXTS]},
    "rate_limit": _RATE,
    "data_access": _DATA,
    "communication": _HOSTS,
}


def bounds_schema() -> dict[str, Any]:
    """What each dimension takes; what those of installed packages take, they alone know."""
    properties = {name: {**_VALUES.get(name, {}), "description": dimension.description} for name, dimension in known_dimensions().items()}
    return {"title": "Bounds", "type": "object", "properties": properties, "additionalProperties": False}

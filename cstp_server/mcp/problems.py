"""What is wrong with arguments, in the names that the tool has: its method knows more than models are shown."""

from collections.abc import Mapping
from typing import Any

from cstp_server.mcp.ports import JsonObject

_ALL_NAMES = "is unknown: there are "


def as_offered(error: Mapping[str, Any], schema: JsonObject) -> tuple[str, Mapping[str, Any]]:
    """The message and the data of a method's error, for those who see the schema of the tool alone.

    >>> schema = {"properties": {"action": {"properties": {"description": {}, "parameters": {}}}}}
    >>> problem = {"field": "action.amount", "message": "is unknown: there are `trace`, `description`, `parameters`"}
    >>> error = {"message": f"invalid params: `action.amount` {problem['message']}", "data": {"problems": [problem]}}
    >>> as_offered(error, schema)[0]
    'invalid params: `action.amount` is unknown: there are `description`, `parameters`'
    """
    message, data = error["message"], error.get("data") or {}
    problems = data.get("problems")
    if not problems:
        return message, data
    offered = [{**problem, "message": _offered(problem, schema)} for problem in problems]
    return message.replace(problems[0]["message"], offered[0]["message"]), {**data, "problems": offered}


def _offered(problem: Mapping[str, str], schema: JsonObject) -> str:
    """The message of a problem; a list of all names that there are becomes one of those in the schema."""
    names = _names_beside(problem["field"], schema) if problem["message"].startswith(_ALL_NAMES) else ()
    return _ALL_NAMES + ", ".join(f"`{name}`" for name in names) if names else problem["message"]


def _names_beside(field: str, schema: JsonObject) -> tuple[str, ...]:
    for part in field.split(".")[:-1]:
        schema = schema.get("properties", {}).get(part, {})
    return tuple(schema.get("properties", ()))

"""JSON Schemas as models read them best, from those of the methods: one object without references, only what is of use, each documented."""

from collections.abc import Mapping
from typing import Any

from cstp_server.mcp.ports import JsonObject
from cstp_server.mcp.tools import Tool

_REFERENCE = "#/$defs/"
_NEXT = {"type": "string", "description": "what to do now"}


def input_schema(tool: Tool, params: JsonObject) -> JsonObject:
    """What the tool takes. Raises `LookupError` when the tool documents or hides a param that its method does not have."""
    definitions = params.get("$defs", {})
    left = set(tool.params) | set(tool.hidden)
    schema = _plain(params, definitions, tool, "", left)
    if left:
        raise LookupError(f"`{tool.method}` has no {', '.join(f'`{path}`' for path in sorted(left))}")
    schema.pop("description", None)
    return schema


def output_schema(tool: Tool, result: JsonObject) -> JsonObject:
    """What the tool answers: the method's result, and what to do next where it says so."""
    schema: JsonObject = _open(result)
    if tool.next:
        schema["properties"] = {"next": _NEXT, **schema["properties"]}
        schema["required"] = ["next", *schema.get("required", ())]
    return schema


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any], tool: Tool, path: str, left: set[str]) -> JsonObject:
    """The schema at a path, with references filled in, and without titles, patterns and the nulls of what may be left out."""
    kept = dict(schema)
    choices = [choice for choice in kept.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        kept = {**{name: value for name, value in kept.items() if name not in ("anyOf", "default")}, **choices[0]}
    if "$ref" in kept:
        kept = {**definitions[kept.pop("$ref").removeprefix(_REFERENCE)], **kept}
    for unread in ("title", "$defs", "pattern"):
        kept.pop(unread, None)
    if "properties" in kept:
        kept["properties"] = {
            name: _plain(inner, definitions, tool, inner_path, left)
            for name, inner in kept["properties"].items()
            if not _hides(tool, inner_path := f"{path}.{name}" if path else name, left)
        }
    if "items" in kept:
        kept["items"] = _plain(kept["items"], definitions, tool, f"{path}[]", left)
    if path in tool.params:
        kept["description"] = tool.params[path]
        left.discard(path)
    return kept


def _hides(tool: Tool, path: str, left: set[str]) -> bool:
    if path not in tool.hidden:
        return False
    left.discard(path)
    return True


def _open(schema: Any) -> Any:
    """The schema without titles, and open to fields that come later: clients keep schemas, and check what they are answered."""
    if isinstance(schema, list):
        return [_open(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" not in schema:
        return {name: _open(value) for name, value in schema.items() if name not in ("title", "default")}
    inner = {name: {key: _open(value) for key, value in schema[name].items()} for name in ("properties", "$defs") if name in schema}
    return {name: value for name, value in schema.items() if name not in ("title", "additionalProperties")} | inner

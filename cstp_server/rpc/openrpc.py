"""The OpenRPC document, from the same models that validate the calls (SPEC 2)."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, RootModel
from pydantic.json_schema import models_json_schema

from cstp_server import __doc__ as description
from cstp_server import __version__
from cstp_server.rpc.errors import MEANINGS, Code
from cstp_server.rpc.method import AnyMethod
from cstp_server.rpc.wire import JsonObject, Params

OPENRPC = "1.3.2"
_SCHEMAS = "#/components/schemas/"


class DiscoverParams(Params):
    """The description of this service; takes no params."""


class DiscoverResult(RootModel[JsonObject]):
    """An OpenRPC document."""


def document(methods: tuple[AnyMethod, ...]) -> JsonObject:
    """The description of these methods."""
    schemas = _schemas(methods)
    return {
        "openrpc": OPENRPC,
        "info": {"title": "CSTP", "version": __version__, "description": description, "license": {"name": "Apache-2.0"}},
        "servers": [{"name": "this service", "url": "/cstp"}],
        "methods": [_method(method, schemas) for method in methods],
        "components": {"schemas": schemas, "errors": {error_name(code): _error(code) for code in Code}},
    }


def error_name(code: Code) -> str:
    """The name of an error among the components: `CircuitNotFound`."""
    return "".join(word.capitalize() for word in code.name.split("_"))


def schema_of(model: type[BaseModel], schemas: JsonObject) -> JsonObject:
    """The schema of a params or result model in the document."""
    schema: JsonObject = schemas[model.__name__]
    return schema


def _schemas(methods: Sequence[AnyMethod]) -> JsonObject:
    inputs: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    for method in methods:
        inputs.append((method.params, "validation"))
        inputs.append((method.result, "serialization"))
    _, definitions = models_json_schema(inputs, by_alias=True, ref_template=_SCHEMAS + "{model}")
    schemas: JsonObject = definitions["$defs"]
    return schemas


def _method(method: AnyMethod, schemas: JsonObject) -> JsonObject:
    return {
        "name": method.name,
        "summary": method.summary,
        "description": f"takes one of the roles {', '.join(f'`{role.value}`' for role in method.roles)}",
        "paramStructure": "by-name",
        "params": _params(schema_of(method.params, schemas)),
        "result": {"name": "result", "schema": {"$ref": _SCHEMAS + method.result.__name__}},
        "errors": [{"$ref": f"#/components/errors/{error_name(code)}"} for code in method.errors],
        "examples": [_example(method)],
    }


def _params(schema: JsonObject) -> list[JsonObject]:
    required = schema.get("required", ())
    return [_param(name, inner, name in required) for name, inner in schema.get("properties", {}).items()]


def _param(name: str, schema: JsonObject, required: bool) -> JsonObject:
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, **described, "required": required, "schema": schema}


def _example(method: AnyMethod) -> JsonObject:
    example = method.example
    return {
        "name": method.name.partition(".")[2],
        "params": [{"name": name, "value": value} for name, value in example.params.items()],
        "result": {"name": "result", "value": example.result},
    }


def _error(code: Code) -> dict[str, Any]:
    return {"code": int(code), "message": MEANINGS[code]}

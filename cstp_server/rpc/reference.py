"""The reference of the RPC interface, from the table of methods: `python -m cstp_server.rpc.reference > docs/rpc.md`."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from cstp_server.rpc.errors import MEANINGS, Code, Failure, status_of
from cstp_server.rpc.method import AnyMethod
from cstp_server.rpc.methods import METHODS
from cstp_server.rpc.openrpc import document, error_name, schema_of
from cstp_server.rpc.wire import JsonObject

_HEAD = """# The RPC interface

`POST /cstp` takes JSON-RPC 2.0: single calls, batches of at most 100 (carried out in order, each seeing the effects of those before
it), and notifications, which are carried out and answered with HTTP 204.

* Params are given by name, in camelCase; snake_case is taken too. Unknown names are refused, except below `action.context`,
  `action.parameters`, a transition's `metadata`, and constraints and their `context`. A null for an optional param is as if it were left
  out.
* Times are RFC 3339 in UTC with `Z`; durations are integers in milliseconds, in fields named `…Ms` (`durationMs` has fractions).
* A token goes into the header `Authorization: Bearer <token>`. While no token is configured, calls from the same machine need none.
* `rpc.discover` returns this reference as an OpenRPC document.

```sh
curl http://127.0.0.1:8787/cstp -H 'Authorization: Bearer …' -H 'Content-Type: application/json' \\
  -d '{"jsonrpc": "2.0", "id": 1, "method": "cstp.getCircuitState", "params": {"scope": "category:tooling"}}'
```
"""


def reference(methods: tuple[AnyMethod, ...] = METHODS) -> str:
    """The whole page, in Markdown."""
    schemas = document(methods)["components"]["schemas"]
    parts = [_HEAD, _errors(), *(_method(method, schemas) for method in methods), _objects(schemas, methods)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _errors() -> str:
    lines = ["## Errors", "", "The HTTP status is that of a single call; a batch is answered with 200.", ""]
    lines += ["| code | name | meaning | HTTP |", "| --- | --- | --- | --- |"]
    lines += [f"| {int(code)} | {error_name(code)} | {MEANINGS[code]} | {_statuses(code)} |" for code in Code]
    return "\n".join(lines)


def _statuses(code: Code) -> str:
    plain = status_of(Failure(code, ""))
    return "401 / 403" if code is Code.UNAUTHORIZED else str(plain)


def _method(method: AnyMethod, schemas: JsonObject) -> str:
    lines = [f"## `{method.name}`", "", method.summary, ""]
    lines += [f"Roles: {', '.join(f'`{role.value}`' for role in method.roles)}.", ""]
    lines += list(_fields("Params", schema_of(method.params, schemas)))
    lines += list(_fields("Result", schema_of(method.result, schemas)))
    lines += ["Errors: " + ", ".join(f"{int(code)}" for code in method.errors) + ".", ""]
    lines += ["```json", _json(method.example.params), "```", "", "answers", "", "```json", _json(method.example.result), "```"]
    return "\n".join(lines)


def _objects(schemas: JsonObject, methods: tuple[AnyMethod, ...]) -> str:
    shown = {model.__name__ for method in methods for model in (method.params, method.result)}
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps([schema.get("properties") for schema in schemas.values()])))
    lines = ["## Objects", ""]
    for name, schema in sorted(schemas.items()):
        if (name not in shown or name in named) and schema.get("properties"):
            lines += [f"### {name}", "", schema.get("description", ""), "", *_fields("Fields", schema)]
    return "\n".join(lines)


def _fields(title: str, schema: JsonObject) -> Iterator[str]:
    properties = schema.get("properties")
    if not properties:
        return
    required = schema.get("required", ())
    yield from (f"| {title} | type | |", "| --- | --- | --- |")
    for name, inner in properties.items():
        must = "**required**" if name in required and title == "Params" else ""
        yield f"| `{name}` | {_type(inner)} | {' '.join(filter(None, (must, inner.get('description', ''))))} |"
    yield ""


def _type(schema: JsonObject) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(inner) for inner in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("format") == "date-time":
        return "time"
    return str(schema.get("type", "anything"))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(reference())

"""The service describes itself by the models that it works with (SPEC 2)."""

from typing import Any

import orjson
import pytest

from cstp_server.rpc.errors import Code
from cstp_server.rpc.method import AnyMethod
from cstp_server.rpc.methods import METHODS
from cstp_server.rpc.reference import reference
from tests.conftest import ROOT
from tests.rpc.edge import Edge


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in _references(inner)]
    return [found for inner in value for found in _references(inner)] if isinstance(value, list) else []


def test_the_document_describes_every_method(edge: Edge) -> None:
    """Params by name with their schemas, a result, errors and an example; every reference leads somewhere."""
    document = edge.call("rpc.discover")
    assert document["openrpc"].startswith("1.")
    assert [method["name"] for method in document["methods"]] == [method.name for method in METHODS]
    for method in document["methods"]:
        assert method["paramStructure"] == "by-name"
        assert {"params", "result", "errors", "examples", "summary"} <= set(method)
        assert all(set(param) >= {"name", "required", "schema"} for param in method["params"])
    for reference_ in _references(document):
        _, *path = reference_.split("/")
        found: Any = document
        for part in path:
            found = found[part]
    check = document["methods"][0]
    assert [param["name"] for param in check["params"]] == ["action", "agent", "user", "decisionId", "dryRun"]
    assert [param["required"] for param in check["params"]] == [True, False, False, False, False]
    assert {error["code"] for error in document["components"]["errors"].values()} == {int(code) for code in Code}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_examples_are_what_the_models_say(method: AnyMethod) -> None:
    """An example's params validate, and its result is exactly what the model writes."""
    method.params.model_validate(method.example.params)
    result = method.result.model_validate(method.example.result)
    assert orjson.loads(result.model_dump_json(by_alias=True)) == method.example.result


def test_the_reference_is_up_to_date() -> None:
    """`docs/rpc.md` is what `python -m cstp_server.rpc.reference` writes."""
    assert (ROOT / "docs" / "rpc.md").read_text() == reference()

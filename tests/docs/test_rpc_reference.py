"""The examples of the RPC reference are calls that the service knows, and answers as shown."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.plugins import DIMENSION_PLUGIN, beside, install
from tests.server import RunningServer

_SECTION = re.compile(r"^## `(?P<method>[\w.]+)`\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_JSON = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ABRIDGED = "rpc.discover"
_ERRORS = re.compile(r"^Errors: (.+)\.$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """One method's example, and the errors that it may answer with."""

    method: str
    params: Any
    result: Any
    errors: frozenset[int]


def _examples() -> list[Example]:
    text = (ROOT / "docs" / "rpc.md").read_text()
    found = []
    for section in _SECTION.finditer(text):
        blocks = [json.loads(block) for block in _JSON.findall(section["body"])]
        errors = _ERRORS.search(section["body"])
        codes = frozenset(int(code) for code in re.findall(r"-\d+", errors[1])) if errors else frozenset()
        for params, result in zip(blocks[::2], blocks[1::2], strict=True):
            found.append(Example(section["method"], params, result, codes))
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One service for all examples, in the order of the reference, with the example of a package beside it."""
    packages = install(tmp_path_factory.mktemp("packages"), DIMENSION_PLUGIN)
    with RunningServer(tmp_path_factory.mktemp("reference"), config=ROOT / "config", env=beside(packages)) as server:
        yield server


def test_every_method_has_an_example() -> None:
    """No method of the reference is without one."""
    text = (ROOT / "docs" / "rpc.md").read_text()
    methods = {section["method"] for section in _SECTION.finditer(text)}
    assert methods
    assert {example.method for example in _examples()} == methods


def test_the_service_offers_the_methods_of_the_reference(service: RunningServer) -> None:
    """`rpc.discover` lists the methods that the reference describes, and no others."""
    discovered = {method["name"] for method in service.call("rpc.discover")["methods"]}
    described = {section["method"] for section in _SECTION.finditer((ROOT / "docs" / "rpc.md").read_text())}
    assert discovered - {"rpc.discover"} == described - {"rpc.discover"}


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example.method)
def test_an_example_is_a_good_call(example: Example, service: RunningServer) -> None:
    """The params are taken; the answer has the fields that the reference shows, or is one of the errors that the method may give."""
    answer = service.raw({"jsonrpc": "2.0", "id": 1, "method": example.method, "params": example.params}).json()
    if "error" in answer:
        assert answer["error"]["code"] in example.errors - {-32602, -32603}, answer
    else:
        shown = set(example.result)
        assert set(answer["result"]) >= shown if example.method == _ABRIDGED else set(answer["result"]) == shown

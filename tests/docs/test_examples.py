"""Every example in the documents is run, and answers what the document says it answers."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, StartServer
from tests.docs.markdown import Block, blocks_of
from tests.docs.shell import DOCUMENTED_URL, Answer, Shell, Unclear
from tests.docs.tool_clients import offered_by
from tests.server import RunningServer

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_HAS_TESTS_OF_ITS_OWN = "rpc.md"
_PICTURES_AND_PROSE = {"mermaid", "", "text"}
_ANYTHING = "…"


@pytest.fixture
def documented_server(start_server: StartServer, tmp_path: Path, sqlite_url: str) -> RunningServer:
    """The service as the documents have it: the example policy in `config/` beside it, on SQLite."""
    folder = tmp_path / "server"
    shutil.copytree(ROOT / "config", folder / "config")
    return start_server(database_url=sqlite_url, config=Path("config"))


@pytest.mark.timeout(400)  # a guide has some eighty commands, each a process that has to start
@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if blocks_of(document) and document.name != _HAS_TESTS_OF_ITS_OWN],
    ids=lambda document: document.name,
)
def test_the_examples_of_a_document_do_what_it_says(document: Path, documented_server: RunningServer) -> None:
    """The blocks of a document are run in order against one service; the first that does not hold fails, with its line."""
    shell = Shell(documented_server)
    for block in blocks_of(document):
        try:
            run(block, shell)
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error


def run(block: Block, shell: Shell) -> None:
    """Run one block as its directive or else its language says."""
    kind, _, argument = block.directive.partition(" ")
    match kind, block.language:
        case "not", _:
            look_at(block)
        case "answer", _:
            compare(block, shell.last)
        case "file", _:
            (shell.server.directory / argument).write_text(block.text + "\n")
        case "", _:
            run_by_language(block, shell)
        case _:
            run_configuration(block, kind, shell)


def run_configuration(block: Block, kind: str, shell: Shell) -> None:
    """Do what another program would by its configuration."""
    match kind, block.language:
        case "workflow", "yaml":
            for step in yaml.safe_load(block.text):
                shell.run_block(step["run"])
        case "scrape", "yaml":
            scrape(yaml.safe_load(block.text), shell)
        case "tools", "json":
            assert "check_guardrails" in offered_by(json.loads(block.text), shell)
        case _:
            raise Unclear(f"`{block.directive}`: no such directive")


def look_at(block: Block) -> None:
    """Hold an example that cannot be run against what can be seen of it."""
    assert block.directive.removeprefix("not run: ").strip(), "an example that is not run says why"
    if block.language == "python":
        ast.parse(block.text)


def compare(block: Block, last: Answer | None) -> None:
    """Hold an answer against the one that the document shows."""
    assert last is not None, "there is nothing that this would be the answer to"
    if block.language == "json":
        difference = first_difference(json.loads(block.text), last.json, "answer")
        assert difference is None, f"{difference}\n{last.text}"
    else:
        assert matches_text(block.text, last.text), f"printed:\n{last.text}"


def run_by_language(block: Block, shell: Shell) -> None:
    """Run a block that nothing special is said about."""
    match block.language:
        case "bash":
            shell.run_block(block.text)
        case "python":
            shell.last = run_python(block, shell)
        case "yaml":
            policy = shell.server.directory / "example.yaml"
            policy.write_text(block.text + "\n")
            shell.server.cli("policy", "check", str(policy))
        case "json":
            sent = json.loads(block.text)
            headers = {"Authorization": f"Bearer {shell.variables['TOKEN']}"} if "TOKEN" in shell.variables else {}
            assert isinstance(sent, list) or "method" in sent, "JSON that is neither a request nor marked as an answer"
            shell.last = Answer(
                shell.server.raw({"jsonrpc": "2.0", "id": 1} | sent if isinstance(sent, dict) else sent, headers=headers).text
            )
        case language if language in _PICTURES_AND_PROSE:
            pass
        case language:
            raise Unclear(f"`{language}`: no check knows this language")


def run_python(block: Block, shell: Shell) -> Answer:
    """Run a Python example in a process of its own; it must end well."""
    source = block.text.replace(DOCUMENTED_URL, shell.server.url)
    ast.parse(source)
    environment = shell.server.environment | {"CSTP_URL": shell.server.url} | shell.variables
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=shell.server.directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return Answer(done.stdout)


def scrape(configuration: Any, shell: Shell) -> None:
    """Each target's metrics are there, in Prometheus' text form."""
    for job in configuration["scrape_configs"]:
        headers = {}
        if "authorization" in job:
            headers["Authorization"] = f"Bearer {shell.variables['VIEWER']}"
        answer = shell.server.http.get(job.get("metrics_path", "/metrics"), headers=headers)
        assert answer.status_code == 200, answer.text
        assert "# TYPE" in answer.text


def first_difference(expected: Any, actual: Any, path: str) -> str | None:
    """Where the answer lacks or contradicts what is expected of it; none when it holds."""
    if expected == _ANYTHING:
        return None
    if isinstance(expected, dict) and isinstance(actual, dict):
        missing = [name for name in expected if name not in actual]
        if missing:
            return f"{path}.{missing[0]} is missing"
        differences = (first_difference(expected[name], actual[name], f"{path}.{name}") for name in expected)
        return next((difference for difference in differences if difference is not None), None)
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"{path} has {len(actual)} items, not {len(expected)}"
        differences = (
            first_difference(one, other, f"{path}[{place}]") for place, (one, other) in enumerate(zip(expected, actual, strict=True))
        )
        return next((difference for difference in differences if difference is not None), None)
    if isinstance(expected, str) and isinstance(actual, str) and matches_text(expected, actual):
        return None
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return None if same else f"{path} is {actual!r}, not {expected!r}"


def matches_text(expected: str, actual: str) -> bool:
    """Whether `actual` is `expected`, each `…` in which stands for anything."""
    place = 0
    pieces = expected.strip().split(_ANYTHING)
    actual = actual.strip()
    if not actual.startswith(pieces[0]) or not actual.endswith(pieces[-1]):
        return False
    for piece in pieces:
        found = actual.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return len(pieces) > 1 or actual == pieces[0]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"allowed": True}, {"allowed": False}),
        ({"allowed": False}, {}),
        ({"allowed": False}, {"allowed": 0}),
        ([1, 2], [1]),
        ({"a": [{"b": "x…"}]}, {"a": [{"b": "yx"}]}),
        ("exactly", "exactly not"),
        (5, "5"),
    ],
)
def test_a_wrong_answer_is_noticed(expected: Any, actual: Any) -> None:
    """The comparison that holds the documents to the truth finds what differs."""
    assert first_difference(expected, actual, "answer") is not None


@pytest.mark.parametrize(
    ("expected", "actual"),
    [({"a": 1}, {"a": 1, "b": 2}), ("…", None), ({"a": "dec_…"}, {"a": "dec_01"}), ("a … c", "a b c"), ([{"x": "…"}], [{"x": [1]}])],
)
def test_what_an_answer_leaves_open_may_be_anything(expected: Any, actual: Any) -> None:
    """Fields that a document does not show, and what it shows as `…`, are not compared."""
    assert first_difference(expected, actual, "answer") is None

"""The worked example of dimensions is a package: installed beside the service, it is used once an admin has approved it (SPEC 9)."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import DIMENSION_PLUGIN, beside, install
from tests.server import RpcError, RunningServer

CHECK, EVALUATE, TIGHTEN = "cstp.checkGuardrails", "cstp.evaluateConstraints", "cstp.validateTightening"
LIST, APPROVE, REJECT = "cstp.listDimensions", "cstp.approveDimension", "cstp.rejectDimension"
POLICY = """
agents:
  writer: {constraints: {model_access: [gpt-4, claude-3], token_limit: 4000}}
constraints:
  categories:
    chat: {model_access: [claude-3, llama-3], token_limit: 1000}
"""
MODELS: dict[str, Any] = {"constraints": {"model_access": ["gpt-4", "claude-3"]}, "context": {"model": "gpt-4"}}
TOKENS: dict[str, Any] = {"constraints": {"token_limit": 4000}, "context": {"tokens_used": 1200}}
DESCRIPTIONS = {"model_access": "Allowed AI models for agent", "token_limit": "Maximum tokens per request"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed."""
    return install(tmp_path_factory.mktemp("packages"), DIMENSION_PLUGIN)


@contextmanager
def serving(directory: Path, *packages: Path, policy: str = POLICY, **env: str) -> Iterator[RunningServer]:
    """A service that has these packages installed."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "policy.yaml"
    config.write_text(policy)
    with RunningServer(directory, config=config, env=beside(*packages) | env) as server:
        yield server


def _listed(server: RunningServer, token: str | None = None) -> dict[str, Any]:
    return {found["name"]: found for found in server.call(LIST, token=token)["dimensions"] if found["status"] != "built_in"}


def _evaluates(server: RunningServer, params: dict[str, Any], token: str | None = None) -> bool:
    answer = server.call(EVALUATE, params, token=token)
    assert answer["satisfied"] is not bool(answer["failedDimensions"])
    return bool(answer["satisfied"])


def _checks(server: RunningServer, category: str, token: str, **context: Any) -> Any:
    action = {"description": "Write to a customer", "category": category, "context": context}
    return server.call(CHECK, {"action": action, "agent": {"id": "writer"}}, token=token)


def test_an_installed_dimension_is_used_once_it_is_approved(packages: Path, tmp_path: Path) -> None:
    """Listed and pending, failing; approved with a name, a time and a note; used, by that tenant alone; rejected, and failing again."""
    with serving(tmp_path, packages) as server:
        ada, eve, other = server.token("ada", "admin"), server.token("eve", "viewer"), server.token("bob", "admin", tenant="other")
        pending = {
            name: {"name": name, "version": "1.0.0", "description": text, "status": "pending"} for name, text in DESCRIPTIONS.items()
        }
        assert _listed(server, eve) == pending
        assert not _evaluates(server, MODELS, ada)
        reason = server.call(EVALUATE, MODELS, token=eve)["results"]["model_access"]["reason"]
        assert "approve" in reason
        with pytest.raises(RpcError, match="admin") as refused:
            server.call(APPROVE, {"name": "model_access"}, token=eve)
        assert (refused.value.status, refused.value.data) == (403, {"required": ["admin"]})
        with pytest.raises(RpcError) as refused:
            server.call(APPROVE, {"name": "model_access", "version": "0.9.0"}, token=ada)
        assert refused.value.code == -32011
        assert "`1.0.0`" in refused.value.message
        assert _listed(server, eve) == pending

        approved = server.call(APPROVE, {"name": "model_access", "version": "1.0.0", "note": "by the security team"}, token=ada)
        assert approved == pending["model_access"] | {
            "status": "approved",
            "reviewedBy": "ada",
            "reviewedAt": approved["reviewedAt"],
            "note": "by the security team",
        }
        assert _listed(server, eve) == pending | {"model_access": approved}
        assert server.call(APPROVE, {"name": "model_access", "note": "by the security team"}, token=ada) == approved
        assert _evaluates(server, MODELS, ada)
        assert not _evaluates(server, TOKENS, ada)
        assert _listed(server, other) == pending
        assert not _evaluates(server, MODELS, other)

        rejected = server.call(REJECT, {"name": "model_access"}, token=ada)
        assert (rejected["status"], rejected["reviewedBy"], "note" in rejected) == ("rejected", "ada", False)
        assert not _evaluates(server, MODELS, ada)
        assert "reject" in server.call(EVALUATE, MODELS, token=eve)["results"]["model_access"]["reason"]


def test_another_version_is_pending_again(packages: Path, tmp_path: Path) -> None:
    """What was looked at was the version before; a review survives a restart, and going back to the old version brings it back."""
    source = tmp_path / "source"
    shutil.copytree(DIMENSION_PLUGIN, source)
    model_access = source / "model_limits" / "model_access.py"
    model_access.write_text(model_access.read_text().replace('version = "1.0.0"', 'version = "2.0.0"'))
    newer = install(tmp_path / "newer", source)
    for folder, before, say, after in (
        (packages, "pending", True, "approved"),
        (packages, "approved", False, "approved"),
        (newer, "pending", False, "pending"),
        (packages, "approved", False, "approved"),
    ):
        with serving(tmp_path / "server", folder) as server:
            assert _listed(server)["model_access"]["status"] == before
            assert _listed(server)["model_access"]["version"] == ("2.0.0" if folder == newer else "1.0.0")
            assert _evaluates(server, MODELS) is (before == "approved")
            if say:
                server.call(APPROVE, {"name": "model_access"})
            assert _listed(server)["model_access"]["status"] == after
            assert _evaluates(server, MODELS) is (after == "approved")


def test_the_policy_bounds_checks_by_an_installed_dimension(packages: Path, tmp_path: Path) -> None:
    """Composed to the most restrictive, like the built-in ones; before the approval every check that it bounds is refused."""
    with serving(tmp_path, packages) as server:
        ada = server.token("ada", "admin")
        within: dict[str, Any] = {"model": "Claude-3", "tokens_used": 900}
        refused = _checks(server, "chat", ada, **within)
        assert not refused["allowed"]
        assert {(finding["type"], finding["dimension"]) for finding in refused["violations"]} == {
            ("constraint", "model_access"),
            ("constraint", "token_limit"),
        }
        for name in DESCRIPTIONS:
            server.call(APPROVE, {"name": name}, token=ada)
        assert _checks(server, "chat", ada, **within)["allowed"]
        assert _checks(server, "letters", ada, model="gpt-4", tokens_used=4000)["allowed"]
        for context, dimension in (
            ({**within, "model": "gpt-4"}, "model_access"),
            ({**within, "model": "llama-3"}, "model_access"),
            ({**within, "tokens_used": 1001}, "token_limit"),
            ({"tokens_used": 900}, "model_access"),
            ({"model": "claude-3"}, "token_limit"),
        ):
            answer = _checks(server, "chat", ada, **context)
            assert [finding["dimension"] for finding in answer["violations"]] == [dimension], context
        (finding,) = _checks(server, "chat", ada, model="claude-3", tokens_used=1200)["violations"]
        assert (finding["used"], finding["limit"], finding["remaining"]) == (1200, 1000, 0)
        assert "exceeded by 200" in finding["message"]


def test_the_guides_own_words_and_comparisons(packages: Path, tmp_path: Path) -> None:
    """With reviews switched off, as for tests; reasons as in the guide, and children that loosen are named."""
    with serving(tmp_path, packages, policy="{}\n", CSTP_ALLOW_UNREVIEWED_DIMENSIONS="true") as server:

        def one(name: str, value: Any, **context: Any) -> Any:
            return server.call(EVALUATE, {"constraints": {name: value}, "context": context})["results"][name]

        def violations(parent: Any, child: Any) -> Any:
            return server.call(TIGHTEN, {"parent": parent, "child": child})["violations"]

        assert one("model_access", ["gpt-4", "claude-3"], model="GPT-4")["reason"] == "model 'gpt-4' is allowed"
        assert one("model_access", "gpt-4", model=None)["reason"] == "no model requested"
        refused = one("model_access", ["gpt-4", "claude-3"], model="llama-3")
        assert (refused["satisfied"], refused["reason"]) == (False, "model 'llama-3' not in allowed list: ['claude-3', 'gpt-4']")
        tokens = one("token_limit", 4000, tokens_used=4000)
        assert tokens == {"satisfied": True, "reason": "within limit", "remaining": 0, "used": 4000, "limit": 4000}
        tokens = one("token_limit", "4000", tokens_used=4100)
        assert tokens == {"satisfied": False, "reason": "exceeded by 100", "remaining": 0, "used": 4100, "limit": 4000}
        for name, value, context in (
            ("token_limit", "lots", {"tokens_used": 1}),
            ("token_limit", -1, {"tokens_used": 0}),
            ("token_limit", True, {"tokens_used": 0}),
            ("token_limit", 10, {"tokens_used": -1}),
            ("token_limit", 10, {"tokens_used": 1.5}),
            ("token_limit", 10, {}),
            ("model_access", 7, {"model": "gpt-4"}),
            ("model_access", ["gpt-4", 7], {"model": "gpt-4"}),
            ("model_access", [], {"model": "gpt-4"}),
            ("model_access", ["gpt-4"], {"model": ""}),
            ("model_access", ["gpt-4"], {"model": 4}),
            ("model_access", ["gpt-4"], {}),
        ):
            assert one(name, value, **context)["satisfied"] is False, (name, value, context)
        assert violations({"model_access": ["a", "b"]}, {"model_access": ["A"]}) == []
        assert violations({"token_limit": 10}, {"token_limit": 10}) == []
        (looser,) = violations({"model_access": ["a"]}, {"model_access": ["a", "b"]})
        assert "'model_access'" in looser
        assert violations({"token_limit": 10}, {"token_limit": 11}) == [
            "Dimension 'token_limit': child constraint (11) is looser than parent (10)"
        ]


_TEMPLATE = """
class Dimension_{id}:
    name, version, description = {name}, "1.0.0", "breaks"

    def parse(self, value):
        {parse}

    {prefix}def check(self, constraint, context):
        {check}

    def tightens(self, parent, child):
        raise KeyError("swordfish")

    def {compose}(self, constraints):
        raise KeyError("swordfish")
"""
_RAISES = 'raise KeyError("swordfish")'


def _dimension(name: str, *, parse: str = "return value", check: str = _RAISES, prefix: str = "", compose: str = "compose") -> str:
    return _TEMPLATE.format(id=name, name=repr(name), parse=parse, check=check, prefix=prefix, compose=compose)


def _package(folder: Path, module: str, dimensions: Mapping[str, str]) -> Path:
    """A folder with a package in it that has these classes as entry points, by their names."""
    metadata = folder / f"{module}-1.0.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{module}.py").write_text("\n".join(dimensions.values()))
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0.0\n")
    entries = "\n".join(f"{name} = {module}:Dimension_{name}" for name in dimensions)
    (metadata / "entry_points.txt").write_text(f"[cstp.dimensions]\n{entries}\n")
    return folder


def test_a_dimension_that_breaks_fails_what_it_bounds_and_nothing_else(packages: Path, tmp_path: Path) -> None:
    """Whatever it raises or answers: the call is answered, the dimension has failed, and its text stays inside."""
    broken = {
        "a": _dimension("a", parse=_RAISES, check="return None"),
        "b": _dimension("b", check=_RAISES),
        "c": _dimension("c", check="raise SystemExit"),
        "d": _dimension("d", check="return None"),
        "e": _dimension("e", check="return True"),
        "f": _dimension("f", check="return (True, 'fine')"),
        "g": _dimension("g", parse="raise SystemExit"),
        "h": _dimension("h", check="context.clear(); return None"),
    }
    folder = _package(tmp_path / "broken", "broken_dimensions", broken)
    readable = sorted(broken.keys() - {"a", "g"})
    policy = f"constraints: {{categories: {{chat: {{{', '.join(f'{name}: 1' for name in readable)}, token_limit: 1000}}}}}}\n"
    with serving(tmp_path / "server", packages, folder, policy=policy, CSTP_ALLOW_UNREVIEWED_DIMENSIONS="true") as server:

        def answer(method: str, **params: Any) -> Any:
            response = server.raw({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            assert "swordfish" not in response.text
            return response.json()["result"]

        bounds = dict.fromkeys(broken, 1) | {"token_limit": 1000}
        context = {"tokens_used": 900}
        evaluated = answer(EVALUATE, constraints=bounds, context=context)
        assert evaluated["failedDimensions"] == list(broken)
        assert all(result["reason"] for result in evaluated["results"].values())
        tightened = answer(TIGHTEN, parent=bounds, child=bounds)
        assert len(tightened["violations"]) == len(broken)
        action = {"description": "Write to a customer", "category": "chat", "context": context}
        checked = answer(CHECK, action=action, agent={"id": "writer"})
        assert [finding["dimension"] for finding in checked["violations"]] == readable
        worse = tmp_path / "worse.yaml"
        worse.write_text("constraints: {global: {a: 1}}\n")
        refused = server.cli("policy", "check", str(worse), check=False)
        assert refused.returncode == 1
        assert "`constraints.global.a`: cannot be read: the dimension failed" in refused.stdout + refused.stderr
        assert "swordfish" not in refused.stdout + refused.stderr


def test_a_dimension_that_cannot_be_loaded_fails_what_it_bounds(packages: Path, tmp_path: Path) -> None:
    """It is listed as such, and in the log, and no approval helps; those of other packages are there, and no built-in one gives way."""
    unloadable = {
        "asynchronous": _dimension("asynchronous", prefix="async "),
        "composeless": _dimension("composeless", compose="composed"),
        "nameless": _dimension("nameless").replace("'nameless', ", "None, "),
        "versionless": _dimension("versionless").replace('"1.0.0"', "1"),
        "unborn": _dimension("unborn") + "    def __init__(self):\n        raise KeyError('swordfish')\n",
        "absent": "",
    }
    usurper = _dimension("usurper").replace("'usurper', ", "'cost_limit', ")
    folder = _package(tmp_path / "unloadable", "unloadable_dimensions", unloadable | {"usurper": usurper})
    _package(folder, "syntactic_dimensions", {"unreadable": "def"})
    with serving(tmp_path / "server", packages, folder, policy="{}\n", CSTP_ALLOW_UNREVIEWED_DIMENSIONS="true") as server:
        broken = {*unloadable, "unreadable"}
        listed = _listed(server)
        assert set(listed) == {*DESCRIPTIONS, *broken}
        assert {listed[name]["description"] for name in broken} == {"the dimension is installed and could not be loaded"}
        assert _evaluates(server, MODELS)
        assert _evaluates(server, {"constraints": {"cost_limit": 10}, "context": {"cost_used": 1}})
        for name in broken:
            server.call(APPROVE, {"name": name})
            assert not _evaluates(server, {"constraints": {name: 1}})
            assert name in server.logs
        assert server.logs.count("it has the name of a built-in one") == 1


def test_installing_it_leaves_nothing_behind_in_the_checkout(packages: Path) -> None:
    """The example's folder holds its own files."""
    assert (packages / "model_limits" / "token_limit.py").is_file()
    assert {path.name for path in DIMENSION_PLUGIN.iterdir()} == {"pyproject.toml", "model_limits"}
    assert {path.name for path in (DIMENSION_PLUGIN / "model_limits").iterdir()} - {"__pycache__"} == {
        "__init__.py",
        "model_access.py",
        "token_limit.py",
    }

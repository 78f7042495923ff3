"""A credential that an agent sends is seen by nobody: not in answers, not on record, not in the log (SPEC 7)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.server import RunningServer

SECRETS = {
    "a cloud key": "AKIA" + "Q3EGWXT7ZNPL5RVD",
    "a token of a code host": "ghp_" + "9fK2mQ7xVb4LtZr8Wc1NdYh6Js3Pg5Ta0EuR",
    "a connection string": "postgresql://app:" + "vT9qLm2xZr7W@db.internal:5432/app",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA7bq3Zk9Vw2\n" * 3 + "-----END RSA PRIVATE KEY-----",
}
_FRAGMENTS = ("Q3EGWXT7ZNPL5RVD", "9fK2mQ7xVb4LtZr8", "vT9qLm2xZr7W", "MIIEowIBAAKCAQEA7bq3Zk9Vw2")


def _said(secret: str) -> dict[str, dict[str, Any]]:
    """The same credential in every place of an action."""
    return {
        "description": {"description": f"call it with {secret}"},
        "parameters": {"description": "call it", "parameters": {"headers": [{"auth": secret}]}},
        "context": {"description": "call it", "context": {"note": f"use {secret}"}},
        "reasons": {"description": "call it", "reasons": [{"type": "analysis", "text": secret}]},
        "tags": {"description": "call it", "tags": [secret.split("\n")[1] if "\n" in secret else secret]},
    }


def _everything(server: RunningServer, ids: list[str], options: dict[str, str]) -> str:
    """All that the service and its command line say of these decisions."""
    said = [json.dumps(server.call("cstp.getDecision", {"id": id})) for id in ids]
    said += [json.dumps(server.call(method)) for method in ("cstp.listDecisions", "cstp.getTripwireStats", "cstp.listCircuits")]
    said += [server.cli("decision", ids[0], env=options).stdout, server.cli("decisions", "--json", env=options).stdout]
    said += [server.cli("tripwires", env=options).stdout, server.cli("pending", env=options).stdout]
    return "\n".join([*said, server.logs, server.http.get("/metrics").text])


@pytest.mark.parametrize("kind", SECRETS)
def test_a_credential_reaches_neither_answer_nor_record_nor_log(start_server: StartServer, tmp_path: Path, kind: str) -> None:
    """Wherever in the action it stands, the check is blocked for good, and what is kept of it has the credential taken out."""
    server = start_server(config=None, database_url=f"sqlite:///{tmp_path / 'cstp.db'}")
    options = {"CSTP_URL": server.url}
    said, ids = [], []
    for place, action in _said(SECRETS[kind]).items():
        if place == "tags" and "\n" in SECRETS[kind]:
            continue
        answer = server.call("cstp.checkGuardrails", {"action": action, "agent": {"id": f"bot-{place}"}})
        assert (answer["allowed"], answer["intervention"], answer["pending"]) == (False, "block", None), (place, answer)
        (finding,) = answer["violations"]
        assert (finding["guardrail"], finding["tripwireSeverity"]) == ("secrets", "critical")
        said.append(json.dumps(answer))
        ids.append(answer["decisionId"])
    recorded = server.call("cstp.recordDecision", {"decision": f"used {SECRETS[kind]}", "context": f"with {SECRETS[kind]}"})
    said.append(json.dumps(recorded))
    ids.append(recorded["id"])
    done = server.cli("check", f"call it with {SECRETS[kind]}", "--agent", "cli-bot", check=False, env=options)
    assert done.returncode == 3
    said += [done.stdout, done.stderr, _everything(server, ids, options)]
    server.terminate()
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("cstp.db*"))
    for fragment in _FRAGMENTS:
        assert fragment not in "\n".join(said)
        assert fragment.encode() not in stored

"""The command line in this process, against a scripted server and a backend that lives in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cstp_server.cli.app import app
from cstp_server.cli.backend import AuditProgress, BackendError
from cstp_server.cli.session import Wiring
from cstp_server.domain.anchors import Anchor
from cstp_server.domain.callers import Role
from cstp_server.services.audit_reports import AuditReport
from cstp_server.services.notifying import Letter
from cstp_server.services.tokens import TokenInfo, mint
from tests.client.scripted_server import ScriptedServer, allowed, circuit, decision, reviewed


class MemoryBackend:
    """A backend whose database is a dictionary and whose server only remembers how it was started."""

    def __init__(self) -> None:
        self.tokens: dict[str, TokenInfo] = {}
        self.revision: str | None = None
        self.head = "0002"
        self.letters: list[Letter] = []
        self.started: list[tuple[Path | None, str | None, int | None, int | None]] = []

    def serve(self, *, config: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
        """Remember it."""
        self.started.append((config, host, port, workers))

    def upgrade(self) -> str:
        """Bring the schema to head."""
        self.revision = self.head
        return self.head

    def current(self) -> tuple[str | None, str]:
        """Where the schema is, and where it could be."""
        return self.revision, self.head

    def create_token(self, *, name: str, roles: tuple[Role, ...], tenant: str, agent_id: str | None, expires_in_ms: int | None) -> str:
        """A token, if the name is free."""
        if name in self.tokens:
            raise BackendError(f"there is a token `{name}` already")
        expires_at = expires_in_ms if expires_in_ms is None else 4_000_000_000_000 + expires_in_ms
        self.tokens[name] = TokenInfo(name, roles, tenant, agent_id, 1_770_000_000_000, expires_at, None)
        return mint()

    def list_notifications(self, *, dead: bool, limit: int) -> Sequence[Letter]:
        """Those that are asked for."""
        return [letter for letter in self.letters if letter.dead_at is not None or not dead][:limit]

    def retry_notifications(self, id: str | None) -> int:
        """How many there are of that id, or how many are dead."""
        return len([letter for letter in self.letters if letter.id == id or (id is None and letter.dead_at is not None)])

    def test_notification(self, channel: str, *, config: Path | None) -> None:
        """Only `ops` works."""
        if channel != "ops":
            raise BackendError(f"channel `{channel}`: the receiver answered 500")

    def list_tokens(self) -> Sequence[TokenInfo]:
        """All of them."""
        return list(self.tokens.values())

    def revoke_token(self, name: str) -> bool:
        """Whether there was one."""
        if name not in self.tokens or self.tokens[name].revoked_at is not None:
            return False
        self.tokens[name] = replace(self.tokens[name], revoked_at=1_770_000_000_001)
        return True

    def verify_audit(self, *, since: int | None, kept: Path | None, progress: AuditProgress) -> AuditReport:
        """There is nothing to find."""
        return AuditReport()

    def verify_audit_file(self, file: Path, progress: AuditProgress) -> AuditReport:
        """There are no files."""
        raise BackendError(f"there is no `{file}`")

    def export_audit(self, *, since: int | None, write: Callable[[bytes], object], progress: AuditProgress) -> AuditReport:
        """There is nothing to write."""
        return AuditReport()

    def newest_anchor(self) -> Anchor | None:
        """There is none."""
        return None


class Cli:
    """Runs `cstp`; `url` is the server that it calls."""

    def __init__(self, backend: MemoryBackend, url: str) -> None:
        self.backend = backend
        self.url = url
        self.served: list[tuple[str, str | None]] = []
        self._runner = CliRunner()
        self._wiring = Wiring(lambda: self.backend, lambda url, token: self.served.append((url, token)))

    def __call__(self, *arguments: str, env: Mapping[str, str | None] | None = None, stdin: bytes | str | None = None) -> Result:
        """Run one command; only `CSTP_URL` and what `env` says is set, and `stdin` is what it can read."""
        environment = {"CSTP_URL": self.url, "CSTP_TOKEN": None, **(env or {})}
        return self._runner.invoke(app, arguments, input=stdin, env=environment, obj=self._wiring, catch_exceptions=False)


@pytest.fixture
def backend() -> MemoryBackend:
    """A backend without tokens and without a schema."""
    return MemoryBackend()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """A server that knows two circuits and two decisions, allows every check and takes every review."""
    change = {"scope": "category:tooling", "previousState": "open", "message": "so it is"}
    with ScriptedServer() as server:
        server.usual |= {
            "cstp.checkGuardrails": allowed,
            "cstp.reviewDecision": reviewed,
            "cstp.listCircuits": lambda params: {
                "circuits": [circuit("category:tooling", "open", cooldownRemainingMs=90_000), circuit("global", forced=True)],
                "count": 2,
                "nextCursor": None,
            },
            "cstp.getCircuitState": lambda params: circuit(params["scope"], "open", cooldownRemainingMs=90_000),
            "cstp.getCircuitHistory": lambda params: {
                "scope": params["scope"],
                "transitions": [
                    {
                        "at": "2026-02-11T13:00:00Z",
                        "type": "circuit.opened",
                        "previousState": "closed",
                        "state": "open",
                        "cause": "threshold_reached",
                        "actor": "pipeline",
                        "reason": None,
                    }
                ],
            },
            "cstp.resetCircuit": lambda params: change | {"newState": "half_open" if params.get("probeFirst") else "closed"},
            "cstp.tripCircuit": lambda params: change | {"newState": "open"},
            "cstp.listDecisions": lambda params: {
                "decisions": [decision("dec_01JZZZZZZZZZZZZZZZZZZZZZZ1"), decision("dec_01JZZZZZZZZZZZZZZZZZZZZZZ2", "blocked")],
                "count": 2,
                "nextCursor": None,
            },
            "cstp.getDecision": lambda params: {"found": True, "decision": decision(params["id"], "blocked")},
            "cstp.listGuardrails": lambda params: {
                "guardrails": [
                    {
                        "id": "no-prod",
                        "type": "guardrail",
                        "description": "no production",
                        "action": "block",
                        "mode": "enforce",
                        "scope": [],
                    }
                ],
                "count": 1,
                "agent": "cstp-server",
            },
            "cstp.reloadPolicy": lambda params: {"success": True, "policyVersion": "sha256:1", "changed": True, "problems": []},
        }
        server.start()
        yield server


@pytest.fixture
def cli(backend: MemoryBackend, scripted: ScriptedServer) -> Cli:
    """`cstp`, calling that server."""
    return Cli(backend, scripted.url)

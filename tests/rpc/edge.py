"""The edge over the ports in memory, called as over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette
from starlette.types import ASGIApp

from cstp_server.census import Census
from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.known import KnownDimensions
from cstp_server.domain.posture_guards import TransitionGuard
from cstp_server.guardians import InstalledGuardians
from cstp_server.metrics import Metrics
from cstp_server.rpc.context import Services
from cstp_server.rpc.limiting import RateLimiter
from cstp_server.rpc.limits import Limits
from cstp_server.rpc.middleware import CorrelationIds
from cstp_server.rpc.routes import routes
from tests.rpc.memory import Memory, MemoryPolicy, MemoryReadiness, MemoryTokens, MemoryWaiting, SetClock

JSON = {"content-type": "application/json"}


class Edge:
    """One service edge. `store` shows what reached the use cases."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        per_second: float = 0,
        burst: int = 1,
        key: bytes = b"",
        guards: Sequence[TransitionGuard] = (),
    ) -> None:
        self.clock = SetClock()
        self.store = Memory(self.clock)
        self.tokens = MemoryTokens(key)
        self.policy = MemoryPolicy()
        self.readiness = MemoryReadiness()
        self.metrics = Metrics()
        services = Services(
            transactor=self.store,
            reader=self.store,
            waiting=MemoryWaiting(self.store),
            guardians=InstalledGuardians(guards),
            dimensions=KnownDimensions(BUILT_IN, {}),
            policy_source=self.policy,
            authenticator=self.tokens,
            readiness=self.readiness,
            metrics=self.metrics,
            census=Census(self.store, self.clock),
            clock=self.clock,
            limits=limits or Limits(),
            rate_limiter=RateLimiter(self.clock, per_second, burst),
            token_key=key,
        )
        self.app: ASGIApp = CorrelationIds(Starlette(routes=routes(services)))

    def request(self, method: str, path: str, *, client: tuple[str, int] = ("127.0.0.1", 4711), **options: Any) -> httpx.Response:
        """One HTTP request."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=client)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8787") as http:
                return await http.request(method, path, **options)

        return asyncio.run(send())

    def post(self, body: bytes | str, headers: Mapping[str, str] | None = None, **options: Any) -> httpx.Response:
        """A body to the RPC endpoint, as it is."""
        content = body if isinstance(body, bytes) else body.encode()
        return self.request("POST", "/cstp", content=content, headers={**JSON, **(headers or {})}, **options)

    def stream(self, parts: list[bytes]) -> httpx.Response:
        """A body in pieces, without saying beforehand how long it is."""

        async def body() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        return self.request("POST", "/cstp", content=body(), headers=JSON)

    def respond(self, method: str, params: Any = None, *, token: str | None = None, id: Any = 1) -> httpx.Response:
        """One call; the whole HTTP response."""
        call = {"jsonrpc": "2.0", "id": id, "method": method, **({"params": params} if params is not None else {})}
        return self.post(orjson.dumps(call), {"authorization": f"Bearer {token}"} if token is not None else None)

    def call(self, method: str, params: Any = None, *, token: str | None = None) -> Any:
        """The result of a call that succeeds."""
        answer = self.respond(method, params, token=token).json()
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, params: Any = None, *, token: str | None = None) -> Any:
        """The error of a call that fails."""
        answer = self.respond(method, params, token=token).json()
        assert "result" not in answer, answer
        return answer["error"]


def check_params(**action: Any) -> dict[str, Any]:
    """Params of a check that are right."""
    return {"action": {"description": "raise the timeout", "context": {"reviewed": True}, **action}, "agent": {"id": "deploy-bot"}}

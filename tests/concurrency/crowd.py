"""Many clients at once, and what they were told."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

POLICY = """
circuit_breakers:
  - scope: "category:tooling"
    failure_threshold: 3
    window_ms: 60000
    cooldown_ms: 300
    half_open_probes: 3
    half_open_successes: 3
    probe_timeout_ms: 60000
  - scope: "category:counting"
    failure_threshold: 100000
    on_success: none
guardrails:
  - {id: ask-first, when: action.context.ask == true, action: escalate, message: ask first}
agents:
  spender: {acl_tier: 3}  # nobody lets it past a limit
constraints:
  categories: {rated: {rate_limit: 100/hour}}
tripwires:
  - {name: hundred, quota: {count: true, window: hour, max: 100}, applies_to: {categories: [counted]}}
  - {name: purse, quota: {sum: action.parameters.amount, window: total, max: 100}, applies_to: {categories: [paid]}}
  - {name: crossing-users, quota: {count: true, per: user, window: hour, max: 100000}, applies_to: {tags: [crossing]}}
  - {name: crossing-categories, quota: {count: true, per: category, window: day, max: 100000}, applies_to: {tags: [crossing]}}
  - {name: crossing-all, quota: {sum: action.parameters.amount, per: global, window: minute, max: 100000}, applies_to: {tags: [crossing]}}
"""
TOOLING = "category:tooling"
COUNTING = "category:counting"


@dataclass(frozen=True, slots=True)
class Told:
    """What one client was told: a result, an error, or nothing because the connection broke."""

    status: int
    result: dict[str, Any] | None = None
    code: int | None = None

    @property
    def acknowledged(self) -> bool:
        return self.result is not None


NOTHING = Told(0)
Call = tuple[str, dict[str, Any]]


def check(id: str, category: str = "counting", agent: str = "bot", **action: Any) -> Call:
    params = {"action": {"description": "an action", "category": category, **action}, "agent": {"id": agent}, "decisionId": id}
    return "cstp.checkGuardrails", params


def review(id: str, outcome: str) -> Call:
    return "cstp.reviewDecision", {"id": id, "outcome": outcome}


async def ask(client: httpx.AsyncClient, url: str, call: Call) -> Told:
    """One call; a connection that breaks tells nothing."""
    method, params = call
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    try:
        response = await client.post(f"{url}/cstp", content=body, headers={"Content-Type": "application/json"})
    except httpx.TransportError:
        return NOTHING
    answer = response.json()
    if "error" in answer:
        return Told(response.status_code, code=answer["error"]["code"])
    return Told(response.status_code, answer["result"])


def client() -> httpx.AsyncClient:
    """A client with as many connections as anybody may want."""
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
    return httpx.AsyncClient(timeout=30, limits=limits, trust_env=False)


def at_once(urls: Sequence[str], calls: Iterable[Call]) -> list[Told]:
    """All calls at the same time, each by a client of its own, the servers in turn."""

    async def everybody() -> list[Told]:
        async with client() as crowd:
            return await asyncio.gather(*(ask(crowd, url, call) for url, call in zip(itertools.cycle(urls), calls, strict=False)))

    return asyncio.run(everybody())


@dataclass(slots=True)
class Load:
    """Clients that check and review without a pause, and remember what they were told."""

    name: str
    checks: dict[str, Told] = field(default_factory=dict)
    reviews: dict[str, Told] = field(default_factory=dict)
    refused: list[Told] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)
    stopping: bool = False

    @property
    def told(self) -> int:
        """How many calls were acknowledged."""
        return len(self.checks) + len(self.reviews)

    async def run(self, url: str, clients: int, *, until_broken: bool = False) -> None:
        """Keep on until told to stop; with `until_broken`, each client ends when its connection breaks."""
        async with client() as crowd:
            await asyncio.gather(*(self._one(crowd, url, number, until_broken) for number in range(clients)))

    async def _one(self, crowd: httpx.AsyncClient, url: str, number: int, until_broken: bool) -> None:
        for turn in itertools.count():
            id, outcome = f"{self.name}-{number}-{turn}", ("failure", "success", "failure", "partial")[turn % 4]
            for call, memory in ((check(id), self.checks), (review(id, outcome), self.reviews)):
                if self.stopping:
                    return
                told = await ask(crowd, url, call)
                if told.acknowledged:
                    memory[id] = told
                    continue
                if told is NOTHING:
                    self.unanswered.add(id)
                    if until_broken:
                        return
                else:
                    self.refused.append(told)
                await asyncio.sleep(0.01)
                break

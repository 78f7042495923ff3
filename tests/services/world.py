"""The use cases on a real store, with a clock that moves when told to, spoken to as the edge does it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from cstp_server.clock import Clock
from cstp_server.domain.callers import DEFAULT_TENANT, LOOPBACK, Caller
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.decisions import Answer, Decision, Outcome, Review, ReviewAnswer, Severity
from cstp_server.domain.events import Event
from cstp_server.domain.facts import Facts
from cstp_server.policy.compiled import Policy
from cstp_server.policy.compiling import compile_policy
from cstp_server.policy.models import PolicyModel
from cstp_server.policy.settings_codec import circuit_settings_from_json
from cstp_server.services.checking import Check
from cstp_server.services.ports import Decided, Needs, UseCase, View
from cstp_server.services.requests import CheckRequest, ReviewRequest, ScopeRequest
from cstp_server.services.resetting import MoveCircuit
from cstp_server.services.reviewing import ReviewDecision
from cstp_server.services.sweeping import Sweep
from cstp_server.storage import tables
from cstp_server.storage.calls import Limits
from cstp_server.storage.circuits import circuit_of, entry_of
from cstp_server.storage.engine import database_url, passing_engine
from cstp_server.storage.events import event_of
from cstp_server.storage.store import Store

T = TypeVar("T")
OPS = LOOPBACK
START = 1_700_000_000_000


class HandClock:
    """A clock that only moves when told to."""

    def __init__(self, now: int = START) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / 1000

    def advance(self, ms: int) -> None:
        self.time += ms


class Unmeasured:
    """Nobody looks at the gauges of a test."""

    def committed(self, calls: int) -> None: ...

    def queued(self, depth: int) -> None: ...


def policy_of(**sections: Any) -> Policy:
    """The policy that its sections describe."""
    return compile_policy(PolicyModel.model_validate(sections))


def circuits_policy(*circuits: dict[str, Any], **sections: Any) -> Policy:
    """A policy of circuits."""
    return policy_of(circuit_breakers=list(circuits), **sections)


@dataclass(slots=True)
class Gate:
    """A call that keeps the transactor busy until it is opened, so that whatever comes meanwhile shares one transaction."""

    tenant: str = DEFAULT_TENANT
    caller: Caller | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def needs(self, _policy: Policy, _view: View) -> Needs:
        return Needs()

    def decide(self, _policy: Policy, _view: View, _now: int) -> Decided[None]:
        self.entered.set()
        assert self.opened.wait(20)
        return Decided(None)


class World:
    """A store on a database whose schema is at head, and everything that a caller may do with it."""

    def __init__(self, url: str, policy: Policy, clock: Clock | None = None, limits: Limits | None = None) -> None:
        self.url = database_url(url)
        self.policy = policy
        self.hand = HandClock()
        self.clock: Clock = clock if clock is not None else self.hand
        self.limits = limits if limits is not None else Limits()
        self.loop = asyncio.Runner()
        self.store = self._start()

    def _start(self) -> Store:
        store = Store(self.url, lambda: self.policy, self.clock, Unmeasured(), self.limits)
        store.start()
        return store

    def restart(self) -> None:
        """End the process's store, and begin anew on the same database."""
        self.store.stop()
        self.store = self._start()

    def close(self) -> None:
        self.store.stop()
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def run(self, use_case: UseCase[Any]) -> Any:
        return self.do(self.store.transactor.run(use_case))

    def batch(self, *use_cases: UseCase[Any]) -> list[Any]:
        """Carry out the calls in one transaction, in this order; their answers, or the exceptions that their callers get."""
        return self.do(self._batch(use_cases))

    async def _batch(self, use_cases: Sequence[UseCase[Any]]) -> list[Any]:
        gate, transactor = Gate(), self.store.transactor
        busy: UseCase[Any] = gate
        held = asyncio.create_task(transactor.run(busy))
        assert await asyncio.to_thread(gate.entered.wait, 20)
        waiting = [asyncio.create_task(transactor.run(use_case)) for use_case in use_cases]
        await asyncio.sleep(0)
        gate.opened.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        await held
        return answers

    def check(self, id: str | None = None, **details: Any) -> Answer:
        answer = self.run(checking(id, **details))
        assert isinstance(answer, Answer), answer
        return answer

    def review(self, id: str, outcome: str, severity: str = "medium", **details: Any) -> ReviewAnswer:
        answer = self.run(reviewing(id, outcome, severity, **details))
        assert isinstance(answer, ReviewAnswer), answer
        return answer

    def fail(self, *ids: str, **details: Any) -> None:
        """Check and fail decisions of these ids."""
        for id in ids:
            self.check(id, **details)
            self.review(id, "failure")

    def reset(self, scope: str, **details: Any) -> Any:
        return self.run(moving(scope, **details))

    def trip(self, scope: str, reason: str = "incident") -> Any:
        return self.run(MoveCircuit(OPS, ScopeRequest(scope, reason), forces=True))

    def sweep(self) -> None:
        """What the worker does every half second."""
        due: dict[str, list[str]] = {}
        for tenant, scope in self.do(self.store.due_circuits()):
            due.setdefault(tenant, []).append(scope)
        for tenant, scopes in due.items():
            self.run(Sweep(tenant, scopes))

    def seen(self, scope: str, tenant: str = DEFAULT_TENANT) -> Circuit:
        """The circuit as a reader sees it now."""
        return self.do(self.store.reader.circuit(tenant, scope, self.settings(scope))).circuit

    def decision(self, id: str, tenant: str = DEFAULT_TENANT) -> Decision | None:
        return self.do(self.store.reader.decision(tenant, id))

    def settings(self, scope: str) -> CircuitSettings:
        settings = self.policy.circuits.covering_text(scope)
        assert settings is not None
        return settings

    def stored(self, scope: str, tenant: str = DEFAULT_TENANT) -> Circuit:
        """The circuit as its row has it."""
        table = tables.circuits
        with self.connected() as connection:
            text = connection.execute(select(table.c.data).where(table.c.tenant == tenant, table.c.scope == scope)).scalar_one_or_none()
        return circuit_of(text) if text is not None else Circuit(scope)

    def log(self, scope: str, tenant: str = DEFAULT_TENANT) -> list[Entry]:
        """The circuit's whole log."""
        table = tables.circuit_log
        query = select(table).where(table.c.tenant == tenant, table.c.scope == scope).order_by(table.c.seq)
        with self.connected() as connection:
            return [entry_of(row) for row in connection.execute(query)]

    def settings_on_record(self) -> dict[str, CircuitSettings]:
        with self.connected() as connection:
            return {row.key: circuit_settings_from_json(row.data) for row in connection.execute(select(tables.circuit_settings))}

    def events(self, kind: str = "") -> list[Event]:
        """What happened, oldest first, as far as its type begins with `kind`."""
        with self.connected() as connection:
            found = [event_of(row) for row in connection.execute(select(tables.events).order_by(tables.events.c.id))]
        return [event for event in found if event.type.value.startswith(kind)]

    def connected(self) -> Connection:
        """A connection of the test's own, to be used as a context manager."""
        return passing_engine(self.url).connect()


def facts_of(agent: str = "bot", **details: Any) -> Facts:
    return Facts(**{"description": "an action", "agent_id": agent, "category": "tooling", **details})


def checking(id: str | None = None, *, caller: Caller = OPS, content: str = "", dry_run: bool = False, **details: Any) -> Check:
    """A check as a use case. `content` stands for whatever else the call says."""
    facts = facts_of(**details)
    request = CheckRequest(facts, facts.agent_id, f"digest of {facts} {content}", id, dry_run)
    return Check(caller, request, facts, id if id is not None else f"dec_{next(_IDS)}")


def _numbers() -> Iterable[int]:
    number = 0
    while True:
        number += 1
        yield number


_IDS = iter(_numbers())


def reviewing(
    id: str,
    outcome: str,
    severity: str = "medium",
    *,
    amend: bool = False,
    caller: Caller = OPS,
    inline: Facts | None = None,
    **details: Any,
) -> ReviewDecision:
    """A review as a use case."""
    request = ReviewRequest(id, Review(Outcome(outcome), Severity(severity), details), amend)
    return ReviewDecision(caller, request, inline)


def moving(scope: str, *, probe_first: bool = False, reason: str | None = None, caller: Caller = OPS) -> MoveCircuit:
    """A reset as a use case."""
    return MoveCircuit(caller, ScopeRequest(scope, reason, probe_first), forces=False)


def tripping(scope: str) -> MoveCircuit:
    """A trip as a use case."""
    return MoveCircuit(OPS, ScopeRequest(scope, "incident"), forces=True)

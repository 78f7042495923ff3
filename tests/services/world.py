"""The use cases on a real store, with a clock that moves when told to, spoken to as the edge does it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from cstp_server.clock import Clock
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.amounts import amount_number
from cstp_server.domain.anchors import AuditKeys
from cstp_server.domain.callers import DEFAULT_TENANT, LOOPBACK, Caller
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.damage import Damage, DamageType
from cstp_server.domain.decisions import Answer, Decision, Outcome, Review, ReviewAnswer, Severity
from cstp_server.domain.events import Event
from cstp_server.domain.facts import Facts
from cstp_server.domain.posture_guards import TransitionGuard
from cstp_server.domain.postures import AgentPosture
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.resolutions import Resolution
from cstp_server.domain.usage import Tally
from cstp_server.guardians import InstalledGuardians
from cstp_server.policy.compiled import Policy
from cstp_server.policy.compiling import compile_policy
from cstp_server.policy.models import PolicyModel
from cstp_server.policy.settings_codec import circuit_settings_from_json
from cstp_server.services.audit_reports import AuditReport
from cstp_server.services.auditing import verify
from cstp_server.services.checking import Check
from cstp_server.services.ports import Decided, HitCount, Needs, UseCase, View
from cstp_server.services.requests import (
    CheckRequest,
    ResolveAnswer,
    ResolveRequest,
    ReviewRequest,
    ScopeRequest,
    TrustAnswer,
    TrustRequest,
)
from cstp_server.services.resetting import MoveCircuit
from cstp_server.services.resolving import Resolve, resolve
from cstp_server.services.reviewing import ReviewDecision
from cstp_server.services.settling import RunOut
from cstp_server.services.sweeping import Sweep
from cstp_server.services.trust import RecordTrust
from cstp_server.storage import tables
from cstp_server.storage.auditing import reading_record
from cstp_server.storage.calls import Limits
from cstp_server.storage.circuits import circuit_of, entry_of
from cstp_server.storage.engine import current_time, database_url, passing_engine
from cstp_server.storage.events import event_of
from cstp_server.storage.habits import habits_of
from cstp_server.storage.postures import posture_of
from cstp_server.storage.store import Store
from cstp_server.storage.usage import usage_of

T = TypeVar("T")
OPS = LOOPBACK
START = 1_700_000_000_000
AUDIT_KEY = b"the key of the tests, 32 bytes long"


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

    def commit_took(self, seconds: float) -> None: ...

    def store_works(self, side: str, works: bool) -> None: ...

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
        self.keys = AuditKeys((AUDIT_KEY,))
        self.clock: Clock = clock if clock is not None else self.hand
        self.limits = limits if limits is not None else Limits()
        self.loop = asyncio.Runner()
        self.store = self.started()

    def started(self) -> Store:
        """One more process's store on the same database, at work; whoever asks for it stops it."""
        store = Store(self.url, lambda: self.policy, self.clock, Unmeasured(), self.limits, self.keys)
        store.start()
        return store

    def anchor(self, store: Store | None = None) -> None:
        """Let so much time pass that what was written is anchored."""
        self.hand.advance(10_000)
        self.do((store if store is not None else self.store).anchor())

    def audit(self, *, since: int | None = None) -> AuditReport:
        """What looking through the record of events finds."""
        with reading_record(self.url) as record:
            return verify(record, self.keys, lambda _events: None, since=since)

    def restart(self) -> None:
        """End the process's store, and begin anew on the same database."""
        self.store.stop()
        self.store = self.started()

    def close(self) -> None:
        self.store.stop()
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def run(self, use_case: UseCase[Any], store: Store | None = None) -> Any:
        """Carry out a call, in another process's store where one is given."""
        return self.do((store or self.store).transactor.run(use_case))

    def run_in(self, store: Store, use_case: UseCase[Any]) -> Any:
        """Carry out a call in another process's store."""
        return self.do(store.transactor.run(use_case))

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

    def resolve(self, id: str, resolution: str = "approve", **details: Any) -> ResolveAnswer:
        answer = self.settle(id, resolution, **details)
        assert isinstance(answer, ResolveAnswer), answer
        return answer

    def settle(
        self, id: str, resolution: str = "approve", *, caller: Caller = OPS, note: str | None = None, guards: Sequence[TransitionGuard] = ()
    ) -> ResolveAnswer | Refusal:
        """Say something of a decision that waits, as the edge has it done; `guards` are installed ones."""
        request = ResolveRequest(id, Resolution(resolution), note)
        store, guardians = self.store, InstalledGuardians(guards)
        return self.do(resolve(store.transactor, store.reader, guardians, self.policy, self.clock, caller, request))

    def damage(self, user: str = "anna", domain: str = "general", **details: Any) -> TrustAnswer:
        answer = self.run(damaging(user, domain, **details))
        assert isinstance(answer, TrustAnswer), answer
        return answer

    def succeed(self, user: str = "anna", domain: str = "general", **details: Any) -> TrustAnswer:
        answer = self.run(succeeding(user, domain, **details))
        assert isinstance(answer, TrustAnswer), answer
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
        for tenant, id in self.do(self.store.due_decisions()):
            self.run(RunOut(tenant, id))

    def seen(self, scope: str, tenant: str = DEFAULT_TENANT) -> Circuit:
        """The circuit as a reader sees it now."""
        return self.do(self.store.reader.circuit(tenant, scope, self.settings(scope))).circuit

    def decision(self, id: str, tenant: str = DEFAULT_TENANT) -> Decision | None:
        return self.do(self.store.reader.decision(tenant, id))

    def status(self, id: str, tenant: str = DEFAULT_TENANT) -> str:
        decision = self.decision(id, tenant)
        assert decision is not None
        return decision.status.value

    def tallies(self, subject: str = "agent:bot", tenant: str = DEFAULT_TENANT) -> dict[str, Tally]:
        """What the subject has used, as its row has it, by the name of the tripwire."""
        table = tables.usage
        with self.connected() as connection:
            text = connection.execute(select(table.c.data).where(table.c.tenant == tenant, table.c.subject == subject)).scalar_one_or_none()
        return {meter.partition("|")[0]: tally for meter, tally in usage_of(subject, text or "{}").tallies.items()}

    def used(self, tripwire: str, subject: str = "agent:bot", tenant: str = DEFAULT_TENANT) -> float:
        """How much of a tripwire's quota stands in the row, as a number."""
        tally = self.tallies(subject, tenant).get(tripwire)
        return amount_number(tally.used) if tally is not None else 0

    def posture(self, agent: str = "bot", tenant: str = DEFAULT_TENANT) -> AgentPosture | None:
        table = tables.postures
        with self.connected() as connection:
            row = connection.execute(select(table).where(table.c.tenant == tenant, table.c.agent_id == agent)).one_or_none()
        return posture_of(row) if row is not None else None

    def habits(self, tenant: str = DEFAULT_TENANT) -> dict[str, AgentHabits]:
        """The habits of agents, as their rows have them."""
        table = tables.habits
        with self.connected() as connection:
            rows = connection.execute(select(table).where(table.c.tenant == tenant).order_by(table.c.agent_id))
            return {row.agent_id: habits_of(row) for row in rows}

    def hits(self, tenant: str = DEFAULT_TENANT) -> dict[str, HitCount]:
        """How often tripwires were run into, by their names, where one agent did."""
        return {count.tripwire: count for count in self.do(self.store.reader.hits(tenant, since=None, agent=None))}

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

    def time(self) -> int:
        """What time it is for the store."""
        with self.connected() as connection:
            return current_time(connection, self.clock)

    def connected(self) -> Connection:
        """A connection of the test's own, to be used as a context manager."""
        return passing_engine(self.url).connect()


def facts_of(agent: str = "bot", **details: Any) -> Facts:
    return Facts(**{"description": "an action", "agent_id": agent, "category": "tooling", **details})


def checking(id: str | None = None, *, caller: Caller = OPS, content: str = "", dry_run: bool = False, **details: Any) -> Check:
    """A check as a use case. `content` stands for whatever else the call says."""
    facts = facts_of(**details)
    digest = sha256(f"{facts} {content}".encode()).hexdigest()
    request = CheckRequest(facts, facts.agent_id, digest, id, dry_run)
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


def damaging(
    user: str = "anna",
    domain: str = "general",
    kind: str = "wrong_answer",
    *,
    severity: float = 1.0,
    explicit: bool = False,
    id: str | None = None,
    caller: Caller = OPS,
) -> RecordTrust:
    """A damage to a user's trust as a use case."""
    damage = Damage(DamageType(kind), round(severity * MICRO), explicit)
    return RecordTrust(caller, TrustRequest(user, domain, damage, explicit), id if id is not None else f"trust_{next(_IDS)}")


def succeeding(user: str = "anna", domain: str = "general", *, id: str | None = None, caller: Caller = OPS) -> RecordTrust:
    """A success with a user as a use case."""
    return RecordTrust(caller, TrustRequest(user, domain), id if id is not None else f"trust_{next(_IDS)}")


def resolving(id: str, resolution: str = "approve", *, caller: Caller = OPS, note: str | None = None) -> Resolve:
    """A resolution as a use case."""
    return Resolve(caller, ResolveRequest(id, Resolution(resolution), note))


def moving(scope: str, *, probe_first: bool = False, reason: str | None = None, caller: Caller = OPS) -> MoveCircuit:
    """A reset as a use case."""
    return MoveCircuit(caller, ScopeRequest(scope, reason, probe_first), forces=False)


def tripping(scope: str) -> MoveCircuit:
    """A trip as a use case."""
    return MoveCircuit(OPS, ScopeRequest(scope, "incident"), forces=True)

"""Quotas and budgets under everything that befalls them: a plain list of decisions, added up anew, says the same at every step.

Agents check in turn and in one transaction, some decisions wait, people approve, deny, cancel and confirm, time runs out; outcomes come
early, late, with costs and without, and are amended; the limits change, the process restarts; minutes, hours and midnights go by.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import select

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.decisions import Answer, ReviewAnswer
from cstp_server.domain.refusals import Conflict
from cstp_server.domain.usage import Usage
from cstp_server.policy.compiled import Policy
from cstp_server.services.requests import ResolveAnswer
from cstp_server.storage import tables
from cstp_server.storage.usage import usage_of
from tests.services.test_state_machine import new_database
from tests.services.waiting_policy import APPROVAL_MS, CANCEL_MS, waiting_policy, wanting
from tests.services.world import World, checking, resolving, reviewing

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = int(datetime(2024, 3, 30, 23, 50, tzinfo=BERLIN).timestamp() * 1000)
AMOUNT = "action.parameters.amount"
WINDOWS = {"minute": 60_000, "hour": 3_600_000}
METERS = {"few": ("minute", "agent"), "money": ("hour", "agent"), "daily": ("day", "global"), "ever": ("total", "global")}
"""What there is, over which window and for whom; `few` counts, the others sum."""
LIMITS: dict[str, list[float]] = {"few": [2, 4, 50], "money": [0.3, 2.5, 10], "daily": [1, 5, 20], "ever": [3, 40, 1000]}
AMOUNTS = st.sampled_from([0, 0.1, 0.1, 0.3, 1, 2.5, 4])
COSTS = st.sampled_from([None, None, 0, 0.1, 0.7, 3, 25])
KINDS = st.sampled_from([None, None, "cancel_window", "confirmation", "approval"])
LIFTING = {"approve": ("cancel_window", "confirmation", "approval"), "confirm": ("confirmation",)}


def billionths(number: float) -> int:
    return int(Decimal(str(number)) * UNIT)


@dataclass
class Held:
    """What a decision has of one meter."""

    meter: str
    subject: str
    at: int
    reserved: int
    amount: int


@dataclass
class Known:
    """A decision as the model has it."""

    agent: str
    amount: int
    status: str
    waits_for: str | None = None
    until: int = 0
    exceeded: frozenset[str] = frozenset()
    held: list[Held] = field(default_factory=list)
    let_through: bool = False
    said: tuple[str, float | None] | None = None


class Model:
    """The list, and what follows from adding it up."""

    def __init__(self, limits: dict[str, float]) -> None:
        self.limits = limits
        self.now = BEGIN
        self.decisions: dict[str, Known] = {}
        self.moved = 0
        """What all reservations, settlements and returns of the meter `ever` come to."""

    def subject(self, meter: str, agent: str) -> str:
        return f"agent:{agent}" if METERS[meter][1] == "agent" else "global"

    def counts(self, held: Held) -> bool:
        window = METERS[held.meter][0]
        if window in WINDOWS:
            return held.at > self.now - WINDOWS[window]
        return window == "total" or self.day(held.at) == self.day(self.now)

    def day(self, at: int) -> Any:
        return datetime.fromtimestamp(at / 1000, BERLIN).date()

    def used(self, meter: str, subject: str) -> int:
        all_held = (held for known in self.decisions.values() for held in known.held)
        return sum(held.amount for held in all_held if held.meter == meter and held.subject == subject and self.counts(held))

    def charge(self, meter: str, known: Known) -> int:
        return UNIT if meter == "few" else known.amount

    def exceeded(self, known: Known) -> frozenset[str]:
        """The meters that have no room for it."""
        return frozenset(
            meter
            for meter in METERS
            if self.used(meter, self.subject(meter, known.agent)) + self.charge(meter, known) > billionths(self.limits[meter])
        )

    def take(self, known: Known) -> None:
        for meter in METERS:
            amount = self.charge(meter, known)
            known.held.append(Held(meter, self.subject(meter, known.agent), self.now, amount, amount))
            self.moved += amount if meter == "ever" else 0

    def count_for(self, held: Held, amount: int) -> None:
        if self.counts(held):
            self.moved += amount - held.amount if held.meter == "ever" else 0
            held.amount = amount

    def check(self, agent: str, amount: float, kind: str | None) -> Known:
        """What a check says; it is on the list once it is noted."""
        known = Known(agent, billionths(amount), "allowed")
        known.exceeded = self.exceeded(known)
        if known.exceeded or kind is not None:
            known.status = "pending"
            known.waits_for = "approval" if known.exceeded else kind
            known.until = self.now + (CANCEL_MS if known.waits_for == "cancel_window" else APPROVAL_MS)
        known.let_through = known.status == "allowed"
        return known

    def note(self, id: str, known: Known) -> None:
        self.decisions[id] = known
        if not known.exceeded:
            self.take(known)

    def give_back(self, known: Known) -> None:
        for held in known.held:
            self.count_for(held, 0)
        known.held = []

    def settle(self, known: Known, status: str) -> None:
        """The end of waiting; a second look at whoever is to be let through."""
        self.give_back(known)
        known.status = status
        if status in {"approved", "allowed"}:
            if self.exceeded(known) - known.exceeded:
                known.status = "denied"
            else:
                known.let_through = True
                self.take(known)

    def run_out(self, known: Known) -> bool:
        """Whether time settles it now."""
        if known.status != "pending" or known.until > self.now:
            return False
        self.settle(known, "allowed" if known.waits_for == "cancel_window" else "expired")
        return True

    def review(self, known: Known, outcome: str, cost: float | None) -> None:
        known.said, known.status = (outcome, cost), "reviewed"
        for held in known.held:
            amount = held.reserved
            if outcome == "abandoned" and (held.meter != "few" or not known.let_through):
                amount = 0
            elif held.meter != "few" and cost is not None:
                amount = billionths(cost)
            self.count_for(held, amount)


class BudgetsThroughTheService(RuleBasedStateMachine):
    """The service, and the model beside it."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cstp-budgets-"))
        self.number = 0

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.model = Model({meter: data.draw(st.sampled_from(LIMITS[meter])) for meter in METERS})
        self.world = World(new_database(self.folder), self.policy())
        self.world.hand.time = BEGIN

    def policy(self) -> Policy:
        rules = []
        for meter, (window, per) in METERS.items():
            measured = {"count": True} if meter == "few" else {"sum": AMOUNT}
            rules.append({"name": meter, "quota": {**measured, "window": window, "per": per, "max": self.model.limits[meter]}})
        return waiting_policy(tripwires={"rules": rules}, time_zone="Europe/Berlin")

    def next_id(self) -> str:
        self.number += 1
        return f"d{self.number}"

    def call(self, id: str, agent: str, amount: float, kind: str | None, *, dry_run: bool = False) -> Any:
        context = wanting(kind) if kind is not None else {}
        return checking(id, agent=agent, parameters={"amount": amount}, context=context, dry_run=dry_run)

    def assert_answer(self, answer: Any, expected: Known) -> None:
        assert isinstance(answer, Answer)
        assert answer.verdict.allowed is (expected.status == "allowed")
        assert {finding.guardrail for finding in answer.verdict.violations} & METERS.keys() == expected.exceeded
        assert (answer.pending.kind if answer.pending is not None else None) == expected.waits_for

    @rule(target=ids, agent=st.sampled_from("ab"), amount=AMOUNTS, kind=KINDS)
    def check(self, agent: str, amount: float, kind: str | None) -> str:
        """It is allowed exactly if every quota has room for it: nothing is ever let through beyond a limit unless a person approves."""
        id, expected = self.next_id(), self.model.check(agent, amount, kind)
        self.assert_answer(self.world.run(self.call(id, agent, amount, kind)), expected)
        self.model.note(id, expected)
        return id

    @rule(agent=st.sampled_from("ab"), amount=AMOUNTS, kind=KINDS)
    def dry_run(self, agent: str, amount: float, kind: str | None) -> None:
        """It says the same and leaves nothing."""
        self.assert_answer(self.world.run(self.call("tried", agent, amount, kind, dry_run=True)), self.model.check(agent, amount, kind))

    @rule(target=ids, calls=st.lists(st.tuples(st.sampled_from("ab"), AMOUNTS, KINDS), min_size=2, max_size=6))
    def burst(self, calls: list[tuple[str, float, str | None]]) -> Any:
        """Several checks in one transaction, each of which sees the ones before it."""
        named = [(self.next_id(), call) for call in calls]
        answers = self.world.batch(*(self.call(id, *call) for id, call in named))
        for (id, call), answer in zip(named, answers, strict=True):
            expected = self.model.check(*call)
            self.assert_answer(answer, expected)
            self.model.note(id, expected)
        return multiple(*(id for id, _ in named))

    @rule(id=ids, resolution=st.sampled_from(["approve", "approve", "deny", "cancel", "confirm"]))
    def resolve(self, id: str, resolution: str) -> None:
        """Whoever is let through after all has been looked at again."""
        known, answer = self.model.decisions[id], self.world.run(resolving(id, resolution))
        if self.model.run_out(known) or known.status != "pending" or known.waits_for not in LIFTING.get(resolution, (known.waits_for,)):
            assert isinstance(answer, Conflict)
            return
        assert isinstance(answer, ResolveAnswer)
        self.model.settle(known, {"deny": "denied", "cancel": "cancelled"}.get(resolution, "approved"))
        assert answer.status.value == known.status

    @rule(id=ids, outcome=st.sampled_from(["success", "failure", "abandoned"]), cost=COSTS, amend=st.booleans())
    def review(self, id: str, outcome: str, cost: float | None, amend: bool) -> None:
        """The first counts, the same again is a duplicate, another one a conflict unless it amends."""
        known, details = self.model.decisions[id], dict[str, Any]() if cost is None else {"actual_cost": cost}
        answer = self.world.run(reviewing(id, outcome, amend=amend, **details))
        said = known.said
        if said is None:
            assert isinstance(answer, ReviewAnswer)
            self.model.review(known, outcome, cost)
            return
        changes_cost = amend and cost is not None and cost != said[1]
        if outcome == said[0] and not changes_cost:
            assert isinstance(answer, ReviewAnswer)
            assert answer.duplicate
        elif amend:
            assert isinstance(answer, ReviewAnswer)
            self.model.review(known, outcome, said[1] if cost is None else cost)
        else:
            assert isinstance(answer, Conflict)

    @rule(ms=st.sampled_from([1, CANCEL_MS - 1, CANCEL_MS, 30_000, 59_999, 60_000, 600_000, 3_599_999, 3_600_000, 43_200_000]))
    def wait(self, ms: int) -> None:
        self.world.hand.advance(ms)
        self.model.now += ms

    @rule()
    def sweep(self) -> None:
        """Time settles what is due, the longest due first."""
        self.world.sweep()
        for known in sorted(self.model.decisions.values(), key=lambda known: known.until):
            self.model.run_out(known)
        assert self.world.do(self.world.store.due_decisions()) == []

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(meter=st.sampled_from(list(METERS)), data=st.data())
    def reload(self, meter: str, data: st.DataObject) -> None:
        """Another limit for what comes; what is used stays used."""
        self.model.limits = {**self.model.limits, meter: data.draw(st.sampled_from(LIMITS[meter]))}
        self.world.policy = self.policy()

    @invariant()
    def the_tallies_are_what_adding_up_gives(self) -> None:
        if hasattr(self, "world"):
            for subject in ("agent:a", "agent:b", "global"):
                usage = self.stored(subject)
                for meter in METERS:
                    if self.model.subject(meter, subject[-1]) == subject:
                        assert self.used_now(usage, meter) == self.model.used(meter, subject), (subject, meter)

    @invariant()
    def reservations_settlements_and_returns_balance(self) -> None:
        if hasattr(self, "world"):
            assert self.used_now(self.stored("global"), "ever") == self.model.moved

    @invariant()
    def every_decision_is_what_the_model_says(self) -> None:
        if hasattr(self, "world"):
            with self.world.connected() as connection:
                rows = connection.execute(select(tables.decisions.c.id, tables.decisions.c.status)).all()
            assert {row.id: row.status for row in rows} == {id: known.status for id, known in self.model.decisions.items()}

    def stored(self, subject: str) -> Usage:
        with self.world.connected() as connection:
            text = connection.execute(select(tables.usage.c.data).where(tables.usage.c.subject == subject)).scalar_one_or_none()
        return usage_of(subject, text or "{}")

    def used_now(self, usage: Usage, meter: str) -> int:
        """What the row says, without what has left since and nobody has come to look."""
        name = next((name for name in usage.tallies if name.startswith(f"{meter}|")), None)
        if name is None:
            return 0
        tally = usage.tally(name, usage.tallies[name].span, self.model.now, BERLIN)
        if tally.span.rolling_ms is None:
            return tally.used
        cutoff = self.model.now - tally.span.rolling_ms
        of_meter = (tables.claims.c.meter == name, tables.claims.c.subject == usage.subject, tables.claims.c.at <= cutoff)
        with self.world.connected() as connection:
            return tally.used - sum(int(row.amount) for row in connection.execute(select(tables.claims.c.amount).where(*of_meter)))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
        shutil.rmtree(self.folder, ignore_errors=True)


BudgetsThroughTheService.TestCase.settings = hypothesis_settings(
    max_examples=28, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestBudgetsThroughTheService(BudgetsThroughTheService.TestCase):  # type: ignore[misc,valid-type]  # made by the library
    """Run by unittest's rules, as the library has it."""

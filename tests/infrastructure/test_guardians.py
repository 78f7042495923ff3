"""Those who are asked before a transition: only consent in time is consent, and nobody else waits for a guard that hangs (SPEC 8)."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from structlog.testing import capture_logs

from cstp_server.domain.expressions import EvaluationFailed, Subject
from cstp_server.domain.posture_guards import ConditionGuard, GuardRefusal, TransitionGuard, TransitionRequest
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.guardians import BrokenGuard, InstalledGuardians, load_guards

UPGRADE = TransitionRequest(
    agent_id="bot",
    from_posture=Posture.SUPERVISED,
    to_posture=Posture.ASSISTED,
    type=TransitionType.UPGRADE,
    requester="ops",
    reason="reliable",
    metadata={"tickets": [7]},
    acl_tier=2,
    score=0.9,
    reviewed=120,
)
EVERYTHING = frozenset(TransitionType)
OF_INSTALLED = frozenset({TransitionType.UPGRADE, TransitionType.MAINTAIN})
AT_ONCE = 0.05
"""A time limit that is over soon, in seconds."""


@dataclass
class Guard:
    """A guard of an installed package; `answers` is what it does."""

    name: str
    answers: Callable[[TransitionRequest], Any] = lambda _: None
    applies_to: frozenset[TransitionType] = frozenset({TransitionType.UPGRADE})
    asked: list[TransitionRequest] = field(default_factory=list)

    def check(self, request: TransitionRequest, /) -> Any:
        """Whatever it answers."""
        self.asked.append(request)
        return self.answers(request)


@dataclass(frozen=True)
class Spoken:
    """A condition of the policy with a given result."""

    result: bool | EvaluationFailed
    source: str = "…"

    def __call__(self, _subject: Subject, /) -> bool | EvaluationFailed:
        return self.result


def ask(guardians: InstalledGuardians, *guards: TransitionGuard, request: TransitionRequest = UPGRADE) -> GuardRefusal | None:
    """Who refuses."""
    return asyncio.run(guardians.ask(guards, request))


def fail(_request: TransitionRequest) -> None:
    """A guard's own mistake, with something in it that nobody should read."""
    raise ValueError("the password is hunter2")


def leave(_request: TransitionRequest) -> None:
    """A guard that wants to end the process."""
    raise SystemExit(3)


class Abrupt(BaseException):
    """What no ordinary `except` catches."""


def break_off(_request: TransitionRequest) -> None:
    """A guard that ends its thread in an unusual way."""
    raise Abrupt


async def later(_request: TransitionRequest) -> None:
    """An answer that is none yet."""


@contextmanager
def hanging() -> Iterator[Callable[[TransitionRequest], None]]:
    """A guard's check that hangs until the test is over."""
    let_go = threading.Event()

    def hang(_request: TransitionRequest) -> None:
        let_go.wait(60)

    try:
        yield hang
    finally:
        let_go.set()


def test_without_guards_nobody_refuses() -> None:
    """Neither the policy's nor installed ones."""
    assert ask(InstalledGuardians([])) is None


def test_the_first_refusal_wins_and_the_policy_is_asked_first() -> None:
    """In the policy's order, then the installed ones in theirs; who comes after a refusal is not asked any more."""
    first, second = Guard("first"), Guard("second", lambda _: "not today")
    third = Guard("third", lambda _: "never")
    guardians = InstalledGuardians([first, second, third])
    consents, refuses = ConditionGuard("consents", Spoken(result=True), "no"), ConditionGuard("refuses", Spoken(result=False), "not so")
    assert ask(guardians, consents, refuses) == GuardRefusal("refuses", "not so")
    assert (first.asked, second.asked) == ([], [])
    assert ask(guardians, consents) == GuardRefusal("second", "not today")
    assert (len(first.asked), third.asked) == (1, [])


def test_a_guard_is_asked_about_its_own_transitions_only() -> None:
    """The policy's and the installed ones."""
    installed = Guard("installed", lambda _: "no")
    of_policy = ConditionGuard("policy", Spoken(result=False), "no")
    assert ask(InstalledGuardians([installed]), of_policy, request=replace(UPGRADE, type=TransitionType.DOWNGRADE)) is None
    assert installed.asked == []


@pytest.mark.parametrize(
    ("answers", "reason", "event"),
    [
        (fail, "the guard failed", "guard_failed"),
        (leave, "the guard failed", "guard_failed"),
        (lambda _: True, "the guard gave no clear answer", "guard_unclear"),
        (lambda _: False, "the guard gave no clear answer", "guard_unclear"),
        (lambda _: "", "the guard gave no clear answer", "guard_unclear"),
        (lambda _: " \0\n", "the guard gave no clear answer", "guard_unclear"),
        (lambda _: ["no"], "the guard gave no clear answer", "guard_unclear"),
        (later, "the guard gave no clear answer", "guard_unclear"),
    ],
)
def test_only_consent_is_consent(answers: Callable[[TransitionRequest], Any], reason: str, event: str) -> None:
    """One that raises or answers something else has refused; what it raised is in the log and nowhere else."""
    with capture_logs() as logged:
        assert ask(InstalledGuardians([Guard("odd", answers)])) == GuardRefusal("odd", reason)
    assert [(entry["event"], entry["guard"], entry["agent"]) for entry in logged] == [(event, "odd", "bot")]


def test_a_guard_that_ends_its_thread_has_refused() -> None:
    """At once, and its place is free again."""
    guardians = InstalledGuardians([Guard("abrupt", break_off)], seconds=30, at_once=1)
    with capture_logs() as logged:
        assert [ask(guardians) for _ in range(2)] == [GuardRefusal("abrupt", "the guard failed")] * 2
    assert [entry["event"] for entry in logged] == ["guard_failed"] * 2


def test_a_guard_of_the_policy_that_raises_has_refused() -> None:
    """As any other."""
    with capture_logs() as logged:
        assert ask(InstalledGuardians([]), Guard("odd", fail)) == GuardRefusal("odd", "the guard failed")
    assert [entry["event"] for entry in logged] == ["guard_failed"]


@pytest.mark.parametrize(
    ("said", "told"),
    [(" not today\n", "not today"), ("no\0w", "now"), ("\ud800no", "?no"), ("x" * 5000, "x" * 2000)],
)
def test_a_reason_is_one_that_can_be_kept(said: str, told: str) -> None:
    """Trimmed, of bounded length, and without what no store takes."""
    assert ask(InstalledGuardians([Guard("a", lambda _: said)])) == GuardRefusal("a", told)


def test_a_guard_that_hangs_has_refused_and_is_in_the_log() -> None:
    """When its time is up."""
    with hanging() as hang, capture_logs() as logged:
        assert ask(InstalledGuardians([Guard("slow", hang)], seconds=AT_ONCE)) == GuardRefusal("slow", "the guard did not answer in time")
    assert [(entry["event"], entry["guard"]) for entry in logged] == [("guard_hangs", "slow")]


def test_a_guard_that_hangs_keeps_nobody_else_waiting() -> None:
    """Another transition, which it does not look at, goes through while it hangs, and the loop is free all the while."""

    async def both() -> tuple[GuardRefusal | None, bool]:
        with hanging() as hang:
            started, loop = asyncio.Event(), asyncio.get_running_loop()

            def tell_and_hang(request: TransitionRequest) -> None:
                loop.call_soon_threadsafe(started.set)
                hang(request)

            quick = Guard("quick", applies_to=frozenset({TransitionType.DOWNGRADE}))
            guardians = InstalledGuardians([Guard("slow", tell_and_hang), quick], seconds=30)
            upgrade = asyncio.create_task(guardians.ask((), UPGRADE))
            await started.wait()
            other = await guardians.ask((), replace(UPGRADE, type=TransitionType.DOWNGRADE))
            waits = not upgrade.done()
            upgrade.cancel()
            await asyncio.gather(upgrade, return_exceptions=True)
            return other, waits

    assert asyncio.run(both()) == (None, True)


def test_guards_that_hang_take_up_a_few_threads_and_no_more() -> None:
    """Once its places are taken, nobody asks it any more, and all that it would look at is refused; in the end they are free again."""

    async def crowd() -> tuple[list[GuardRefusal | None], int, GuardRefusal | None]:
        with hanging() as hang:
            slow = Guard("slow", hang)
            guardians = InstalledGuardians([slow], seconds=AT_ONCE, at_once=2)
            refused = await asyncio.gather(*(guardians.ask((), UPGRADE) for _ in range(9)))
            asked = len(slow.asked)
        slow.answers = lambda _: None
        answer: GuardRefusal | None = await guardians.ask((), UPGRADE)
        while answer is not None:
            answer = await guardians.ask((), UPGRADE)
        return list(refused), asked, answer

    assert asyncio.run(crowd()) == ([GuardRefusal("slow", "the guard did not answer in time")] * 9, 2, None)


def test_many_transitions_wait_for_a_place() -> None:
    """Who finds all places taken is asked about when one is free, in time."""
    seen: list[int] = []
    running: set[int] = set()
    lock = threading.Lock()

    def note(_request: TransitionRequest) -> None:
        me = threading.get_ident()
        with lock:
            running.add(me)
            seen.append(len(running))
        with lock:
            running.discard(me)

    async def crowd() -> list[GuardRefusal | None]:
        guardians = InstalledGuardians([Guard("busy", note)], seconds=30, at_once=2)
        return await asyncio.gather(*(guardians.ask((), UPGRADE) for _ in range(40)))

    assert asyncio.run(crowd()) == [None] * 40
    assert len(seen) == 40
    assert max(seen) <= 2


def test_a_guard_cannot_change_what_is_asked_for() -> None:
    """It has the metadata for itself."""

    def meddle(request: TransitionRequest) -> None:
        request.metadata["tickets"].append(8)
        request.metadata["security_approved"] = True  # type: ignore[index]  # what nobody should do

    after = Guard("after")
    assert ask(InstalledGuardians([Guard("meddler", meddle), after])) is None
    assert (UPGRADE.metadata, after.asked[0].metadata) == ({"tickets": [7]}, {"tickets": [7]})


class Installed:
    """A guard as a package has it."""

    name = "installed"
    applies_to = frozenset({"upgrade", "maintain"})

    def check(self, request: TransitionRequest) -> str | None:
        """Only 7 is a ticket."""
        return None if request.metadata.get("tickets") == [7] else "give a ticket"


class WithProperties(Guard):
    """A guard whose members are its instance's."""

    def __init__(self) -> None:
        super().__init__("made", applies_to=frozenset({TransitionType.DOWNGRADE}))


class Unmade(Installed):
    """A guard that cannot be made."""

    def __init__(self) -> None:
        raise RuntimeError("no configuration at s3://…")


class Nameless(Installed):
    name = " "


class Unchecked(Installed):
    check = None  # type: ignore[assignment]  # what nobody should do


class Asynchronous(Installed):
    async def check(self, request: TransitionRequest) -> str | None:  # type: ignore[override]  # what nobody should do
        return None


class Misspelt(Installed):
    applies_to = frozenset({"upgrades"})


class Letters(Installed):
    applies_to = "upgrade"  # type: ignore[assignment]  # what nobody should do


made = Installed()


def entry(value: str, name: str = "entry") -> EntryPoint:
    """An entry point to something in this file, or elsewhere."""
    return EntryPoint(name, value if ":" in value or "." in value else f"{__name__}:{value}", "cstp.guards")


@pytest.mark.parametrize("value", ["Installed", "made"])
def test_an_entry_point_is_a_class_or_an_object(value: str) -> None:
    """Its name is its own, and it is asked about its own transitions."""
    (guard,) = load_guards([entry(value)])
    assert (guard.name, guard.applies_to) == ("installed", OF_INSTALLED)
    guardians = InstalledGuardians([guard])
    assert ask(guardians) is None
    assert ask(guardians, request=replace(UPGRADE, metadata={})) == GuardRefusal("installed", "give a ticket")


def test_an_entry_point_s_members_may_be_its_instance_s() -> None:
    """A class is made first, and looked at then."""
    (guard,) = load_guards([entry("WithProperties")])
    assert (guard.name, guard.applies_to) == ("made", frozenset({TransitionType.DOWNGRADE}))


@pytest.mark.parametrize(
    ("value", "might_guard"),
    [
        ("there_is.no_such_module:Guard", EVERYTHING),
        ("NoSuchGuard", EVERYTHING),
        ("Unmade", OF_INSTALLED),
        ("Nameless", OF_INSTALLED),
        ("Unchecked", OF_INSTALLED),
        ("Asynchronous", OF_INSTALLED),
        ("Misspelt", EVERYTHING),
        ("Letters", EVERYTHING),
        ("ask", EVERYTHING),
    ],
)
def test_a_guard_that_does_not_load_refuses_all_that_it_might_guard(value: str, might_guard: frozenset[TransitionType]) -> None:
    """By the name of its entry point, with nothing of the reason but in the log; the other guards are there all the same."""
    with capture_logs() as logged:
        guards = load_guards([entry("Installed", "b"), entry(value, "a")])
    assert [(record["event"], record["guard"], record["log_level"]) for record in logged] == [("guard_not_loaded", "a", "error")]
    assert (guards[0], guards[1].name) == (BrokenGuard("a", might_guard), "installed")
    guardians = InstalledGuardians(guards)
    refused = {kind for kind in TransitionType if ask(guardians, request=replace(UPGRADE, type=kind)) is not None}
    assert refused == might_guard
    assert ask(guardians) == GuardRefusal("a", "the guard is installed and could not be loaded")


def test_a_guard_is_held_to_what_it_said_when_it_was_loaded() -> None:
    """It cannot come to look at less."""
    (guard,) = load_guards([entry("made")])
    made.applies_to = frozenset()
    try:
        assert TransitionType.UPGRADE in guard.applies_to
    finally:
        del made.applies_to


def test_guards_are_asked_by_the_names_of_their_entry_points() -> None:
    """Whatever the order in which packages were installed."""
    guards = load_guards([entry("WithProperties", "z"), entry("Installed", "a")])
    assert [guard.name for guard in guards] == ["installed", "made"]


def test_no_guards_are_installed_here() -> None:
    """The service brings none with it."""
    assert load_guards() == ()

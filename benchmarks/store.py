"""Whether a check costs the same however much the store has seen: the real store and transactor, in batches of 32."""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import Figure, median_of, show
from benchmarks.filling import fill_circuits, fill_decisions, new_store
from benchmarks.fleet import CALLER, fleet_facts
from benchmarks.policies import write_policy
from cstp_server.clock import SystemClock
from cstp_server.domain.decisions import Answer
from cstp_server.domain.facts import Facts
from cstp_server.policy.compiled import Policy
from cstp_server.policy.loading import load_policy
from cstp_server.services.checking import check
from cstp_server.services.requests import CheckRequest
from cstp_server.storage.calls import Limits
from cstp_server.storage.engine import database_url
from cstp_server.storage.store import Store

BATCH = 32
CIRCUITS = (10, 100, 1_000, 10_000, 100_000)
DECISIONS = (1_000, 10_000, 100_000, 1_000_000)
_FLAT = 1.5
"""How many times the smallest store's time a check may take in a larger one and still be called flat."""
_BATCHES = 25


@dataclass(frozen=True, slots=True)
class Case:
    """A store of some size, open, with the agents that its checks are about and how the ids that they carry are made."""

    size: int
    store: Store
    agents: int
    named: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """Microseconds a check: of the process's CPU, and until it was durable."""

    cpu: float
    wall: float


class NoGauges:
    """Nobody wants to know how the transactor is doing."""

    def committed(self, calls: int) -> None:
        """So many calls shared a transaction."""

    def commit_took(self, seconds: float) -> None:
        """A transaction was made durable."""

    def store_works(self, side: str, works: bool) -> None:
        """The store has begun, or ceased, to do what is asked of it."""

    def queued(self, depth: int) -> None:
        """So many calls wait now."""


def measure_circuits(folder: Path, rounds: int, sizes: Sequence[int] = CIRCUITS) -> list[Figure]:
    """Checks of agents that have a circuit in the store, by the number of circuits."""
    return _measure(folder / "circuits", sizes, fill_circuits, rounds, "circuits", circuits=True)


def measure_decisions(folder: Path, rounds: int, sizes: Sequence[int] = DECISIONS) -> list[Figure]:
    """Checks that bring an id of their own, which has to be looked for, by the number of decisions."""
    return _measure(folder / "decisions", sizes, fill_decisions, rounds, "decisions", circuits=False)


def _measure(
    folder: Path, sizes: Sequence[int], fill: Callable[[Path, int], None], rounds: int, noun: str, *, circuits: bool
) -> list[Figure]:
    folder.mkdir(parents=True, exist_ok=True)
    policy = load_policy(write_policy(folder / "policy.yaml"))
    facts = fleet_facts(7, 997)
    with ExitStack() as stack:
        cases = []
        for size in sizes:
            started = time.monotonic()
            path = folder / f"{size}.db"
            new_store(path)
            fill(path, size)
            filled = time.monotonic() - started
            store = stack.enter_context(_opened(path, policy))
            cases.append((Case(size, store, max(size, BATCH) if circuits else BATCH, not circuits), filled))
        spent = asyncio.run(_rounds([case for case, _ in cases], facts, rounds))
    return [figure for (case, filled) in cases for figure in _figures(case.size, spent, sizes[0], noun, filled)]


def _figures(size: int, spent: dict[int, list[Spent]], smallest: int, noun: str, filled: float) -> list[Figure]:
    name = f"check, {size:,} {noun} in the store"
    wall = statistics.median(each.wall for each in spent[size])
    cpu = median_of(
        name,
        (each.cpu for each in spent[size]),
        "µs CPU",
        note=f"{wall:.0f} µs until durable, batches of {BATCH}; filled in {filled:.1f} s",
    )
    if size == smallest:
        return [cpu]
    ratios = [mine.cpu / least.cpu for mine, least in zip(spent[size], spent[smallest], strict=True)]
    return [cpu, median_of(f"{name}, of that with {smallest:,}", ratios, "x", "at most", _FLAT)]


async def _rounds(cases: Sequence[Case], facts: Sequence[Facts], rounds: int) -> dict[int, list[Spent]]:
    """Rounds over all stores in turns; the first one warms up."""
    spent: dict[int, list[Spent]] = {case.size: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases:
            found = await _batches(case, facts, number)
            if number:
                spent[case.size].append(found)
    return spent


async def _batches(case: Case, facts: Sequence[Facts], number: int) -> Spent:
    cpu, wall = [], []
    for batch in range(_BATCHES):
        first = (number * _BATCHES + batch) * BATCH
        requests = [_request(case, facts, first + place) for place in range(BATCH)]
        started, used = time.perf_counter(), time.process_time()
        answers = await asyncio.gather(*(check(case.store.transactor, CALLER, request) for request in requests))
        cpu.append((time.process_time() - used) / BATCH * 1e6)
        wall.append((time.perf_counter() - started) / BATCH * 1e6)
        assert all(isinstance(answer, Answer) for answer in answers)
    return Spent(statistics.median(cpu), statistics.median(wall))


def _request(case: Case, facts: Sequence[Facts], number: int) -> CheckRequest:
    """The agents of a batch are all different, whatever the size of the store, and spread over all of it."""
    agent = f"agent-{number * 7919 % case.agents}"
    chosen = f"bench-{number:012d}" if case.named else None
    return CheckRequest(replace(facts[number % len(facts)], agent_id=agent), agent, "digest", chosen)


@contextmanager
def _opened(path: Path, policy: Policy) -> Iterator[Store]:
    store = Store(database_url(f"sqlite:///{path}"), lambda: policy, SystemClock(), NoGauges(), Limits())
    store.start()
    try:
        yield store
    finally:
        store.stop()


def main() -> None:
    """Print how a check's cost depends on the size of the store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="leave the million decisions out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("Circuits in the store", measure_circuits(Path(folder), options.rounds))
        show("Decisions in the store", measure_decisions(Path(folder), options.rounds, DECISIONS[:-1] if options.quick else DECISIONS))


if __name__ == "__main__":
    main()

"""Checks and reviews over HTTP, in turns with the bare route, so that whatever else the machine does meets both alike."""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.commits import commit_ms
from benchmarks.figures import Figure, median_of, show
from benchmarks.load import Generator, Measured, Plan, generator
from benchmarks.servers import Target, bare_route, service
from cstp_server.clock import new_id

MANY = 32
_WARMUP_SECONDS = 3.0
_CHECKS_A_REVIEW_ROUND = 1.6
"""Seconds of checks for each second of reviews, so that no review waits for want of decisions."""


class UnexpectedAnswers(Exception):
    """A server answered something else than it was asked for: the figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: the bare route and the service, one right after the other."""

    bare: Measured
    served: Measured


def compare(load: Generator, bare: Target, served: Target, connections: int, rounds: int, seconds: float) -> list[Pair]:
    """Rounds of bare route and service in turns."""
    pairs = []
    for number in range(rounds):
        one = run(load, Plan(bare.port, bare.pid, connections, seconds))
        two = run(load, Plan(served.port, served.pid, connections, seconds, token=served.agents_token, seed=number % 2))
        pairs.append(Pair(one, two))
    return pairs


def review(load: Generator, served: Target, rounds: int, seconds: float) -> list[Measured]:
    """Rounds of reviews, each of decisions that were checked just before."""
    measured: list[Measured] = []
    reviewed = checked = 0
    prefix = f"{new_id('bench')}-"
    common = Plan(served.port, served.pid, MANY, seconds, prefix=prefix, warmup=0.2)
    for _ in range(rounds):
        long = seconds * _CHECKS_A_REVIEW_ROUND
        checked += run(load, replace(common, kind="named_check", token=served.agents_token, first=checked, seconds=long)).asked
        most = max(1, (checked - reviewed) // 2 - MANY)
        measured.append(run(load, replace(common, kind="review", token=served.pipeline_token, first=reviewed, most=most)))
        reviewed += measured[-1].asked
        if reviewed > checked:
            raise UnexpectedAnswers("more decisions were reviewed than checked")
    return measured


def run(load: Generator, plan: Plan) -> Measured:
    """Carry out a plan. Raises `UnexpectedAnswers`."""
    measured = load.run(plan)
    if measured.unexpected or measured.lost:
        raise UnexpectedAnswers(f"{plan.kind}: {measured.unexpected} unexpected, {measured.lost} connections lost: {measured.example}")
    return measured


def figures_of(many: Sequence[Pair], one: Sequence[Pair], reviews: Sequence[Measured]) -> list[Figure]:
    """What the rounds say, with the targets."""
    everything = [measured for pair in (*many, *one) for measured in (pair.bare, pair.served)] + list(reviews)
    return [
        median_of("throughput, 32 connections, of the bare route", (p.served.rate / p.bare.rate for p in many), "x", "at least", 0.45),
        median_of(
            "median latency, 1 connection, of the bare route", (p.served.latency(0.5) / p.bare.latency(0.5) for p in one), "x", "at most", 3
        ),
        median_of("reviews, 32 connections", (m.rate for m in reviews), "/s", "at least", 2000),
        median_of("CPU of a check, of the bare route, 32 connections", (p.served.cpu_us / p.bare.cpu_us for p in many), "x"),
        median_of("CPU of a check, of the bare route, 1 connection", (p.served.cpu_us / p.bare.cpu_us for p in one), "x"),
        *_of_server("bare, 32 connections", [p.bare for p in many]),
        *_of_server("check, 32 connections", [p.served for p in many]),
        *_of_server("bare, 1 connection", [p.bare for p in one]),
        *_of_server("check, 1 connection", [p.served for p in one]),
        *_of_server("review, 32 connections", reviews),
        median_of("load generator's own CPU", (m.generator_us for m in everything), "µs/request"),
        median_of("cores busy with something else", (m.others for m in everything), "cores"),
    ]


def measure(folder: Path, rounds: int, seconds: float, database_url: str | None = None) -> list[Figure]:
    """Everything about HTTP."""
    with generator() as load, bare_route() as bare, service(folder, database_url=database_url) as served:
        warm_up(load, bare, served)
        many = compare(load, bare, served, MANY, rounds, seconds)
        one = compare(load, bare, served, 1, rounds, seconds)
        reviews = review(load, served, max(3, rounds // 2), seconds)
    figures = figures_of(many, one, reviews)
    if database_url is not None:
        return figures
    return [*figures, *with_tripwires(folder / "tripwires", rounds, seconds), *with_constraints(folder, rounds, seconds), _floor(folder)]


def with_tripwires(folder: Path, rounds: int, seconds: float) -> list[Figure]:
    """Checks under a policy with 10 tripwires, two quotas and a budget among them."""
    with generator() as load, bare_route() as bare, service(folder, tripwires=True) as served:
        warm_up(load, bare, served)
        many = compare(load, bare, served, MANY, rounds, seconds)
    return _with("10 tripwires", many)


def with_constraints(folder: Path, rounds: int, seconds: float) -> list[Figure]:
    """Checks under a policy with two constraints, one of which the service counts for by itself."""
    with generator() as load, bare_route() as bare, service(folder / "constraints", constraints=True) as served:
        warm_up(load, bare, served)
        many = compare(load, bare, served, MANY, rounds, seconds)
    return _with("2 constraints", many)


def _with(what: str, many: Sequence[Pair]) -> list[Figure]:
    name = f"with {what}, 32 connections"
    return [
        median_of(f"throughput, {name}, of the bare route", (p.served.rate / p.bare.rate for p in many), "x", "at least", 0.40),
        *_of_server(f"check, {name}", [p.served for p in many]),
    ]


def warm_up(load: Generator, bare: Target, served: Target) -> None:
    """Let both servers import, cache and connect."""
    run(load, Plan(bare.port, bare.pid, MANY, _WARMUP_SECONDS / 3))
    run(load, Plan(served.port, served.pid, MANY, _WARMUP_SECONDS, token=served.agents_token))


def _floor(folder: Path) -> Figure:
    note = "no durable answer at 1 connection can be quicker"
    return Figure("one row committed by SQLite alone, FULL", commit_ms(folder), "ms", note=note)


def _of_server(name: str, rounds: Sequence[Measured]) -> list[Figure]:
    allowed = statistics.median(measured.allowed / max(1, measured.answers) for measured in rounds)
    latencies = "p50 {:.2f} p95 {:.2f} p99 {:.2f} ms".format(
        *(statistics.median(measured.latency(share) for measured in rounds) * 1e3 for share in (0.5, 0.95, 0.99))
    )
    note = latencies if name.startswith(("bare", "review")) else f"{latencies}, {allowed:.0%} allowed"
    loop = statistics.median(measured.loop_us for measured in rounds)
    return [
        median_of(f"{name}: rate", (measured.rate for measured in rounds), "/s", note=note),
        median_of(
            f"{name}: CPU", (measured.cpu_us for measured in rounds), "µs/request", note=f"{loop:.0f} of it on the event loop's thread"
        ),
    ]


def main() -> None:
    """Print the figures of HTTP alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    parser.add_argument("--postgres", metavar="URL", help="measure on this PostgreSQL database as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("HTTP, SQLite", measure(Path(folder), options.rounds, options.seconds))
        if options.postgres is not None:
            show("HTTP, PostgreSQL", measure(Path(folder) / "postgres", options.rounds, options.seconds, options.postgres))


if __name__ == "__main__":
    main()

"""Whether checks are slower while people keep dashboards open: rounds without and with them, in turns."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, median_of, show
from benchmarks.http import MANY, run
from benchmarks.load import Generator, Measured, Plan, generator
from benchmarks.processes import cpu_time
from benchmarks.servers import Target, service
from benchmarks.watching import Dashboards, Watched, dashboards
from cstp_server.client import Client

OPEN = 50
SECONDS = 6.0
"""Of each round: dashboards are told of checks every three seconds, so that each round has as many messages as the next."""
_WARMUP_SECONDS = 3.0
_UNMOVED = 0.95
"""The part of the throughput that must be left for it not to have moved; rounds differ by as much."""
_QUIET_SECONDS = 12.0
_PAUSE_SECONDS = 0.25
_LITTLE = 0.05
"""The part of a core that open dashboards may take of a service that is asked little."""


@dataclass(frozen=True, slots=True)
class Round:
    """Checks without dashboards and with them, one right after the other."""

    alone: Measured
    watched: Measured
    seen: Watched


def compare(load: Generator, served: Target, watchers: Dashboards, rounds: int, seconds: float) -> list[Round]:
    """Rounds in turns; every second one begins with the dashboards open."""
    return [_round(load, served, watchers, number, seconds) for number in range(rounds)]


def _round(load: Generator, served: Target, watchers: Dashboards, number: int, seconds: float) -> Round:
    plan = Plan(served.port, served.pid, MANY, seconds, token=served.agents_token, seed=number % 2)
    if number % 2:
        watched, seen = _while_open(load, plan, watchers)
        return Round(run(load, plan), watched, seen)
    alone = run(load, plan)
    return Round(alone, *_while_open(load, plan, watchers))


def _while_open(load: Generator, plan: Plan, watchers: Dashboards) -> tuple[Measured, Watched]:
    watchers.open()
    measured = run(load, plan)
    return measured, watchers.close()


def cost(served: Target, watchers: Dashboards, count: int) -> Figure:
    """What open dashboards take of a core while there are a few checks a second, which is little else: no rush blurs it."""
    alone = _quiet(served)
    watchers.open()
    watched = _quiet(served)
    seen = watchers.close()
    note = f"{seen.refreshes / seen.seconds:.0f} pages fetched anew a second, {statistics.median(seen.took) * 1e3:.0f} ms each"
    return Figure(f"CPU of {count} dashboards, 4 checks a second", watched - alone, "cores", "at most", _LITTLE, note=note)


def _quiet(served: Target) -> float:
    """The cores that the server uses meanwhile."""
    with Client(f"http://127.0.0.1:{served.port}", served.agents_token) as client:
        before, began = cpu_time(served.pid), time.monotonic()
        while time.monotonic() < began + _QUIET_SECONDS:
            client.check("look whether something is new", agent="onlooker")
            time.sleep(_PAUSE_SECONDS)
        return cpu_time(served.pid).since(before).total / (time.monotonic() - began)


def figures_of(rounds: Sequence[Round], count: int) -> list[Figure]:
    """What the rounds say."""
    name = f"{count} dashboards open, of that without"
    return [
        median_of(
            f"throughput, 32 connections, {name}", (each.watched.rate / each.alone.rate for each in rounds), "x", "at least", _UNMOVED
        ),
        median_of(f"CPU of the server per check, {name}", (each.watched.cpu_us / each.alone.cpu_us for each in rounds), "x"),
        median_of(f"median latency, {name}", (each.watched.latency(0.5) / each.alone.latency(0.5) for each in rounds), "x"),
        median_of(f"99th percentile of latency, {name}", (each.watched.latency(0.99) / each.alone.latency(0.99) for each in rounds), "x"),
        median_of("check, without", (each.alone.rate for each in rounds), "/s", note=_latencies([each.alone for each in rounds])),
        median_of("check, with", (each.watched.rate for each in rounds), "/s", note=_latencies([each.watched for each in rounds])),
        *_of_dashboards([each.seen for each in rounds]),
        median_of("cores busy with something else, without", (each.alone.others for each in rounds), "cores"),
    ]


def _of_dashboards(seen: Sequence[Watched]) -> list[Figure]:
    kilobytes = sum(each.received for each in seen) / max(1, sum(each.refreshes for each in seen)) / 1000
    return [
        median_of("messages to dashboards", (each.messages / each.seconds for each in seen), "/s"),
        median_of("pages fetched anew", (each.refreshes / each.seconds for each in seen), "/s", note=f"{kilobytes:.0f} kB each"),
        median_of("a page fetched anew", (statistics.median(each.took) * 1e3 for each in seen if each.took), "ms"),
        median_of("dashboards' own CPU, which nobody else has meanwhile", (each.cpu / each.seconds for each in seen), "cores"),
    ]


def _latencies(rounds: Sequence[Measured]) -> str:
    return "p50 {:.2f} p95 {:.2f} p99 {:.2f} ms".format(
        *(statistics.median(measured.latency(share) for measured in rounds) * 1e3 for share in (0.5, 0.95, 0.99))
    )


def measure(folder: Path, rounds: int, seconds: float = SECONDS, count: int = OPEN, database_url: str | None = None) -> list[Figure]:
    """The figures with so many dashboards open."""
    with generator() as load, service(folder, database_url=database_url) as served:
        assert served.agents_token is not None
        with dashboards(served.port, served.agents_token, count) as watchers:
            run(load, Plan(served.port, served.pid, MANY, _WARMUP_SECONDS, token=served.agents_token))
            figures = figures_of(compare(load, served, watchers, rounds, seconds), count)
            return [figures[0], cost(served, watchers, count), *figures[1:]]


def main() -> None:
    """Print what open dashboards cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboards", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each round")
    parser.add_argument("--dashboards", type=int, default=OPEN, help="how many are open")
    parser.add_argument("--postgres", metavar="URL", help="measure on this PostgreSQL database instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("Dashboards", measure(Path(folder), options.rounds, options.seconds, options.dashboards, options.postgres))


if __name__ == "__main__":
    main()

"""Whether the server's memory grows with what it has answered."""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, show
from benchmarks.http import MANY, run
from benchmarks.load import Generator, Plan, generator
from benchmarks.processes import resident_bytes
from benchmarks.servers import Target, service

_SAMPLES = 40
_WARM_SHARE = 0.4
"""The part of the run in which caches fill (the database's page cache above all); it is not looked at."""
_PATIENCE_SECONDS = 600.0
_MEBIBYTE = 1024 * 1024
_FEW_BYTES = 4.0
"""Growth per check that a million checks would not show (4 MiB); a check itself takes about 2 KB on its way."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's memory after so many checks."""

    checks: int
    resident: int


def watch(load: Generator, served: Target, checks: int) -> list[Sample]:
    """Have so many checks answered, and look at the server's memory now and then."""
    samples: list[Sample] = []
    done = 0
    while done < checks:
        plan = Plan(
            served.port,
            served.pid,
            MANY,
            _PATIENCE_SECONDS,
            token=served.agents_token,
            warmup=0,
            most=max(1, checks // _SAMPLES),
            seed=len(samples) % 4,
        )
        done += run(load, plan).asked
        samples.append(Sample(done, resident_bytes(served.pid)))
    return samples


def figures_of(samples: Sequence[Sample]) -> list[Figure]:
    """The growth after the warm-up: the median slope of all pairs of samples, which one jump does not move."""
    settled = samples[int(len(samples) * _WARM_SHARE) :]
    slope = slope_of(settled)
    grown = (settled[-1].resident - settled[0].resident) / _MEBIBYTE
    over = settled[-1].checks - settled[0].checks
    course = " ".join(f"{sample.resident / _MEBIBYTE:.0f}" for sample in samples[:: max(1, len(samples) // 10)])
    return [
        Figure("growth after warm-up", slope, "bytes/check", "at most", _FEW_BYTES, note=f"{grown:+.1f} MiB over {over:,} checks"),
        Figure(
            "memory at the end", samples[-1].resident / _MEBIBYTE, "MiB", note=f"{samples[-1].checks:,} checks; its course: {course} MiB"
        ),
    ]


def slope_of(samples: Sequence[Sample]) -> float:
    """Bytes per check, by the median of the slopes between all pairs of samples (Theil and Sen)."""
    slopes = [
        (later.resident - earlier.resident) / (later.checks - earlier.checks)
        for place, earlier in enumerate(samples)
        for later in samples[place + 1 :]
    ]
    return statistics.median(slopes)


def measure(folder: Path, checks: int) -> list[Figure]:
    """The figures of a run of so many checks."""
    with generator() as load, service(folder) as served:
        return figures_of(watch(load, served, checks))


def main() -> None:
    """Print how the server's memory grows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--checks", type=int, default=200_000)
    parser.add_argument("--full", action="store_true", help="a million checks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("Memory", measure(Path(folder), 1_000_000 if options.full else options.checks))


if __name__ == "__main__":
    main()

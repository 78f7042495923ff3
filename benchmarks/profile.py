"""Where the service's time goes, thread by thread, while it answers a fleet (takes `py-spy`)."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.http import MANY, run
from benchmarks.load import Generator, Kind, Measured, Plan, generator
from benchmarks.servers import Target, service

_HERTZ = 500
_CHECKS_FIRST = 2.0
_WORTH_SHOWING_US = 1.0
_WAITING = ("Runner.run ", "BatchTransactor._work ", "_worker (concurrent", "WorkerThread.run ", "Condition.wait ", "wait (threading")


class Sample(NamedTuple):
    """A stack, outermost first, and how often it was seen."""

    thread: str
    frames: tuple[str, ...]
    times: int


def record(served: Target, load: Generator, kind: Kind, connections: int, seconds: float, file: Path, *, native: bool = False) -> Measured:
    """Load the service and sample its threads meanwhile."""
    if kind == "review":
        _check_first(served, load, seconds)
    token = served.pipeline_token if kind == "review" else served.agents_token
    plan = Plan(served.port, served.pid, connections, seconds + 1.0, kind, token=token, warmup=0.5)
    command = [_py_spy(), "record", "--pid", str(served.pid), "--duration", str(round(seconds)), "--rate", str(_HERTZ)]
    options = ["--format", "raw", "--threads", "--output", str(file), *(["--native"] if native else [])]
    with ThreadPoolExecutor(1) as beside:
        sampling = beside.submit(subprocess.run, [*command, *options], check=True, capture_output=True)
        measured = run(load, plan)
        sampling.result()
    return measured


def read(file: Path) -> list[Sample]:
    """The samples of a recording."""
    samples = []
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(stack.split(";"))
        thread = next((frame for frame in frames if frame.startswith("thread (")), "thread")
        samples.append(Sample(thread, tuple(frame for frame in frames if frame != thread), int(count)))
    return samples


def self_time(samples: Iterable[Sample]) -> Counter[str]:
    """How often each function was the innermost one."""
    counts: Counter[str] = Counter()
    for sample in samples:
        counts[_function(sample.frames[-1])] += sample.times
    return counts


def total_time(samples: Iterable[Sample]) -> Counter[str]:
    """How often each function was on the stack."""
    counts: Counter[str] = Counter()
    for sample in samples:
        for function in {_function(frame) for frame in sample.frames}:
            counts[function] += sample.times
    return counts


def report(samples: Iterable[Sample], measured: Measured, most: int) -> str:
    """The functions that cost most, in microseconds of CPU time per answer, for each thread that costs anything."""
    busy: dict[str, list[Sample]] = {}
    for sample in samples:
        if not _idle(sample):
            busy.setdefault(sample.thread, []).append(sample)
    parts = []
    for thread, own in busy.items():
        used = measured.server.threads.get(_thread_id(thread), 0.0) / max(1, measured.answers) * 1e6
        if used >= _WORTH_SHOWING_US:
            parts.append((used, own, f"## {thread}: {used:.0f} µs per answer\n"))
    parts.sort(key=lambda part: -part[0])
    return "\n".join(
        head + _top("self", self_time(own), used, most) + _top("with what it calls", total_time(own), used, most * 2)
        for used, own, head in parts
    )


def _top(title: str, counts: Counter[str], used: float, most: int) -> str:
    total = max(counts.total() if title == "self" else max(counts.values()), 1)
    lines = [f"{count / total * used:7.1f} µs {count / total:6.1%}  {name}" for name, count in counts.most_common(most)]
    return f"\n{title}:\n" + "\n".join(lines) + "\n"


def _idle(sample: Sample) -> bool:
    """Whether the thread waits for work; the sampler takes a wait for a lock, or for the loop's next event, for work."""
    return _function(sample.frames[-1]).startswith(_WAITING)


def _thread_id(thread: str) -> int:
    """The number in `thread (4711): name`."""
    return int(thread.partition("(")[2].partition(")")[0])


def _function(frame: str) -> str:
    """A frame without its line number, and the project's files by their own path."""
    name, _, place = frame.partition(" (")
    file = place.rpartition(":")[0] or place.rstrip(")")
    parts = Path(file).parts
    if "site-packages" in parts:
        file = "/".join(parts[parts.index("site-packages") + 1 :])
    return f"{name} ({file})" if file else name


def _check_first(served: Target, load: Generator, seconds: float) -> None:
    """Check the decisions that will be reviewed."""
    run(load, Plan(served.port, served.pid, MANY, seconds * _CHECKS_FIRST + 3, "named_check", token=served.agents_token, warmup=0))


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise SystemExit("`py-spy` is not installed: `pip install py-spy`")
    return found


def main() -> None:
    """Print where the time goes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--kind", choices=("check", "named_check", "review"), default="check")
    parser.add_argument("--connections", type=int, default=MANY)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--native", action="store_true", help="look into compiled code as well")
    parser.add_argument("--raw", type=Path, metavar="FILE", help="keep the stacks, for a flame graph")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder, generator() as load, service(Path(folder)) as served:
        run(load, Plan(served.port, served.pid, MANY, 2.0, token=served.agents_token))
        file = Path(folder) / "stacks.txt"
        measured = record(served, load, options.kind, options.connections, options.seconds, file, native=options.native)
        print(f"{options.kind}, {options.connections} connections, while sampled: {measured.cpu_us:.0f} µs CPU, {measured.rate:.0f}/s\n")
        print(report(read(file), measured, options.top))
        if options.raw is not None:
            shutil.copy(file, options.raw)


if __name__ == "__main__":
    main()

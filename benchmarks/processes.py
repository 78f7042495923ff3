"""What the kernel knows of a process: the CPU time of its threads, and the memory it holds (Linux)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU time, user and system, of each thread of a process."""

    pid: int
    threads: Mapping[int, float]

    @property
    def main(self) -> float:
        """Of the main thread, which has the event loop."""
        return self.threads[self.pid]

    @property
    def total(self) -> float:
        """Of all threads together."""
        return sum(self.threads.values())

    def since(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(self.pid, {thread: used - earlier.threads.get(thread, 0.0) for thread, used in self.threads.items()})


def cpu_time(pid: int) -> CpuTime:
    """What a process has used so far, to the nanosecond; threads that have ended no longer count."""
    return CpuTime(pid, {int(task.name): _on_cpu(task) for task in Path(f"/proc/{pid}/task").iterdir()})


def resident_bytes(pid: int) -> int:
    """The memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def busy_seconds() -> float:
    """Seconds that all cores together were busy since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _on_cpu(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0

"""What deciding alone costs: the use case's own code on circuits that are at hand, without database, wire or threads."""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, median_of, show
from benchmarks.fleet import CALLER, check_of, fleet_facts
from benchmarks.policies import write_policy
from cstp_server.clock import SystemClock
from cstp_server.domain.circuit_state import Circuit
from cstp_server.domain.facts import Facts
from cstp_server.policy.compiled import Policy
from cstp_server.policy.loading import load_policy
from cstp_server.storage.loading import Loaded, TenantView

_CHECKS = 3200
_BATCH = 32
_TARGETS = ((20, 30.0), (1000, 60.0))


@dataclass(frozen=True, slots=True)
class Round:
    """Microseconds of CPU time a check: to classify it and say what it needs, and to decide it."""

    needs: float
    decide: float


def measure(folder: Path, rounds: int) -> list[Figure]:
    """The figures, for each size of policy."""
    figures: list[Figure] = []
    policies = [
        (circuits, target, load_policy(write_policy(folder / f"policy-{circuits}.yaml", circuits))) for circuits, target in _TARGETS
    ]
    facts = fleet_facts(1, _CHECKS)
    measured: dict[int, list[Round]] = {circuits: [] for circuits, _ in _TARGETS}
    for number in range(rounds + 1):
        for circuits, _, policy in policies:
            one = run(policy, facts)
            if number:
                measured[circuits].append(one)
    for circuits, target, _ in policies:
        found = measured[circuits]
        name = f"policy of {circuits:,} circuits, 10 rules"
        figures.append(median_of(f"decide, {name}", (each.decide for each in found), "µs CPU"))
        figures.append(median_of(f"classify and needs, {name}", (each.needs for each in found), "µs CPU"))
        figures.append(median_of(f"both, {name}", (each.needs + each.decide for each in found), "µs CPU", "at most", target))
    return figures


def run(policy: Policy, facts: Sequence[Facts]) -> Round:
    """Decide once on each of the facts, in batches as the transactor does, and see that the answers are answers."""
    needs_s = decide_s = 0.0
    now = SystemClock().now()
    for first in range(0, len(facts), _BATCH):
        checks = [check_of(each) for each in facts[first : first + _BATCH]]
        loaded = Loaded()
        view = TenantView(loaded, CALLER.tenant)
        started = time.thread_time()
        wanted = [check.needs(policy, view) for check in checks]
        needs_s += time.thread_time() - started
        loaded.circuits = {(CALLER.tenant, scope): Circuit(scope) for needs in wanted for scope in needs.circuits}
        started = time.thread_time()
        decided = [check.decide(policy, view, now) for check in checks]
        decide_s += time.thread_time() - started
        assert all(each.new_decision is not None and each.events for each in decided)
    return Round(needs_s / len(facts) * 1e6, decide_s / len(facts) * 1e6)


def main() -> None:
    """Print the figures of deciding alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decide", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("Deciding alone", measure(Path(folder), options.rounds))


if __name__ == "__main__":
    main()

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
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.circuit_state import Circuit
from cstp_server.domain.facts import Facts
from cstp_server.domain.usage import Usage
from cstp_server.policy.compiled import Policy
from cstp_server.policy.loading import load_policy
from cstp_server.storage.loading import Loaded, TenantView

_CHECKS = 3200
_BATCH = 32
_POLICIES = {
    "20 circuits, 10 rules": (20, False, False, 30.0),
    "1,000 circuits, 10 rules": (1000, False, False, 60.0),
    "20 circuits, 10 rules, 10 tripwires": (20, True, False, None),
    "20 circuits, 10 rules, 2 constraints": (20, False, True, None),
}
"""How many circuits each policy has, whether it has tripwires, and constraints, and what deciding may cost at most, in µs."""


@dataclass(frozen=True, slots=True)
class Round:
    """Microseconds of CPU time a check: to classify it and say what it needs, and to decide it."""

    needs: float
    decide: float


def measure(folder: Path, rounds: int) -> list[Figure]:
    """The figures, for each size of policy."""
    figures: list[Figure] = []
    policies = {
        name: load_policy(write_policy(folder / f"policy-{number}.yaml", circuits, tripwires=tripwires, constraints=constraints))
        for number, (name, (circuits, tripwires, constraints, _)) in enumerate(_POLICIES.items())
    }
    facts = fleet_facts(1, _CHECKS)
    measured: dict[str, list[Round]] = {name: [] for name in policies}
    for number in range(rounds + 1):
        for name, policy in policies.items():
            one = run(policy, facts)
            if number:
                measured[name].append(one)
    for name, found in measured.items():
        *_, target = _POLICIES[name]
        figures.append(median_of(f"decide, policy of {name}", (each.decide for each in found), "µs CPU"))
        figures.append(median_of(f"classify and needs, policy of {name}", (each.needs for each in found), "µs CPU"))
        figures.append(median_of(f"both, policy of {name}", (each.needs + each.decide for each in found), "µs CPU", "at most", target))
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
        loaded.usage = {(CALLER.tenant, subject): Usage(subject) for needs in wanted for subject in needs.usage}
        loaded.habits = {(CALLER.tenant, agent_id): AgentHabits(agent_id) for needs in wanted for agent_id in needs.habits}
        loaded.postures = {(CALLER.tenant, agent_id): None for needs in wanted for agent_id in needs.postures}
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

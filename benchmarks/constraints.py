"""What holding a context against constraints costs, in-process: bounds as the policy has them, and a context as it came in."""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, median_of, show
from cstp_server.clock import SystemClock
from cstp_server.dimensions.contexts import prepared
from cstp_server.domain.constraints import Bound, evaluate
from cstp_server.domain.facts import Facts
from cstp_server.policy.compiled import Policy
from cstp_server.policy.loading import load_policy

_EVALUATIONS = 20_000
_TWO = """
constraints: {global: {cost_limit: 1000, rate_limit: 100/minute}}
"""
_SIX = """
time_zone: Europe/Berlin
constraints:
  internal_domains: [corp.example]
  global:
    cost_limit: 1000
    time_window: 00:00-23:59
    resources: ["data/**", "logs/*.log", "reports/**/*.csv"]
    rate_limit: 100/minute
    data_access: {mode: no_pii, allowed_classifications: [internal, confidential]}
    communication: {mode: allowed_domains, allowed_domains: [api.openai.com, anthropic.com, "*.corp.example"]}
  categories:
    maintenance: {resources: ["data/**/*.json", "logs/**"], rate_limit: 10/second}
"""
_POLICIES = {"two dimensions": (_TWO, 15.0), "six dimensions": (_SIX, 40.0)}
"""Each policy, and what an evaluation may cost at most, in µs."""


def measure(folder: Path, rounds: int) -> list[Figure]:
    """The figures, with the context prepared beforehand, and with that in it."""
    figures: list[Figure] = []
    for number, (name, (text, target)) in enumerate(_POLICIES.items()):
        path = folder / f"policy-{number}.yaml"
        path.write_text(text)
        policy = load_policy(path)
        runs = [run(policy) for _ in range(rounds + 1)][1:]
        figures.append(median_of(f"evaluate {name}", (evaluated for evaluated, _ in runs), "µs CPU", "at most", target))
        figures.append(median_of(f"prepare and evaluate {name}", (whole for _, whole in runs), "µs CPU"))
    return figures


def run(policy: Policy) -> tuple[float, float]:
    """Microseconds an evaluation: of a context that is prepared, and of one that is not."""
    constraints = policy.constraints
    bounds = constraints.bounds_of(Facts(description="an action", agent_id="agent", category="maintenance"))
    contexts = list(_contexts())
    now = SystemClock().now()
    ready = [prepared(context, now, policy.time_zone) for context in contexts]
    started = time.thread_time()
    for context in ready:
        evaluate(bounds, context, constraints.mode)
    evaluated = time.thread_time() - started
    started = time.thread_time()
    for context in contexts:
        evaluate(bounds, prepared(context, now, policy.time_zone), constraints.mode)
    whole = time.thread_time() - started
    _see_that_it_bounds(bounds, ready, policy)
    return evaluated / len(contexts) * 1e6, whole / len(contexts) * 1e6


def _contexts() -> Iterator[dict[str, Any]]:
    """Contexts that do not repeat each other."""
    for number in range(_EVALUATIONS):
        yield {
            "cost_used": number % 1000 + 0.5,
            "resource_requested": f"data/year={number % 50}/part-{number}.json",
            "requests_in_period": number % 10,
            "contains_pii": False,
            "data_classification": "internal",
            "communication_target": f"https://node-{number % 2000}.corp.example:8443/v1/items/{number}",
        }


def _see_that_it_bounds(bounds: Sequence[Bound], contexts: Sequence[dict[str, Any]], policy: Policy) -> None:
    mode = policy.constraints.mode
    assert all(evaluate(bounds, context, mode).satisfied for context in contexts[::100])
    assert not evaluate(bounds, {**contexts[0], "cost_used": 1000.01}, mode).satisfied


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constraints", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("Constraints alone", measure(Path(folder), options.rounds))


if __name__ == "__main__":
    main()

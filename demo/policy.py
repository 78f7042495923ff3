"""The demo's policy at the speed of its story."""

from pathlib import Path
from typing import Any

import yaml

_POLICY = Path(__file__).with_name("policy.yaml")
_SHORTEST_MS = 100


def write_policy(path: Path, speed: float) -> Path:
    """The policy with every duration divided by `speed`, as a file."""
    policy = yaml.safe_load(_POLICY.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(_faster(policy, speed), sort_keys=False), encoding="utf-8")
    return path


def _faster(value: Any, speed: float) -> Any:
    if isinstance(value, list):
        return [_faster(inner, speed) for inner in value]
    if not isinstance(value, dict):
        return value
    return {name: _duration(name, inner, speed) for name, inner in value.items()}


def _duration(name: str, value: Any, speed: float) -> Any:
    if name.endswith("_ms"):
        return max(_SHORTEST_MS, round(value / speed))
    return value / speed if name.endswith("_hours") else _faster(value, speed)

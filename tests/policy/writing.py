"""Policies for the tests, written to a folder of their own."""

from pathlib import Path

import pytest

from cstp_server.domain.charges import Examined, examine
from cstp_server.domain.expressions import Subject, subject_of
from cstp_server.domain.facts import Facts, fold_name
from cstp_server.domain.words import words_of
from cstp_server.policy.compiled import Policy
from cstp_server.policy.loading import load_policy
from cstp_server.policy.problems import BadPolicy


def write(folder: Path, text: str, name: str = "policy.yaml") -> Path:
    """A policy file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def policy_of(folder: Path, text: str) -> Policy:
    """The policy that a text describes."""
    return load_policy(write(folder, text))


def complaints(path: Path) -> list[str]:
    """What is wrong with the policy at `path`, with file names instead of paths."""
    with pytest.raises(BadPolicy) as caught:
        load_policy(path)
    folder = path if path.is_dir() else path.parent
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def complaints_about(folder: Path, text: str) -> list[str]:
    """What is wrong with a policy text."""
    return complaints(write(folder, text))


def subject(posture: str = "supervised", **facts: object) -> Subject:
    """The subject of an action; what is not given is what an agent that says nothing sends."""
    return subject_of(Facts(**{"description": "an action", "agent_id": "agent", **facts}), posture=posture)  # type: ignore[arg-type]  # facts by name


def facts(*, type: str | None = None, **given: object) -> Facts:
    """An action as it is declared; its type is folded, and split into words, as at the door."""
    named = {"type": fold_name(type), "type_words": words_of(type)} if type is not None else {}
    return Facts(**{"description": "an action", "agent_id": "agent", **named, **given})  # type: ignore[arg-type]  # facts by name


def examined(policy: Policy, *, type: str | None = None, **given: object) -> Examined:
    """What the policy's tripwires make of an action."""
    action = facts(type=type, **given)
    acl_tier = policy.agents.acl_tier(action.agent_id)
    return examine(policy.tripwires.of(action.agent_id), subject_of(action, posture="supervised", acl_tier=acl_tier), action, acl_tier)


def messages(policy: Policy, *, type: str | None = None, **given: object) -> list[str]:
    """What they say of it."""
    return [finding.message for finding in examined(policy, type=type, **given).findings]

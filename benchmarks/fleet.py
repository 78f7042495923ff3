"""The checks of a fleet in the form that the use cases take, without the wire."""

import random
from typing import Any

from benchmarks.bodies import check_params
from cstp_server.clock import new_id
from cstp_server.domain.callers import Caller, Role, effective_roles
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.words import words_of
from cstp_server.services.checking import Check
from cstp_server.services.requests import CheckRequest

CALLER = Caller("fleet", effective_roles(frozenset({Role.OPS})))


def facts_of(params: dict[str, Any]) -> Facts:
    """The facts of a check's params."""
    action = params["action"]
    return Facts(
        description=action["description"],
        agent_id=params["agent"]["id"],
        type=action["type"],
        type_words=words_of(action["type"]),
        category=action["category"],
        stakes=Stakes(action["stakes"]),
        confidence=action["confidence"],
        tags=tuple(action["tags"]),
        parameters=action["parameters"],
        context=action["context"],
        user_id=params["user"]["id"],
        user_domain=params["user"]["domain"],
    )


def fleet_facts(seed: int, count: int) -> list[Facts]:
    """What a fleet declares."""
    draw = random.Random(seed)
    return [facts_of(check_params(draw)) for _ in range(count)]


def check_of(facts: Facts) -> Check:
    """A check as the transactor carries it out."""
    return Check(CALLER, CheckRequest(facts, facts.agent_id, "digest"), facts, new_id("dec"))

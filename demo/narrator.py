"""Tells in the terminal what can be seen on the dashboard: circuits that open and recover, and agents whose posture moves."""

from collections.abc import Iterable

from demo.agents import JOBS
from demo.rogue import ROGUE
from demo.stage import Stage

_LOOKS_EVERY = 0.5
_AGENTS = (*(job.agent for job in JOBS), ROGUE)


async def narrate(stage: Stage) -> None:
    """Tell what has changed, for ever."""
    known: dict[str, str] = {}
    while True:
        with stage.going_on("narrator"):
            await _look(stage, known)
        await stage.pace.wait(_LOOKS_EVERY)


async def _look(stage: Stage, known: dict[str, str]) -> None:
    async for circuit in stage.operator.list_circuits():
        _compare(stage, known, f"circuit {circuit.scope}", circuit.state)
    for agent in _AGENTS:
        _compare(stage, known, f"agent {agent}", (await stage.operator.get_posture(agent)).posture)


def _compare(stage: Stage, known: dict[str, str], subject: str, state: str) -> None:
    before = known.get(subject)
    known[subject] = state
    if before is not None and before != state:
        stage.tell(f"{subject}: {before} -> {state}")


def greeting(url: str, token: str) -> Iterable[str]:
    """What is said at the start."""
    yield f"the dashboard is at {url}/"
    yield f"sign in with the token {token}"
    yield "seconds from now circuits open and recover, a user loses trust, and decisions wait for you; Ctrl-C ends it all"
    yield "alerts come to this terminal, by a signed webhook"

"""Tells in the terminal what can be seen on the dashboard: circuits that open and recover, and agents whose posture moves."""

from collections.abc import Callable, Iterable

from demo.agents import JOBS
from demo.rogue import ROGUE
from demo.stage import Stage

_LOOKS_EVERY = 0.5
_AGENTS = (*(job.agent for job in JOBS), ROGUE)


async def narrate(stage: Stage, say: Callable[[str], None]) -> None:
    """Say what has changed, for ever."""
    known: dict[str, str] = {}
    while True:
        async for circuit in stage.operator.list_circuits():
            _tell(stage, say, known, f"circuit {circuit.scope}", circuit.state)
        for agent in _AGENTS:
            _tell(stage, say, known, f"agent {agent}", (await stage.operator.get_posture(agent)).posture)
        await stage.pace.wait(_LOOKS_EVERY)


def _tell(stage: Stage, say: Callable[[str], None], known: dict[str, str], subject: str, state: str) -> None:
    before = known.get(subject)
    known[subject] = state
    if before is not None and before != state:
        say(f"{stage.pace.elapsed:6.0f} s  {subject}: {before} -> {state}")


def greeting(url: str, token: str) -> Iterable[str]:
    """What is said at the start."""
    yield f"the dashboard is at {url}/"
    yield f"sign in with the token {token}"
    yield "seconds from now circuits open and recover, a user loses trust, and decisions wait for you; Ctrl-C ends it all"

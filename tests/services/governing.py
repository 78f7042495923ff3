"""Moving agents between postures, as the edge has it done."""

from collections.abc import Mapping, Sequence
from typing import Any

from cstp_server.domain.callers import Caller
from cstp_server.domain.posture_guards import TransitionGuard
from cstp_server.domain.postures import DEFAULT_POSTURE, POSTURES
from cstp_server.domain.refusals import Refusal
from cstp_server.guardians import InstalledGuardians
from cstp_server.services import postures
from cstp_server.services.earning import Appraisal
from cstp_server.services.posture_moves import MovePosture
from cstp_server.services.requests import PostureEntry, PostureRequest, PostureView, TransitionAnswer
from tests.services.world import OPS, World


def asking(
    agent: str, to: str, reason: str = "because", *, seen: str | None = None, metadata: Mapping[str, Any] | None = None
) -> PostureRequest:
    """A transition that somebody asks for; `seen` is what they take the posture for."""
    return PostureRequest(agent, POSTURES[to], reason, POSTURES[seen] if seen is not None else None, metadata or {})


def posture_move(agent: str, to: str, *, before: str = DEFAULT_POSTURE.label, caller: Caller = OPS) -> MovePosture:
    """A transition as a use case, no guard having refused it when the agent was `before`."""
    return MovePosture(caller, asking(agent, to), POSTURES[before], None)


def attempt(
    world: World,
    agent: str,
    to: str,
    reason: str = "because",
    *,
    caller: Caller = OPS,
    guards: Sequence[TransitionGuard] = (),
    seen: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    seconds: float = 5,
) -> TransitionAnswer | Refusal:
    """Ask for a transition; `guards` are installed ones, who have so many seconds."""
    store, request = world.store, asking(agent, to, reason, seen=seen, metadata=metadata)
    guardians = InstalledGuardians(guards, seconds=seconds)
    return world.do(postures.transition(store.transactor, store.reader, guardians, world.policy, world.clock, caller, request))


def move(world: World, agent: str, to: str, **details: Any) -> TransitionAnswer:
    """Have an agent moved."""
    answer = attempt(world, agent, to, **details)
    assert isinstance(answer, TransitionAnswer), answer
    assert answer.success, answer
    return answer


def block(world: World, agent: str, reason: str = "incident", caller: Caller = OPS) -> TransitionAnswer:
    """An emergency."""
    answer = world.do(postures.emergency_downgrade(world.store.transactor, caller, agent, reason))
    assert isinstance(answer, TransitionAnswer), answer
    return answer


def history(world: World, agent: str = "bot", limit: int = 100, caller: Caller = OPS) -> Sequence[PostureEntry]:
    """The attempts to move an agent, newest first."""
    return world.do(postures.history(world.store.reader, caller, agent, limit))


def known(world: World, agent: str = "bot", caller: Caller = OPS) -> PostureView:
    """What callers are told of an agent."""
    return world.do(postures.get(world.store.reader, world.policy, world.clock, caller, agent))


def appraise(world: World, agent: str = "bot", guards: Sequence[TransitionGuard] = ()) -> None:
    """What the worker does now and then."""
    store = world.store
    appraisal = Appraisal(store.transactor, store.reader, InstalledGuardians(guards), world.clock)
    world.do(appraisal.look_at(world.policy, OPS.tenant, agent))

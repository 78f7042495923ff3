"""Circuits that hold down the postures of agents while they are open (SPEC 8)."""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace

from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.events import Event
from cstp_server.domain.findings import Mode
from cstp_server.domain.posture_events import Attempt
from cstp_server.domain.postures import POSTURES, AgentPosture, lowered, released, transition_type
from cstp_server.domain.scopes import ScopeKind, parse_scope
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import View


@dataclass(frozen=True, slots=True)
class Held:
    """The postures that circuits have moved, as they are now, and the events that say so."""

    postures: tuple[AgentPosture, ...] = ()
    events: tuple[Event, ...] = ()


NOTHING_HELD = Held()


def agents_moved(view: View, scope: str, settings: CircuitSettings, *failing: str) -> frozenset[str]:
    """Whose postures a circuit may move when its state changes: its own agent's, and those whose failures it counts, `failing` among them.

    None as long as the circuit has not been read: the question is asked again when it has.
    """
    try:
        circuit = view.circuit(scope)
    except LookupError:
        return frozenset()
    if not moves_postures(settings) and circuit.state is State.CLOSED:
        return frozenset()
    return frozenset((*circuit.blamed, *circuit.window.failed_by, *_own_agent(circuit), *failing))


def agents_in_log(view: View, scope: str) -> frozenset[str]:
    """Whom a circuit may come to blame when its log is folded again. None as long as the log has not been read."""
    try:
        log = view.log(scope)
    except LookupError:
        return frozenset()
    named = (entry.agent_id for entry in log.entries if entry.agent_id is not None)
    return frozenset((*log.start.blamed, *log.start.window.failed_by, *named))


def moves_postures(settings: CircuitSettings) -> bool:
    """Whether the circuit lowers postures when it opens; one in the shadow changes nothing for anybody."""
    return settings.downgrade_to is not None and settings.mode is Mode.ENFORCE


def _held_by(circuit: Circuit) -> frozenset[str]:
    """Whom the circuit holds down if its policy says so: nobody while it is closed."""
    return frozenset((*circuit.blamed, *_own_agent(circuit))) if circuit.state is not State.CLOSED else frozenset()


def _own_agent(circuit: Circuit) -> Sequence[str]:
    scope = parse_scope(circuit.scope)
    return (scope.value,) if scope.kind is ScopeKind.AGENT else ()


@dataclass(slots=True)
class Holding:
    """Postures within one use case: as they are read, and as circuits move them one after another."""

    view: View
    policy: Policy
    attribution: Attribution
    _moved: dict[str, AgentPosture] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)

    def follow(self, before: Circuit, after: Circuit, settings: CircuitSettings) -> None:
        """What a circuit's change from one state to another does to agents.

        An opening lowers all who are to blame for it, also those who were moved since the last one. An amended past may have others to
        blame for what is open already: they take the place of the first ones.
        """
        held, holds = _held_by(before), _held_by(after)
        is_closed = after.state is State.CLOSED
        self._release(held - holds, after.scope, settings, f"circuit `{after.scope}` {'closed' if is_closed else 'is open for others'}")
        self._lower(holds if _opens(before, after) else holds - held, after.scope, settings)

    def align(self, circuit: Circuit, settings: CircuitSettings | None) -> None:
        """What another policy does to agents while the circuit stays as it is; `settings` are none when no policy covers it any more.

        An open circuit that has come to lower postures lowers those that nobody has moved since it opened, and one that lowers none any
        more lets go of all.
        """
        agents, scope = _held_by(circuit), circuit.scope
        if settings is None:
            self._release(agents, scope, None, f"circuit `{scope}` has no policy any more")
        elif moves_postures(settings):
            self._lower([agent for agent in agents if not _was_moved_by_hand(self._posture(agent), circuit)], scope, settings)
        else:
            self._release(agents, scope, settings, f"circuit `{scope}` lowers nobody any more")

    @property
    def held(self) -> Held:
        """Everything that was moved."""
        return Held(tuple(self._moved.values()), tuple(self._events)) if self._moved else NOTHING_HELD

    def _lower(self, agents: Iterable[str], scope: str, settings: CircuitSettings) -> None:
        if settings.downgrade_to is None or settings.mode is not Mode.ENFORCE:
            return
        to, restores, reason = POSTURES[settings.downgrade_to], settings.restore_posture, f"circuit `{scope}` opened"
        for agent_id in sorted(agents):
            current = self._posture(agent_id)
            self._move(current, lowered(current, scope, to, restores=restores, reason=reason, at=self.attribution.at), scope, reason)

    def _release(self, agents: Iterable[str], scope: str, settings: CircuitSettings | None, reason: str) -> None:
        restore = settings.restore_posture if settings is not None else None
        for agent_id in sorted(agents):
            current = self._posture(agent_id)
            after = released(current, scope, restore=restore, reason=reason, at=self.attribution.at)
            self._move(current, after, scope, reason)

    def _posture(self, agent_id: str) -> AgentPosture:
        known = self._moved.get(agent_id)
        return known if known is not None else self.policy.postures.of(agent_id, self.view.posture(agent_id))

    def _move(self, before: AgentPosture, after: AgentPosture, scope: str, reason: str) -> None:
        if after is before:
            return
        self._moved[before.agent_id] = after
        if after.posture is not before.posture:
            attempt = Attempt(before.agent_id, before.posture, after.posture, transition_type(before.posture, after.posture), reason)
            self._events.append(attempt.succeeded(replace(self.attribution, actor=scope), after.original))


def _was_moved_by_hand(current: AgentPosture, circuit: Circuit) -> bool:
    """Whether somebody has moved the agent since the circuit opened: what they said of it stands."""
    return current.moved_at is not None and current.moved_at >= (circuit.opened_at or 0)


def _opens(before: Circuit, after: Circuit) -> bool:
    """Whether this is an opening: of a circuit that was not open, or by force."""
    if after.state is not State.OPEN or after.generation == before.generation:
        return False
    return before.state is not State.OPEN or after.forced

"""What happened, in words: for each type of alert what it is about, why, and what somebody can do about it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from cstp_server.domain.circuit_findings import duration_text
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.postures import TransitionType
from cstp_server.domain.values import dataclass
from cstp_server.notifiers.trust_stories import trust_story
from cstp_server.notifiers.wording import Story, plain, typed

_MOST_NAMED = 5
_SHADOW = " (shadow mode)"
_ONLY_REPORTS = "Nothing is refused: the circuit only reports."
_WANTED = {"cancel_window": "to act unless cancelled", "confirmation": "its user's confirmation"}
_FATES = {
    "halt": ("was halted", "The action was refused, and the agent is blocked until an operator raises it."),
    "block": ("was stopped", "The action was not let through."),
    "escalate": ("was stopped", "The action waits for an approval, unless something else refused it."),
    "confirm": ("was stopped", "The action waits for the user's confirmation, unless something else refused it."),
    "delay": ("was slowed down", "The action goes on after a while in which it can be cancelled, unless something else refused it."),
    "warn": ("was warned", "The action goes on, unless something else refused it."),
}


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts events into words at a time (ms since the epoch); times for people are those of a zone."""

    zone: tzinfo
    now: int

    def tell(self, event: Event) -> Story:
        """The story of an event that people are told of."""
        of_trust = trust_story(event, self.time(event.data.get("reset_at"))) if event.data.get("trust") is True else None
        return of_trust if of_trust is not None else _STORIES[event.type](self, event)

    def time(self, at: object) -> str:
        """A time in ms since the epoch, as people read it."""
        if not isinstance(at, int):
            return "an unknown time"
        moment = datetime.fromtimestamp(at / 1000, UTC).astimezone(self.zone)
        return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or 'UTC'}"

    def is_over(self, at: object) -> bool:
        """Whether that time has passed."""
        return isinstance(at, int) and at <= self.now


def _opened(teller: Teller, event: Event) -> Story:
    data, scope = event.data, plain(event.subject)
    if _is_shadow(data):
        return Story(f"Circuit `{scope}` would have opened{_SHADOW}", _ONLY_REPORTS, _failures(data), _look(event.subject))
    again = data.get("cause") == "probe_failed"
    refused = "want the user's confirmation" if data.get("effect") == "confirm" else "are refused"
    return Story(
        f"Circuit `{scope}` opened{' again' if again else ''}",
        f"Decisions of `{scope}` {refused} until {teller.time(data.get('reset_at'))}; then probes are let through.",
        f"A probe failed. {_failures(data)}" if again else _failures(data),
        f"{_look(event.subject)} If the cause is fixed: `cstp reset {typed(event.subject)} --probe-first --reason …`.",
    )


def _forced(_teller: Teller, event: Event) -> Story:
    data, scope = event.data, plain(event.subject)
    shadow = _is_shadow(data)
    refused = "want the user's confirmation" if data.get("effect") == "confirm" else "are refused"
    return Story(
        f"Circuit `{scope}` was forced open by {plain(event.actor)}{_SHADOW if shadow else ''}",
        _ONLY_REPORTS if shadow else f"Decisions of `{scope}` {refused} until somebody resets it: there is no cooldown.",
        plain(data.get("reason") or "no reason was given"),
        f"When it is over: `cstp reset {typed(event.subject)} --reason …`.",
    )


def _half_opened(_teller: Teller, event: Event) -> Story:
    scope = plain(event.subject)
    why = "Its cooldown has ended." if event.data.get("cause") == "cooldown_elapsed" else f"{plain(event.actor)} asked for it."
    if _is_shadow(event.data):
        return Story(f"Circuit `{scope}` is half-open{_SHADOW}", _ONLY_REPORTS, why)
    return Story(
        f"Circuit `{scope}` is half-open",
        f"Single decisions of `{scope}` are let through as probes; their outcomes close it, or open it again.",
        why,
        "Have the outcomes of the probes reported: a probe that nobody reviews expires.",
    )


def _closed(_teller: Teller, event: Event) -> Story:
    scope, cause = plain(event.subject), event.data.get("cause")
    reason = event.data.get("reason")
    why = (
        "Its probes succeeded."
        if cause == "probes_succeeded"
        else f"{plain(event.actor)} reset it{f': {plain(reason)}' if reason else ''}."
    )
    if _is_shadow(event.data):
        return Story(f"Circuit `{scope}` closed{_SHADOW}", _ONLY_REPORTS, why)
    return Story(f"Circuit `{scope}` closed", f"Decisions of `{scope}` go on as before.", why)


def _amended(_teller: Teller, event: Event) -> Story:
    scope, state = plain(event.subject), plain(event.data.get("state"))
    return Story(
        f"Circuit `{scope}` is {state.replace('_', '-')} after an amendment",
        f"It was {plain(event.data.get('previous_state')).replace('_', '-')}; its past was put right.",
        plain(event.data.get("reason") or "an outcome was amended"),
        _look(event.subject),
    )


def _failures(data: Mapping[str, Any]) -> str:
    recent = data.get("recent_failures") or ()
    window = data.get("window_ms")
    within = f" within {duration_text(window)}" if isinstance(window, int) else ""
    counted = f"{data.get('failed', 0)} of {data.get('reviewed', 0)} reviewed decisions failed{within}"
    return f"{counted}; the latest: {_named(recent)}." if recent else f"{counted}."


def _look(scope: str) -> str:
    return f"`cstp state {typed(scope)}` names the failures, `cstp decision ID` shows one."


def _is_shadow(data: Mapping[str, Any]) -> bool:
    return data.get("mode") == "shadow"


def _tripped(_teller: Teller, event: Event) -> Story:
    data, name = event.data, plain(event.subject)
    agent, severity = plain(data.get("agent")), plain(data.get("severity"))
    decision = f"decision `{plain(data.get('decision_id'))}`"
    if _is_shadow(data):
        title = f"Tripwire `{name}` would have stopped agent `{agent}`{_SHADOW}"
        return Story(title, "Nothing was refused.", plain(data.get("message")), detail=decision)
    intervention = str(data.get("intervention"))
    fate, what = _FATES.get(intervention, _FATES["block"])
    then = (
        f"; then `cstp posture set {typed(data.get('agent'))} human_decides --from blocked --reason …`." if intervention == "halt" else "."
    )
    return Story(
        f"Tripwire `{name}` ({severity}): agent `{agent}` {fate}",
        what,
        plain(data.get("message")),
        f"`cstp decision {typed(data.get('decision_id'))}` shows the action{then}",
        decision,
    )


def _pending(teller: Teller, event: Event) -> Story:
    data, id = event.data, typed(event.subject)
    agent, until = plain(data.get("agent")), teller.time(data.get("until"))
    action = f"“{plain(data.get('description') or 'an action')}”"
    why = "; ".join(plain(reason) for reason in (data.get("reasons") or ())[:_MOST_NAMED])
    detail = f"{action}, decision `{plain(event.subject)}`"
    if teller.is_over(data.get("until")):
        title = f"Agent `{agent}` wanted {_WANTED.get(str(data.get('kind')), 'approval')}, and the time for it is over"
        return Story(title, f"{action} waited until {until}.", why, f"`cstp decision {id}` shows what became of it.", detail)
    match data.get("kind"):
        case "cancel_window":
            return Story(
                f"Agent `{agent}` is about to act: it can be cancelled",
                f"{action} goes on at {until}.",
                why,
                f"`cstp cancel {id}` stops it.",
                detail,
            )
        case "confirmation":
            return Story(
                f"Agent `{agent}` wants its user's confirmation",
                f"{action} waits until {until}, and is refused then.",
                why,
                f"`cstp confirm {id}` or `cstp deny {id}`.",
                detail,
            )
        case _:
            return Story(
                f"Approval wanted: agent `{agent}`",
                f"{action} waits until {until}, and is refused then.",
                why,
                f"`cstp decision {id}`, then `cstp approve {id}` or `cstp deny {id} --note …`.",
                detail,
            )


def _downgraded(_teller: Teller, event: Event) -> Story:
    data, agent = event.data, plain(event.subject)
    before, after = plain(data.get("from_posture")), plain(data.get("to_posture"))
    emergency = data.get("transition_type") == TransitionType.EMERGENCY_DOWNGRADE
    return Story(
        f"Agent `{agent}` is blocked" if emergency else f"Agent `{agent}` was lowered to {after}",
        f"Its posture was {before}, and is {after} now; {plain(event.actor)} did it.",
        plain(data.get("reason")),
        f"`cstp posture history {typed(event.subject)}` shows how it came about; "
        f"`cstp posture set {typed(event.subject)} POSTURE --from {after} --reason …` raises it.",
    )


def _bypassed(_teller: Teller, event: Event) -> Story:
    data = event.data
    agent, status = plain(data.get("agent")), plain(data.get("status") or "not allowed")
    action = plain(data.get("description") or "the action")
    return Story(
        f"Agent `{agent}` went on without permission",
        f"“{action}” was carried out, though its decision was {status}.",
        f"{plain(event.actor)} reported it{' with the outcome ' + plain(data['outcome']) if 'outcome' in data else ' as done'}.",
        f"`cstp decision {typed(event.subject)}` shows it; `cstp posture block {typed(data.get('agent'))} --reason …` stops the agent.",
        f"“{action}”, decision `{plain(event.subject)}`",
    )


def _rejected(_teller: Teller, event: Event) -> Story:
    problems: Sequence[object] = event.data.get("problems") or ()
    more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return Story(
        "A new policy was refused",
        f"The policy in force stays: {plain(event.policy_version)[:19]}….",
        "; ".join(plain(problem) for problem in problems[:_MOST_NAMED]) + more,
        "Put the file right, and see that `cstp policy check` is content; it is read again by itself.",
    )


def _budget(teller: Teller, event: Event) -> Story:
    data, name = event.data, plain(event.subject)
    of, ends_at = plain(data.get("of")), data.get("ends_at")
    percent = data.get("percent")
    starts = f" It starts anew at {teller.time(ends_at)}." if isinstance(ends_at, int) else ""
    shadow = _is_shadow(data)
    refused = "Nothing is refused: the budget only reports." if shadow else "What goes beyond it is not let through."
    return Story(
        (f"Budget `{name}` of `{of}` is used up" if percent == 100 else f"Budget `{name}` of `{of}`: {percent} % used")
        + (_SHADOW if shadow else ""),
        f"{plain(data.get('used'))} of {plain(data.get('max'))} are used or reserved.{starts}",
        f"Agent `{plain(data.get('agent'))}` reached it with decision `{plain(data.get('decision_id'))}`.",
        f"{refused} `cstp tripwires` shows who runs into it; a larger budget takes a change of the policy.",
    )


def _named(ids: Sequence[object]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return ", ".join(f"`{plain(id)}`" for id in ids[:_MOST_NAMED]) + more


_STORIES: Mapping[EventType, Callable[[Teller, Event], Story]] = {
    EventType.CIRCUIT_OPENED: _opened,
    EventType.CIRCUIT_FORCED: _forced,
    EventType.CIRCUIT_HALF_OPENED: _half_opened,
    EventType.CIRCUIT_CLOSED: _closed,
    EventType.CIRCUIT_AMENDED: _amended,
    EventType.TRIPWIRE_HIT: _tripped,
    EventType.DECISION_PENDING: _pending,
    EventType.POSTURE_DOWNGRADED: _downgraded,
    EventType.ENFORCEMENT_BYPASSED: _bypassed,
    EventType.POLICY_REJECTED: _rejected,
    EventType.BUDGET_REACHED: _budget,
}

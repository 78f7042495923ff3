"""What happened, as people read it: for each type of event its sign and its words, and what it names besides its subject."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from cstp_server.domain.events import Event
from cstp_server.domain.scopes import ScopeKind
from cstp_server.web.links import link
from cstp_server.web.tones import Tone
from cstp_server.web.words import duration, exact, many, number, plain, short

_LONGEST = 140
_LONGEST_VERSION = 19
_MOST_PROBLEMS = 3
_USED_UP = 100
_AGENT = f"{ScopeKind.AGENT}:"


class Part(NamedTuple):
    """A piece of a line: a text, and where it leads, if anywhere. `is_id` says that it names something."""

    text: str
    href: str | None = None
    is_id: bool = False


class Happening(NamedTuple):
    """How an event is shown: its sign, what happened, to what, and what there is to say of it."""

    tone: Tone
    title: str
    subject: Part
    details: tuple[Part, ...]


Words = Callable[[Event], Iterable[object]]


class _Kind(NamedTuple):
    """How one type of event is shown; `words` are what there is to say of it: what is missing is left out, a `Part` is shown as it is."""

    title: str
    tone: Tone
    words: Words


def _given(*names: str) -> Words:
    return lambda event: [event.data.get(name) for name in names]


def _checked(event: Event) -> Iterable[object]:
    found = event.data.get("findings") or ()
    return plain(_text(event.data.get("intervention"))), ", ".join(_text(name) for name in found)


def _pending(event: Event) -> Iterable[object]:
    return _WAITS_FOR.get(_text(event.data.get("kind"))), "; ".join(_text(reason) for reason in event.data.get("reasons") or ())


def _settled(event: Event) -> Iterable[object]:
    return dict.fromkeys((event.data.get("reason"), event.data.get("note")))


def _reviewed(event: Event) -> Iterable[object]:
    severity = event.data.get("severity")
    told_by = "told by the agent itself" if event.data.get("self_reported") else None
    return event.data.get("outcome"), f"{severity} severity" if severity else None, told_by


def _amended(event: Event) -> Iterable[object]:
    return (_moved(event.data.get("previous_outcome"), event.data.get("outcome")),)


def _bypassed(event: Event) -> Iterable[object]:
    status = event.data.get("status")
    return f"though it was {status}" if status else None, event.data.get("outcome")


def _circuit(event: Event) -> Iterable[object]:
    data = event.data
    cause = _CAUSES.get(_text(data.get("cause")), plain(_text(data.get("cause"))))
    shadow = "shadow mode: nothing is refused" if data.get("mode") == "shadow" and data.get("state") == "open" else None
    return cause, _failures(data) if data.get("cause") == "threshold_reached" else None, data.get("reason"), shadow


def _failures(data: Mapping[str, Any]) -> str | None:
    failed, reviewed, window = data.get("failed"), data.get("reviewed"), data.get("window_ms")
    if not isinstance(failed, int) or not isinstance(reviewed, int) or not isinstance(window, int):
        return None
    return (
        f"{many(failed, 'damage')} in {duration(window)}" if data.get("trust") else f"{failed} of {reviewed} failed in {duration(window)}"
    )


def _probe(event: Event) -> Iterable[object]:
    return (event.data.get("reason"),)


def _tripwire(event: Event) -> Iterable[object]:
    return event.data.get("message"), "shadow mode: nothing was refused" if event.data.get("mode") == "shadow" else None


def _budget(event: Event) -> Iterable[object]:
    data = event.data
    used, most = data.get("used"), data.get("max")
    sums = f"{number(used)} of {number(most)} used" if isinstance(used, int | float) and isinstance(most, int | float) else None
    return f"{_text(data.get('percent'))} %", sums, Part(_name(data.get("of")), is_id=True)


def _posture(event: Event) -> Iterable[object]:
    data = event.data
    return _moved(data.get("from_posture"), data.get("to_posture")), data.get("refusal") or data.get("reason")


def _moved(before: object, after: object) -> str:
    was, is_now = plain(_text(before)), plain(_text(after))
    return f"stays {is_now}" if was == is_now else f"{was} → {is_now}"


def _damaged(event: Event) -> Iterable[object]:
    weight = event.data.get("weight")
    counts = f"counts {number(weight)}" if isinstance(weight, int | float) else None
    return plain(_text(event.data.get("damage_type"))), counts, event.data.get("context")


def _dimension(event: Event) -> Iterable[object]:
    version = event.data.get("version")
    return f"version {version}" if version else None, event.data.get("note")


def _loaded(event: Event) -> Iterable[object]:
    version = event.policy_version
    return (f"{version[:_LONGEST_VERSION]}…" if len(version) > _LONGEST_VERSION else version,)


def _rejected(event: Event) -> Iterable[object]:
    problems = event.data.get("problems") or ()
    more = f"and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else None
    return *problems[:_MOST_PROBLEMS], more


def _alert(event: Event) -> Iterable[object]:
    data = event.data
    about = _KINDS.get(_text(data.get("type")))
    title = about.title.lower() if about is not None else plain(_text(data.get("type")))
    count = data.get("count")
    gathered = f"with {many(count - 1, 'more event')}" if isinstance(count, int) and count > 1 else None
    about_it = _place(_text(data.get("type")).partition(".")[0], _name(data.get("about")))
    return title, about_it, gathered, data.get("error")


def _retried(event: Event) -> Iterable[object]:
    count = event.data.get("count")
    return (many(count, "alert") if isinstance(count, int) else None,)


def _signed_in(event: Event) -> Iterable[object]:
    return (", ".join(_text(role) for role in event.data.get("roles") or ()),)


def _signed_out(event: Event) -> Iterable[object]:
    cause = _text(event.data.get("cause"))
    return (_ENDS.get(cause, plain(cause)),)


def _pruned(event: Event) -> Iterable[object]:
    count, before = event.data.get("count"), event.data.get("before")
    return many(count, "row") if isinstance(count, int) else None, f"from before {exact(before)}" if isinstance(before, int) else None


_WAITS_FOR = {"approval": "for an approval", "confirmation": "for the user's confirmation", "cancel_window": "goes on by itself soon"}
_ENDS = {"signed_out": "signed out", "replaced": "signed in anew"}
_CAUSES = {
    "threshold_reached": "the threshold was reached",
    "cooldown_elapsed": "the cooldown is over",
    "probes_succeeded": "its probes succeeded",
    "probe_failed": "a probe failed",
    "probe_first": "reset to prove itself",
    "tripped": "forced",
    "amended": "an outcome was put right",
    "archived": "the policy covers it no more",
}
_KINDS: Mapping[str, _Kind] = {
    "decision.checked": _Kind("Decision checked", Tone("muted", "question"), _checked),
    "decision.recorded": _Kind("Decision recorded", Tone("muted", "document"), _given("description")),
    "decision.pending": _Kind("Decision waits", Tone("warn", "clock"), _pending),
    "decision.approved": _Kind("Decision approved", Tone("good", "check"), _settled),
    "decision.allowed": _Kind("Decision allowed", Tone("good", "check"), _settled),
    "decision.denied": _Kind("Decision denied", Tone("bad", "cross"), _settled),
    "decision.cancelled": _Kind("Decision cancelled", Tone("muted", "cross"), _settled),
    "decision.expired": _Kind("Decision expired", Tone("muted", "clock"), _settled),
    "decision.reviewed": _Kind("Decision reviewed", Tone("info", "eye"), _reviewed),
    "decision.amended": _Kind("Outcome amended", Tone("info", "document"), _amended),
    "enforcement.bypassed": _Kind("Went on without permission", Tone("bad", "alert"), _bypassed),
    "circuit.opened": _Kind("Circuit opened", Tone("bad", "bolt"), _circuit),
    "circuit.half_opened": _Kind("Circuit half-open", Tone("warn", "half"), _circuit),
    "circuit.closed": _Kind("Circuit closed", Tone("good", "check"), _circuit),
    "circuit.forced": _Kind("Circuit forced open", Tone("bad", "lock"), _given("reason")),
    "circuit.cleared": _Kind("Circuit cleared", Tone("good", "check"), _given("reason")),
    "circuit.probe_claimed": _Kind("Probe given", Tone("muted", "arrow"), _probe),
    "circuit.probe_expired": _Kind("Probe expired", Tone("warn", "clock"), _probe),
    "circuit.amended": _Kind("Circuit amended", Tone("info", "document"), _circuit),
    "circuit.archived": _Kind("Circuit archived", Tone("muted", "document"), _circuit),
    "tripwire.hit": _Kind("Tripwire hit", Tone("bad", "alert"), _tripwire),
    "budget.reached": _Kind("Budget reached", Tone("warn", "alert"), _budget),
    "posture.upgraded": _Kind("Posture raised", Tone("good", "up"), _posture),
    "posture.downgraded": _Kind("Posture lowered", Tone("bad", "down"), _posture),
    "posture.maintained": _Kind("Posture kept", Tone("muted", "dot"), _posture),
    "posture.refused": _Kind("Posture change refused", Tone("warn", "stop"), _posture),
    "dimension.approved": _Kind("Dimension approved", Tone("good", "check"), _dimension),
    "dimension.rejected": _Kind("Dimension rejected", Tone("bad", "cross"), _dimension),
    "trust.damaged": _Kind("Trust damaged", Tone("bad", "down"), _damaged),
    "trust.succeeded": _Kind("Trust gained", Tone("good", "up"), _given("context")),
    "policy.loaded": _Kind("Policy loaded", Tone("info", "document"), _loaded),
    "policy.rejected": _Kind("Policy refused", Tone("bad", "alert"), _rejected),
    "notification.sent": _Kind("Alert sent", Tone("muted", "bell"), _alert),
    "notification.given_up": _Kind("Alert given up", Tone("bad", "bell"), _alert),
    "notification.retried": _Kind("Alert taken up again", Tone("info", "bell"), _retried),
    "retention.pruned": _Kind("Old records deleted", Tone("muted", "document"), _pruned),
    "session.begun": _Kind("Signed in", Tone("muted", "person"), _signed_in),
    "session.ended": _Kind("Session ended", Tone("muted", "exit"), _signed_out),
    "token.created": _Kind("Token created", Tone("info", "lock"), _given("reason")),
    "token.revoked": _Kind("Token revoked", Tone("warn", "lock"), _given("reason")),
}
_OF_TRUST = {
    "circuit.opened": "Trust reduced",
    "circuit.half_opened": "Trust under test",
    "circuit.closed": "Trust restored",
    "circuit.forced": "Trust withdrawn",
    "circuit.cleared": "Trust made whole",
}
"""What it is called when a circuit of a user's trust moves."""
KINDS: Mapping[str, str] = {
    "circuit": "Circuits",
    "tripwire": "Tripwires",
    "posture": "Postures",
    "decision": "Decisions",
    "budget": "Budgets",
    "trust": "Trust",
    "enforcement": "Bypasses",
    "dimension": "Dimensions",
    "policy": "Policy",
    "notification": "Alerts",
    "token": "Tokens",
    "session": "Sign-ins",
    "retention": "Retention",
}
"""The kinds of events, the part of their type before the dot, and what their lists are called."""
_UNKNOWN = Tone("muted", "dot")


def has_words(event_type: str) -> bool:
    """Whether a type of event has a sign and words of its own."""
    return event_type in _KINDS


def event_tone(event_type: str) -> Tone:
    """The sign of a type of event."""
    kind = _KINDS.get(event_type)
    return kind.tone if kind is not None else _UNKNOWN


def happening_of(event: Event, description: str | None = None) -> Happening:
    """How an event is shown. One of a type without words of its own is shown by its name.

    `description` is what the decision that it is about was about, where the event does not tell it.
    """
    name = event.type.value
    kind = _KINDS.get(name, _Kind(plain(name).capitalize(), _UNKNOWN, _given("reason")))
    title = _OF_TRUST.get(name, kind.title) if event.data.get("trust") is True else kind.title
    return Happening(_graver(kind.tone, event), title, _subject(event, description), (*_parts(kind.words(event)), *_named(event)))


def _parts(words: Iterable[object]) -> Iterable[Part]:
    for word in words:
        part = word if isinstance(word, Part) else Part(short(_text(word), _LONGEST))
        if part.text:
            yield part


def _graver(tone: Tone, event: Event) -> Tone:
    percent = event.data.get("percent")
    return tone._replace(colour="bad") if isinstance(percent, int) and percent >= _USED_UP else tone


def _subject(event: Event, description: str | None) -> Part:
    said = _text(event.data.get("description") or description)
    place = _place(event.type.value.partition(".")[0], event.subject)
    return place._replace(text=short(said, _LONGEST), is_id=False) if said else place


def _place(kind: str, subject: str) -> Part:
    match kind:
        case "decision" | "enforcement":
            return Part(subject, link("/decision", id=subject), is_id=True)
        case "circuit" | "trust":
            return Part(subject, link("/circuit", scope=subject), is_id=True)
        case "posture":
            return Part(subject, link("/agent", id=subject), is_id=True)
        case "policy":
            return Part("policy", "/policy", is_id=True)
        case "tripwire":
            return Part(subject, link("/policy", type="tripwire", q=subject), is_id=True)
        case _:
            return Part(subject, is_id=True)


def _named(event: Event) -> Iterable[Part]:
    """The agent and the decision that an event names beside its subject."""
    kind, agent = event.type.value.partition(".")[0], event.data.get("agent")
    if isinstance(agent, str) and agent and not (kind == "budget" and event.data.get("of") == f"{_AGENT}{agent}"):
        yield Part(agent, link("/agent", id=agent), is_id=True)
    decision = event.data.get("decision_id")
    if isinstance(decision, str) and decision and kind not in ("decision", "enforcement"):
        yield Part("decision", link("/decision", id=decision))


def _name(value: object) -> str:
    """What names something, as it is written: with a space at its end it names another thing."""
    return "" if value is None else str(value)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()

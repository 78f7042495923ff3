"""Messages: a parcel of alerts as people read it, and as machines do.

A webhook's payload has the form that Standard Webhooks prescribes: `type`, `timestamp` and `data`. Names are camelCase, times RFC 3339.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from cstp_server.domain.alerts import Level, alert_of
from cstp_server.domain.circuit_findings import duration_text
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass
from cstp_server.notifiers.channel import Message
from cstp_server.notifiers.stories import Teller
from cstp_server.notifiers.wording import Story, plain
from cstp_server.services.notifying import Parcel

TEST_TYPE = "notification.test"
_LONGEST_TEXT = 1000
_MOST_ITEMS = 40
_MOST_TOLD = 5
_DEEPEST = 4
_STILL_NEWS_MS = 5_000
_TIMES = ("_at", "until")
_PENDING = "`cstp pending` lists all that waits for an answer."


@dataclass(frozen=True, slots=True)
class Templates:
    """Makes messages. Times for people are those of the zone; `public_url` is where the dashboard is, if that is known."""

    zone: tzinfo
    public_url: str | None = None

    def message(self, parcel: Parcel) -> Message:
        """The newest alert of a parcel, and how many of the same subject were held back before it."""
        id, event = parcel.newest[-1]
        teller = Teller(self.zone, parcel.now)
        story = teller.tell(event)
        level = max(_level(each) for _, each in parcel.newest)
        held_back = len(parcel.waiting) - 1
        title = f"[{level.label}] {story.title}" + (f" (+{held_back})" if held_back else "")
        text = "\n".join(self._lines(story, event, parcel, teller))
        data = {
            "id": id,
            "tenant": event.tenant,
            "severity": level.label,
            "subject": event.subject,
            "actor": event.actor,
            "policyVersion": event.policy_version,
            "title": story.title,
            "what": story.what,
            "why": story.why,
            "todo": story.todo,
            "link": self.public_url,
            "details": _wired(event.data),
            "heldBack": self._held_back(parcel, teller) if held_back else None,
        }
        return Message(parcel.id, level, title, text, {"type": event.type.value, "timestamp": rfc3339(event.at), "data": data})

    def test(self, channel: str, id: str, now: int) -> Message:
        """A message that says that the channel works."""
        story = Story(
            f"Channel `{channel}` works", "This is a test: nothing has happened.", "Somebody ran `cstp notifications test`.", "Nothing."
        )
        data = {
            "id": id,
            "severity": Level.INFO.label,
            "subject": channel,
            "title": story.title,
            "what": story.what,
            "link": self.public_url,
        }
        text = "\n".join([story.what, story.why, *self._link()])
        return Message(id, Level.INFO, f"[test] {story.title}", text, {"type": TEST_TYPE, "timestamp": rfc3339(now), "data": data})

    def _lines(self, story: Story, event: Event, parcel: Parcel, teller: Teller) -> Sequence[str]:
        late = parcel.now - event.at
        since = f"Since: {teller.time(event.at)}" + (f" ({duration_text(late)} ago)" if late > _STILL_NEWS_MS else "")
        lines = [story.what, *_labelled("Why", story.why), since, *_labelled("Do", story.todo), *self._link()]
        if event.tenant != "default":
            lines.append(f"Tenant: {plain(event.tenant)}")
        return [*lines, *self._earlier(parcel, teller)]

    def _link(self) -> Sequence[str]:
        return _labelled("Dashboard", self.public_url or "")

    def _earlier(self, parcel: Parcel, teller: Teller) -> Sequence[str]:
        """What was held back, the newest first."""
        count = len(parcel.waiting) - 1
        if not count:
            return ()
        events = [event for _, event in reversed(parcel.newest[:-1])]
        told = [f"- {teller.time(event.at)}: {_in_short(teller.tell(event))}" for event in events[:_MOST_TOLD]]
        more = [f"- and {count - len(told)} more"] if count > len(told) else []
        ask = [f"Do: {_PENDING}"] if any(event.type is EventType.DECISION_PENDING for event in events) else []
        return [f"Before this, and not told of yet: {count}", *told, *more, *ask]

    def _held_back(self, parcel: Parcel, teller: Teller) -> Mapping[str, Any]:
        events = [
            {
                "id": id,
                "type": event.type.value,
                "timestamp": rfc3339(event.at),
                "subject": event.subject,
                "title": _in_short(teller.tell(event)),
            }
            for id, event in reversed(parcel.newest[:-1])
        ]
        return {"count": len(parcel.waiting) - 1, "since": rfc3339(parcel.queued_at), "newest": events}


def rfc3339(at: int) -> str:
    """A time in ms since the epoch."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: Event) -> Level:
    alert = alert_of(event)
    return alert.level if alert is not None else Level.INFO


def _in_short(story: Story) -> str:
    return f"{story.title}: {story.detail}" if story.detail else story.title


def _labelled(label: str, text: str) -> Sequence[str]:
    return [f"{label}: {text}"] if text else []


def _wired(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is on record of an event, bounded, under the names of the wire; what people wrote themselves keeps its names."""
    return {_camel(name): _time_or(name, value) for name, value in list(data.items())[:_MOST_ITEMS]}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def _time_or(name: str, value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and name.endswith(_TIMES):
        return rfc3339(value)
    return _bounded(value, _DEEPEST)


def _bounded(value: object, depth: int) -> object:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[: _LONGEST_TEXT - 1]}…"
    if isinstance(value, Mapping):
        return {str(name)[:_LONGEST_TEXT]: _bounded(each, depth - 1) for name, each in list(value.items())[:_MOST_ITEMS]} if depth else "…"
    if isinstance(value, list | tuple):
        return [_bounded(each, depth - 1) for each in value[:_MOST_ITEMS]] if depth else "…"
    return value

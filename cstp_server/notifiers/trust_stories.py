"""What happened to the trust of a user, in words: its circuit moves as every other does, and means something else (SPEC 10)."""

from cstp_server.domain.events import Event, EventType
from cstp_server.domain.scopes import parse_scope
from cstp_server.notifiers.wording import Story, plain, typed

_NOBODY_ASKED = "Nobody is asked for a confirmation."


def trust_story(event: Event, until: str) -> Story | None:
    """The story of a move of the circuit that measures a user's trust; none where the circuits' own words will do.

    `until` is when reduced trust is put to the test, as people read it.
    """
    user, _, domain = parse_scope(event.subject).value.rpartition("/")
    whose = f"Trust of user `{plain(user)}` in `{plain(domain)}`"
    show = f"`cstp trust show {typed(user)} --domain {typed(domain)}` says how it stands."
    data = event.data
    shadow = data.get("mode") == "shadow"
    marked = " (shadow mode)" if shadow else ""
    if event.type is EventType.CIRCUIT_OPENED:
        if shadow:
            return Story(f"{whose} would have been reduced{marked}", _NOBODY_ASKED, _damage(data.get("failures")))
        again = " again" if data.get("cause") == "probe_failed" else ""
        return Story(
            f"{whose} is reduced{again}", f"Every action wants the user's confirmation until {until}.", _damage(data.get("failures")), show
        )
    if event.type is EventType.CIRCUIT_HALF_OPENED:
        return Story(
            f"{whose} is under test{marked}",
            _NOBODY_ASKED if shadow else "Actions of high impact want the user's confirmation, all others go on.",
            "Its recovery period has ended." if data.get("cause") == "cooldown_elapsed" else f"{plain(event.actor)} asked for it.",
            show,
        )
    if event.type is EventType.CIRCUIT_CLOSED:
        was_earned = data.get("cause") == "probes_succeeded"
        why = "It went well often enough under test." if was_earned else f"{plain(event.actor)} reset it."
        what = _NOBODY_ASKED if shadow else "No action wants the user's confirmation for it any more."
        return Story(f"{whose} is whole again{marked}", what, why)
    return None


def _damage(failures: object) -> str:
    return f"{failures} damages count against it." if failures != 1 else "1 damage counts against it."

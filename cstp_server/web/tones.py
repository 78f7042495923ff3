"""What a word means for whoever looks: its colour and its sign, which always stand beside the word itself."""

from collections.abc import Mapping
from typing import NamedTuple


class Tone(NamedTuple):
    """A colour (`good`, `warn`, `bad`, `info`, `muted`) and the name of a sign."""

    colour: str
    icon: str


_OTHER = Tone("muted", "dot")
_TONES: Mapping[str, Tone] = {
    # circuits
    "closed": Tone("good", "check"),
    "half_open": Tone("warn", "half"),
    "open": Tone("bad", "bolt"),
    "forced open": Tone("bad", "lock"),
    # decisions
    "allowed": Tone("good", "check"),
    "approved": Tone("good", "check"),
    "blocked": Tone("bad", "stop"),
    "denied": Tone("bad", "cross"),
    "pending": Tone("warn", "clock"),
    "cancelled": Tone("muted", "cross"),
    "expired": Tone("muted", "clock"),
    "reviewed": Tone("info", "eye"),
    # interventions
    "allow": Tone("good", "check"),
    "warn": Tone("warn", "alert"),
    "delay": Tone("warn", "clock"),
    "confirm": Tone("warn", "question"),
    "escalate": Tone("warn", "person"),
    "block": Tone("bad", "stop"),
    "halt": Tone("bad", "bolt"),
    # outcomes
    "success": Tone("good", "check"),
    "failure": Tone("bad", "cross"),
    "partial": Tone("warn", "half"),
    "abandoned": Tone("muted", "cross"),
    # postures
    "full_autonomy": Tone("good", "check"),
    "assisted": Tone("info", "person"),
    "supervised": Tone("info", "eye"),
    "human_decides": Tone("warn", "question"),
    # trust
    "reduced_autonomy": Tone("bad", "down"),
    # tripwires, modes, waiting
    "standard": Tone("warn", "alert"),
    "critical": Tone("bad", "alert"),
    "severe": Tone("bad", "bolt"),
    "shadow": Tone("muted", "eye"),
    "off": Tone("muted", "cross"),
    "enforce": Tone("info", "lock"),
    "approval": Tone("warn", "person"),
    "confirmation": Tone("warn", "question"),
    "cancel_window": Tone("info", "clock"),
}


def tone_of(word: str) -> Tone:
    """The tone of a state, a status, an outcome, a posture or a severity."""
    return _TONES.get(word, _OTHER)

"""Characters that nobody sees, made visible: what is shown to a person who decides must be what is there, and in its order."""

import re

from markupsafe import Markup, escape

_EMOJI = r"[\u200d\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
_UNSEEN = re.compile(
    rf"(?<!{_EMOJI})[\u200d\ufe0e\ufe0f]|\u200d(?!{_EMOJI})"  # joins emoji and picks their looks, and nothing elsewhere
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_EDGES = re.compile(r"^\s+|\s+$")
_NO_PLAIN_SPACE = re.compile(r"[^\S \n\t\r]")


def visible(value: object) -> object:
    """What a template writes: a text with its controls, marks of direction and signs without width written as `\\u202e`.

    Markup has passed here already, piece by piece.
    """
    return value if isinstance(value, Markup) or not isinstance(value, str) else _UNSEEN.sub(_code, value)


def name(text: str) -> str:
    """A name, of which blanks at its ends are a part: they are shown as `␣`, and blanks that only look like one as `\\u00a0`."""
    return _NO_PLAIN_SPACE.sub(_code, _EDGES.sub(lambda blanks: "".join(_edge(sign) for sign in blanks[0]), text))


def as_sent(text: object) -> Markup:
    """A value of a form: it goes back as it is, seen or not."""
    return escape(text)


def _edge(sign: str) -> str:
    return "␣" if sign == " " else rf"\u{ord(sign):04x}"


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return rf"\u{number:04x}" if number <= 0xFFFF else rf"\U{number:08x}"

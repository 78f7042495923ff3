"""Characters that nobody sees, made visible: what is shown to a person who decides must be what is there, and in its order."""

import re
from unicodedata import category

from markupsafe import Markup, escape

_JOINING_SCRIPTS = (
    (0x0600, 0x077F),  # Arabic, Syriac
    (0x07C0, 0x0DFF),  # N'Ko, Mandaic, more of Arabic, Devanagari to Sinhala
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17B3),  # Khmer, but for two vowels that nobody sees
    (0x17B6, 0x17FF),
    (0x1820, 0x18AF),  # Mongolian
    (0xFB50, 0xFDFF),  # Arabic as it is drawn
    (0xFE70, 0xFEFC),
)
_LETTER = f"[{''.join(chr(code) for first, last in _JOINING_SCRIPTS for code in range(first, last + 1) if category(chr(code))[0] in 'LM')}]"
"""Letters, and the marks that go with them, of scripts in which joiners and non-joiners decide what a word looks like."""
_VIRAMA = r"[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca]"
_EMOJI = r"[\u200d\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
_JOINERS = r"\u200c\u200d"
_LOOKS = r"\ufe0e\ufe0f"
_NEVER_SEEN = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_JOINS = rf"(?<={_LETTER})[{_JOINERS}]{_LETTER}|(?<={_VIRAMA})\u200d|(?<={_EMOJI})\u200d{_EMOJI}"
_UNSEEN = re.compile(rf"(?!{_JOINS})[{_JOINERS}]|(?<!{_EMOJI})[{_LOOKS}]|[{_NEVER_SEEN}]")
_NO_PART_OF_A_NAME = re.compile(rf"[^\S ]|[{_JOINERS}{_LOOKS}{_NEVER_SEEN}]|␣|\\(?=u[0-9a-f]{{4}}|U[0-9a-f]{{8}})")
"""What is written out in a name wherever it stands, and what would pass for something that was written out."""
_BLANKS = re.compile(r"^ +| +$|(?<= ) +")


def visible(value: object) -> object:
    """What a template writes: a text with its controls, marks of direction and signs without width written as `\\u202e`.

    Markup has passed here already, piece by piece.
    """
    return value if isinstance(value, Markup) or not isinstance(value, str) else _UNSEEN.sub(_code, value)


def name(text: str) -> str:
    """A name, such that no two look the same for what they hold: blanks at its ends, and all but the first of several, are shown as `␣`.

    Ends of lines, tabs, blanks that only look like one and all that nobody sees are written as `\\u00a0`, joiners of letters and emoji too.
    """
    return _BLANKS.sub(lambda blanks: "␣" * len(blanks[0]), _NO_PART_OF_A_NAME.sub(_code, text))


def as_sent(text: object) -> Markup:
    """A value of a form: it goes back as it is, seen or not."""
    return escape(text)


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return rf"\u{number:04x}" if number <= 0xFFFF else rf"\U{number:08x}"

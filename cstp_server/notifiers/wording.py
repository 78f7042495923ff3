"""Words for people: a story in its parts, and what others wrote, made harmless."""

import shlex

from cstp_server.domain.values import dataclass

_LONGEST = 300
_BROADCASTS = ("@everyone", "@here", "@channel", "@all")
_BREAK = "\N{ZERO WIDTH SPACE}"


@dataclass(frozen=True, slots=True)
class Story:
    """One alert in words: a line that says what happened, then what follows from it, why, and what to do.

    `detail` is what tells it from others of the same title, where only that line of it is told.
    """

    title: str
    what: str
    why: str = ""
    todo: str = ""
    detail: str = ""


def plain(value: object, longest: int = _LONGEST) -> str:
    """What agents and people wrote, on one line, bounded, without anything that a chat or a terminal would obey."""
    text = " ".join(str(value).split())
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    text = text.replace("<", f"<{_BREAK}").replace("](", f"]{_BREAK}(")
    for word in _BROADCASTS:
        text = text.replace(word, f"@{_BREAK}{word[1:]}")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def typed(value: object) -> str:
    """An id as an argument of a command that is shown to people: whatever it is, a shell takes it for nothing else."""
    return shlex.quote(plain(value))

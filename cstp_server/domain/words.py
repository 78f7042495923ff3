"""The words of an action's type: `issue_refund` is about a `refund`, and so is `issueRefunds` (SPEC 7)."""

import re
from functools import lru_cache

_BOUNDARY = re.compile(r"[_\-.\s]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_PLURAL = ("ss", "us", "is")
_SILENT_E = re.compile(r"(?<=ch|sh|.s|.x|.z)e$")


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """The words as they are compared; split at `_`, `-`, `.`, space and camelCase."""
    return tuple(_compared(word.lower()) for word in _BOUNDARY.split(name.strip()) if word)


def contains(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether `wanted` stands among the words, one word after another."""
    size = len(wanted)
    if size == 1:
        return wanted[0] in words
    return any(words[start : start + size] == wanted for start in range(len(words) - size + 1))


def _compared(word: str) -> str:
    """The form in which a word and its plural are the same: nobody gets past a limit by an `s`."""
    if len(word) > 2 and word.endswith("s") and not word.endswith(_NO_PLURAL):
        word = word[:-1]
        if word.endswith("ie"):
            word = word[:-1]
    elif word.endswith("ie"):
        word = word[:-1]
    word = _SILENT_E.sub("", word)
    return f"{word[:-1]}i" if word.endswith("y") and len(word) > 2 else word

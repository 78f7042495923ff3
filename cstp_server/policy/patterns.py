"""Regular expressions of the policy, searched in time that grows no faster than the text (RE2)."""

import re

import re2  # type: ignore[import-untyped]  # the wheel carries no types

_MAX_MEMORY = 4 * 1024 * 1024
_LONGEST = 2000
_QUOTED = 200
_UNBOUNDED = re.compile(r"\\[1-9]|\(\?(?:[=!]|<|P\b)")


def linear_pattern(regex: str) -> re2._Regexp:
    """The compiled expression, for UTF-8. Raises `ValueError` for one that is none, or that cannot be searched in linear time."""
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(regex.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise ValueError(f"`{regex[:_QUOTED]}` cannot be used: {_complaint(error)}") from None


def checked_regex(regex: str) -> str:
    """The expression as it is, if it can be used. Raises `ValueError` as `linear_pattern`."""
    if not regex:
        raise ValueError("must be a text that is not empty")
    if len(regex) > _LONGEST:
        raise ValueError(f"must be at most {_LONGEST} characters long")
    linear_pattern(regex)
    return regex


class TextPattern:
    """One regular expression as a detector."""

    def __init__(self, regex: str) -> None:
        self.regex = regex
        self._search = linear_pattern(regex).search

    def finds(self, text: str, /) -> bool:
        """Whether the expression matches anywhere in the text."""
        return self._search(text.encode(errors="replace")) is not None


def _complaint(error: Exception) -> str:
    cause = error.args[0] if error.args else ""
    text = cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)
    if "too large" in text:
        return "it becomes too large: repeat less, or fewer things"
    if _UNBOUNDED.search(text):
        return "back-references and look-around take time without bounds and are not supported"
    return text or "it is no regular expression"

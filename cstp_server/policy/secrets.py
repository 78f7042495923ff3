"""Finding credentials in what an action says of itself, and taking them out of it (SPEC 7).

One search over all texts of an action tells almost always that there is none, in time that grows no faster than the texts. Only where it
finds something are the kinds told apart. What an action says is searched as one text, so that a name gives its value away, and a key
that is spread over a list of lines is found. How many places are looked at closely is bounded: a text that is full of what might be
credentials is taken for one as a whole.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any, TypeVar

import re2  # type: ignore[import-untyped]  # the wheel carries no types

from cstp_server.domain.facts import Facts
from cstp_server.domain.values import dataclass
from cstp_server.policy.credentials import (
    CREDENTIALS,
    JOINT,
    PLACEHOLDER,
    PRIVATE_KEY,
    PRIVATE_KEY_BODY,
    PRIVATE_KEY_END,
    Credential,
)
from cstp_server.policy.texts import Renewal, texts_in, texts_of, with_text, with_texts

MOST_PLACES = 4096
"""How many places of one action, or of one text, are looked at closely."""
_Said = TypeVar("_Said")
_TOO_MANY = "more that looks like credentials than can be told apart"
_WHOLESALE = "[redacted: credentials]"
_ROUNDS = 3
_BATCH = 7
_SURROGATES = "surrogatepass"
_GAP = JOINT.encode()
_LEAST = 6
_LONGEST_PREFIX = 16
_FILLER = 12
_LONGEST_PLACEHOLDER = 200
_REPETITION = re.compile(r"\{(\d+)(?:,\d*)?\}")
_GROUP = re.compile(r"(?<!\\)\((?!\?)")


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern.encode(), options)


def _loosened(pattern: str) -> str:
    """A pattern that finds whatever the given one does, and is cheaper to search: without long counts, and without groups."""
    return _GROUP.sub("(?:", _REPETITION.sub(lambda found: f"{{{min(int(found[1]), _LEAST)},}}", pattern))


def _screen(credentials: Iterable[Credential]) -> re2._Regexp:
    """One search for whatever looks remotely like any of them."""
    return _compiled("|".join(_loosened(pattern) for credential in credentials for pattern in credential.patterns))


_ANY = _screen((*CREDENTIALS, PRIVATE_KEY))
_BATCHES = tuple(
    (_screen(batch), tuple((credential, tuple(map(_compiled, credential.patterns))) for credential in batch))
    for batch in (CREDENTIALS[start : start + _BATCH] for start in range(0, len(CREDENTIALS), _BATCH))
)
_KEY_START, _KEY_END, _KEY_BODY = map(_compiled, (*PRIVATE_KEY.patterns, PRIVATE_KEY_END, PRIVATE_KEY_BODY))
_PLACEHOLDER = _compiled(PLACEHOLDER)


class _TooManyPlaces(Exception):
    """More places would have to be looked at closely than may be."""


class _Places:
    """How many places may still be looked at closely."""

    def __init__(self, most: int) -> None:
        self._left = most

    def look(self) -> None:
        """Take one. Raises `_TooManyPlaces` if none is left."""
        if not self._left:
            raise _TooManyPlaces
        self._left -= 1


@dataclass(frozen=True, slots=True)
class _Span:
    """Where in the joined texts a credential stands; offsets in bytes."""

    start: int
    end: int
    credential: Credential


class CredentialScanner:
    """Knows credentials by their looks. It has no state: one serves all threads.

    Where more than `most_places` places look like credentials, placeholders among them, everything is taken for one.
    """

    def __init__(self, most_places: int = MOST_PLACES) -> None:
        self._most = most_places

    def find(self, facts: Facts, /) -> tuple[str, ...]:
        """The kinds of credentials in what the action says, each with its article, in words that quote nothing of them."""
        return self._kinds(_joined(texts_of(facts)))

    def redacted(self, facts: Facts, /) -> Facts:
        """The facts with `[redacted: <kind>]` in the place of every credential, in the names of fields too; nothing is left to find."""
        return self._redacted(facts, texts_of, with_texts)

    def redacted_text(self, text: str, /) -> str:
        """A text with `[redacted: <kind>]` in the place of every credential."""
        return self._redacted(text, texts_in, with_text)

    def redacted_value(self, value: Any, /) -> Any:
        """A JSON value with `[redacted: <kind>]` in the place of every credential, in names too; the very same if it holds none."""
        return self._redacted(value, texts_in, with_text)

    def _redacted(self, said: _Said, texts_from: Callable[[_Said], list[str]], renewed: Callable[[_Said, Renewal], _Said]) -> _Said:
        clean = self._without_credentials(texts_from(said))
        if clean is None:
            return said
        renewal = Renewal(iter(clean))
        redacted = renewed(said, renewal)
        if renewal.as_given or not self._kinds(_joined(texts_from(redacted))):
            return redacted
        return renewed(said, Renewal(repeat(_WHOLESALE)))

    def _without_credentials(self, texts: list[str]) -> list[str] | None:
        """The texts without credentials; `None` if they hold none. Where nothing else helps, whole texts give way."""
        joined = _joined(texts)
        if _ANY.search(joined) is None:
            return None
        try:
            for done in range(_ROUNDS):
                spans = _merged(_spans(joined, _Places(self._most)))
                if not spans:
                    return _parted(joined, texts) if done else None
                joined = _marked(joined, spans)
        except _TooManyPlaces:
            pass
        return [_WHOLESALE] * len(texts)

    def _kinds(self, joined: bytes) -> tuple[str, ...]:
        if _ANY.search(joined) is None:
            return ()
        places = _Places(self._most)
        found: list[str] = []
        try:
            for credential, patterns in _suspects(joined):
                if any(True for pattern in patterns for _ in _secrets(pattern, joined, places)):
                    found.append(f"{credential.article} {credential.kind}")
        except _TooManyPlaces:
            found.append(_TOO_MANY)
        if _KEY_START.search(joined) is not None:
            found.append(f"{PRIVATE_KEY.article} {PRIVATE_KEY.kind}")
        return tuple(found)


SCANNER = CredentialScanner()


def _joined(texts: list[str]) -> bytes:
    """The texts with `JOINT` between them, and nowhere else."""
    joined = JOINT.join(texts)
    if joined.count(JOINT) >= len(texts):
        joined = JOINT.join(text.replace(JOINT, " ") for text in texts)
    return joined.encode("utf-8", _SURROGATES)


def _parted(joined: bytes, texts: list[str]) -> list[str]:
    """The single texts again; where one is as it was, the very same."""
    parted = joined.decode("utf-8", _SURROGATES).split(JOINT)
    return [text if text == part else part for text, part in zip(texts, parted, strict=True)]


def _suspects(joined: bytes) -> Iterator[tuple[Credential, tuple[re2._Regexp, ...]]]:
    """The credentials that may be in there, with how they look exactly."""
    for screen, batch in _BATCHES:
        if screen.search(joined) is not None:
            yield from batch


def _spans(joined: bytes, places: _Places) -> Iterator[_Span]:
    for credential, patterns in _suspects(joined):
        for pattern in patterns:
            for start, end in _secrets(pattern, joined, places):
                yield _Span(start, end, credential)
    yield from _private_keys(joined, places)


def _secrets(pattern: re2._Regexp, joined: bytes, places: _Places) -> Iterator[tuple[int, int]]:
    """Where the secrets that the pattern finds stand. A placeholder is looked into, for it may hide one."""
    group, after = pattern.groups, 0
    while (found := pattern.search(joined, after)) is not None:
        places.look()
        start, end = found.span(group)
        if (_is_placeholder if group else _is_example)(joined[start:end]):
            after = start if group else start + 1
        else:
            yield start, end
            after = end


def _private_keys(joined: bytes, places: _Places) -> Iterator[_Span]:
    """Private keys from their first line to their last, or, where that is missing, as far as they may go on."""
    after, ended = 0, True
    while (first := _KEY_START.search(joined, after)) is not None:
        places.look()
        start, after = first.span()
        last = _KEY_END.search(joined, after) if ended else None
        ended = last is not None
        after = (last or _KEY_BODY.match(joined, after)).end()
        yield _Span(start, after, PRIVATE_KEY)


def _is_placeholder(secret: bytes) -> bool:
    """Whether a secret that stands by itself is none. What is too long for a placeholder is not looked at twice."""
    return len(secret) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.fullmatch(secret) is not None


def _is_example(token: bytes) -> bool:
    """Whether a token is a maker's prefix before one repeated letter."""
    prefix = len(token.lower().rstrip(token[-1:].lower()))
    return prefix <= _LONGEST_PREFIX and len(token) - prefix >= _FILLER


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """The spans in their order, those that overlap as one."""
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if merged and span.start < merged[-1].end:
            merged[-1] = replace(merged[-1], end=max(span.end, merged[-1].end))
        else:
            merged.append(span)
    return merged


def _marked(joined: bytes, spans: Iterable[_Span]) -> bytes:
    """The joined texts with a mark in the place of what each of them has of a span. No span cuts a character."""
    parts: list[bytes] = []
    done = 0
    for span in spans:
        mark = f"[redacted: {span.credential.kind}]".encode()
        parts.append(joined[done : span.start])
        parts.append(_GAP.join(mark if part else part for part in joined[span.start : span.end].split(_GAP)))
        done = span.end
    return b"".join((*parts, joined[done:]))

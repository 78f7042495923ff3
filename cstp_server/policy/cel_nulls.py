"""Absent keys of an agent's free fields read as null, in every form of access (SPEC 6).

The language itself makes an absent key an error. The source is therefore rewritten, by insertions alone, to its optional syntax:
`action.context.x` becomes `action.context.?x.orValue(null)` and `action.context[k]` becomes `action.context[?k].orValue(dyn(null))`.
Only the first level reads as null: a field of null is an error, which a hard guard counts as matched. `has(…)` is left alone.
"""

from collections.abc import Sequence

from cstp_server.domain.values import dataclass
from cstp_server.policy.cel_tokens import Token, TokenKind, tokens_of

FREE_FIELDS = frozenset({"context", "parameters"})
"""The fields of `action` that the agent fills as it likes."""
FREE_VARIABLES = frozenset({"metadata"})
"""Variables that are free maps themselves."""
_OPENING = {"(": ")", "[": "]", "{": "}"}
_CLOSING = frozenset(_OPENING.values())
_END = Token(TokenKind.SPACE, "", 0)
_NAMES = frozenset({TokenKind.NAME, TokenKind.QUOTED_NAME})
_OPERANDS = frozenset({TokenKind.NAME, TokenKind.QUOTED_NAME, TokenKind.TEXT, TokenKind.NUMBER})


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A source with insertions, each with its offset in the original source, in order."""

    source: str
    insertions: tuple[tuple[int, str], ...]

    def original_offset(self, offset: int) -> int:
        """Where in the original source an offset of the rewritten one lies."""
        inserted = 0
        for place, text in self.insertions:
            if place + inserted >= offset:
                break
            if offset < place + inserted + len(text):
                return place
            inserted += len(text)
        return offset - inserted


def with_nulls(source: str) -> Rewritten:
    """The source in which absent keys of free fields read as null."""
    tokens = [token for token in tokens_of(source) if token.kind is not TokenKind.SPACE]
    insertions = sorted(_Walk(tokens).insertions(), key=lambda insertion: insertion[0])
    parts: list[str] = []
    done = 0
    for place, text in insertions:
        parts += (source[done:place], text)
        done = place
    return Rewritten("".join([*parts, source[done:]]), tuple(insertions))


class _Walk:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens

    def insertions(self) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        index = 0
        while index < len(self._tokens):
            if self._starts_has(index):
                index = self._after_bracket(index + 1)
                continue
            after = self._after_free_map(index)
            if after is not None:
                found += self._access(after)
            index += 1
        return found

    def _at(self, index: int) -> Token:
        return self._tokens[index] if 0 <= index < len(self._tokens) else _END

    def _is_variable(self, index: int) -> bool:
        if self._at(index).kind is not TokenKind.NAME or self._at(index + 1).text == "(":
            return False
        return self._at(index - 1).text not in {".", "?"} or not self._selects(index - 1)

    def _selects(self, index: int) -> bool:
        """Whether the sign at `index` selects a field of what stands before it."""
        if self._at(index).text == "?":
            return self._at(index - 1).text == "."
        before = self._at(index - 1)
        return before.kind in _OPERANDS or before.text in _CLOSING

    def _starts_has(self, index: int) -> bool:
        return self._at(index).is_name("has") and self._at(index + 1).text == "(" and self._at(index - 1).text != "."

    def _after_bracket(self, index: int) -> int:
        """The place after the bracket that closes the one at `index`."""
        depth = 0
        while index < len(self._tokens):
            token = self._at(index)
            if token.kind is TokenKind.SIGN:
                depth += (token.text in _OPENING) - (token.text in _CLOSING)
            index += 1
            if depth == 0:
                break
        return index

    def _after_free_map(self, index: int) -> int | None:
        """The place after the free map that starts with the variable at `index`, and after parentheses around it."""
        if not self._is_variable(index):
            return None
        first, after = self._unwrapped(index, index + 1)
        if self._at(index).text in FREE_VARIABLES:
            return after
        if self._at(index).text != "action":
            return None
        selected = self._after_free_field(after)
        return self._unwrapped(first, selected)[1] if selected is not None else None

    def _after_free_field(self, index: int) -> int | None:
        one, two, three = self._at(index), self._at(index + 1), self._at(index + 2)
        if one.text == "." and two.is_name(*FREE_FIELDS) and three.text != "(":
            return index + 2
        if one.text == "[" and two.literal in FREE_FIELDS and three.text == "]":
            return index + 3
        return None

    def _unwrapped(self, first: int, after: int) -> tuple[int, int]:
        """The bounds of an operand together with the parentheses that hold nothing else."""
        while self._at(first - 1).text == "(" and self._at(after).text == ")" and not self._calls(first - 1):
            first, after = first - 1, after + 1
        return first, after

    def _calls(self, index: int) -> bool:
        before = self._at(index - 1)
        return before.kind in _NAMES and not before.is_name("in")

    def _access(self, index: int) -> list[tuple[int, str]]:
        """What to insert where a free map's key is read at `index`."""
        sign, key, behind = self._at(index), self._at(index + 1), self._at(index + 2)
        if sign.text == "." and key.kind in _NAMES and behind.text != "(":
            return [(key.start, "?"), (key.end, ".orValue(null)")]
        if sign.text == "[" and key.text != "?":
            closing = self._at(self._after_bracket(index) - 1)
            return [(sign.end, "?"), (closing.end, ".orValue(dyn(null))")]
        return []

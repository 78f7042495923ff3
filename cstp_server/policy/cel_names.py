"""Names in conditions, in the form in which they are compared (SPEC 3).

Categories, types, tags and stakes come to the conditions folded, so `action.category == "Billing"` could never hold. A text that is
compared with one of them is therefore folded as well: beside `==` and `!=`, in the list after `in`, and before `in action.tags`.
"""

import json
from collections.abc import Iterator, Sequence

from cstp_server.domain.facts import fold_name
from cstp_server.policy.cel_tokens import Token, TokenKind, tokens_of

_ACTION = "action"
_FOLDED = frozenset({"category", "type", "stakes"})
_TAGS = frozenset({"tags"})
_EQUALITY = frozenset({"==", "!="})
_FIELD_LENGTH = 3


def with_folded_names(source: str) -> str:
    """The source with every text folded that is compared with a name."""
    tokens = tokens_of(source)
    folded = dict(_folded_names([token for token in tokens if token.kind is not TokenKind.SPACE]))
    return "".join(folded.get(token.start, token.text) for token in tokens)


def texts_compared_with(source: str, variable: str, field: str) -> Iterator[str]:
    """Every text that an expression compares a field with, by `==`, `!=` or `in` a list."""
    code = [token for token in tokens_of(source) if token.kind is not TokenKind.SPACE]
    for index, token in enumerate(code):
        if token.literal is not None and _is_compared(code, index, variable, frozenset({field})):
            yield token.literal


def _folded_names(code: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """The start of each text that is to be another, and what it is to be."""
    for index, token in enumerate(code):
        name = token.literal
        if name is not None and fold_name(name) != name and (_is_compared(code, index, _ACTION, _FOLDED) or _is_tag(code, index)):
            yield token.start, json.dumps(fold_name(name), ensure_ascii=False)


def _is_compared(code: Sequence[Token], index: int, variable: str, fields: frozenset[str]) -> bool:
    """Whether the text at `index` is compared with one of the variable's fields."""
    before, after = _text(code, index - 1), _text(code, index + 1)
    if before in _EQUALITY and _is_field(code, index - 1 - _FIELD_LENGTH, variable, fields):
        return True
    if after in _EQUALITY and _is_field(code, index + 2, variable, fields):
        return True
    opening = _opening(code, index)
    return _text(code, opening - 1) == "in" and _is_field(code, opening - 1 - _FIELD_LENGTH, variable, fields)


def _is_tag(code: Sequence[Token], index: int) -> bool:
    return _text(code, index + 1) == "in" and _is_field(code, index + 2, _ACTION, _TAGS)


def _opening(code: Sequence[Token], index: int) -> int:
    """The place of the bracket that opens the list of texts around `index`; 0 where there is none."""
    while index > 0 and (code[index].kind is TokenKind.TEXT or code[index].text == ","):
        index -= 1
    return index if code[index].text == "[" else 0


def _is_field(code: Sequence[Token], start: int, variable: str, names: frozenset[str]) -> bool:
    """Whether the variable and one of its fields, and nothing of that field, stand at `start`."""
    if _text(code, start) != variable or _text(code, start + 1) != "." or _text(code, start + 2) not in names:
        return False
    return _text(code, start - 1) != "." and _text(code, start + _FIELD_LENGTH) not in {".", "[", "("}


def _text(code: Sequence[Token], index: int) -> str:
    return code[index].text if 0 <= index < len(code) else ""

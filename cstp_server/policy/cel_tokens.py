"""The tokens of the Common Expression Language, as far as telling names, texts and brackets apart needs them."""

import re
from enum import StrEnum

from cstp_server.domain.values import dataclass


class TokenKind(StrEnum):
    """What a stretch of an expression is."""

    SPACE = "space"
    TEXT = "text"
    NAME = "name"
    QUOTED_NAME = "quoted_name"
    NUMBER = "number"
    SIGN = "sign"
    OTHER = "other"


_PATTERN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<text>
        [bB]?[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n\r]*"|'[^'\n\r]*')
      | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n\r])*"|'(?:\\.|[^'\\\n\r])*')
    )
  | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
  | (?P<quoted_name>`[^`\n]+`)
  | (?P<number>0x[0-9a-fA-F]+[uU]?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+[uU]?)
  | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]{}])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TEXT_PARTS = re.compile(r"[bBrR]{0,2}(\"{3}|'{3}|\"|')(.*)\1", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of the source, with its offsets; together the tokens are the whole source."""

    kind: TokenKind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset after the token."""
        return self.start + len(self.text)

    def is_name(self, *names: str) -> bool:
        """Whether this is one of the given names."""
        return self.kind is TokenKind.NAME and self.text in names

    @property
    def literal(self) -> str | None:
        """What a plain text literal stands for; none for other tokens, for bytes, and for texts with escapes."""
        if self.kind is not TokenKind.TEXT or self.text[0] in "bB":
            return None
        parts = _TEXT_PARTS.fullmatch(self.text)
        return parts.group(2) if parts is not None and "\\" not in parts.group(2) else None


def tokens_of(source: str) -> list[Token]:
    """All tokens of an expression, white space and comments among them. Never fails: what is no token is `OTHER`."""
    return [Token(TokenKind(match.lastgroup or TokenKind.OTHER), match.group(), match.start()) for match in _PATTERN.finditer(source)]

"""The fenced blocks of a document, with what the document says about running them.

A comment on the line before a fence tells what the block is, where its language alone does not:

    <!-- example: answer -->            the answer to the command or request before it; fields that it leaves out may be anything,
                                        and so may a value that is `…`
    <!-- example: file NAME -->         is written to that file, for the commands after it
    <!-- example: workflow -->          a CI step: its `run` is run
    <!-- example: scrape -->            a Prometheus scrape configuration
    <!-- example: tools -->             a program's configuration, by which it gets the tools for agents
    <!-- example: not run: REASON -->   cannot be run by a test
"""

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<fence>```+)(?P<language>\w*)\s*$")
_DIRECTIVE = re.compile(r"^<!-- example: (?P<text>.+) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, what is said about it, its text, and the line it starts on."""

    document: str
    line: int
    language: str
    directive: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    lines = document.read_text().splitlines()
    place = 0
    while place < len(lines):
        opening = _FENCE.match(lines[place])
        if opening is not None:
            closing = lines.index(opening["fence"], place + 1)
            said = _DIRECTIVE.match(lines[place - 1]) if place else None
            text = "\n".join(lines[place + 1 : closing])
            found.append(Block(document.name, place + 1, opening["language"], said["text"] if said else "", text))
            place = closing
        place += 1
    return found

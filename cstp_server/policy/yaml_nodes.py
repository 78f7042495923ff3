"""Strict YAML with the line of every key and value.

The reader goes over the parser's events, so that neither deep nesting nor aliases can exhaust the process. Scalars follow the core schema
of YAML 1.2: `true` and `false` alone are booleans, so `mode: off` and `on:` are what they look like; dates and `1:30` are texts.
Refused: a key given twice, keys that are no texts, tags, several documents, aliases that multiply.
"""

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, TypeAlias

import yaml

from cstp_server.domain.values import dataclass
from cstp_server.policy.problems import PolicyProblem

Scalar: TypeAlias = str | int | float | bool | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

MAX_BYTES = 4 * 1024 * 1024
"""The largest file that is read."""
MAX_VALUES = 200_000
"""How many values a file may hold, aliases counted as often as they are used."""
MAX_DEPTH = 32
"""How deep a file may nest."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_INT = 40
_NO_TEXT = "a key must be a text: write it in quotes"
_STRING_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a mapping, and where it stands; `implied` says that what stands below it was written without it."""

    name: str
    file: str
    line: int
    implied: bool = False


@dataclass(slots=True)
class Node:
    """A value, and where it stands. `size` counts the values in it, `depth` the levels."""

    file: str
    line: int
    value: "Scalar | list[Node] | dict[str, tuple[Key, Node]]"
    size: int = 1
    depth: int = 1

    def plain(self) -> Plain:
        """The value without its places."""
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {name: node.plain() for name, (_, node) in self.value.items()}
        return self.value

    def place_of(self, path: tuple[str | int, ...]) -> tuple[str, int]:
        """File and line of the key or item at `path`, or of the nearest thing above it that is there."""
        place, node = (self.file, self.line), self
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                key, node = node.value[str(step)]
                place = (key.file, key.line)
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                place = (node.file, node.line)
            else:
                break
        return place

    def at(self, path: tuple[str | int, ...]) -> "Node | None":
        """The value at `path`; none where there is none."""
        node = self
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[str(step)][1]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                return None
        return node

    def as_written(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """The path without the keys that were left out when it was written."""
        written: list[str | int] = []
        node: Node | None = self
        for step in path:
            key: Key | None = None
            value = node.value if node is not None else None
            if isinstance(value, dict) and step in value:
                key, node = value[str(step)]
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                node = value[step]
            else:
                node = None
            if key is None or not key.implied:
                written.append(step)
        return tuple(written)


class Unreadable(Exception):
    """A text that is no YAML, or none that is accepted; reading cannot go on."""

    def __init__(self, problem: PolicyProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class _Open:
    node: Node
    anchor: str | None
    key: Key | None = None


@dataclass(slots=True)
class _Reader:
    file: str
    problems: list[PolicyProblem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)
    root: Node | None = None
    documents: int = 0

    def read(self, events: Iterator[Any]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._add(Node(self.file, line, self._scalar(event, line)), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._aliased(str(event.anchor), line), None)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(line)

    def _document(self, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            raise Unreadable(PolicyProblem(self.file, line, "a second document starts here: a policy file holds one"))

    def _open(self, event: Any, line: int) -> None:
        self._refuse_tag(event.tag, line)
        if len(self.stack) >= MAX_DEPTH:
            raise Unreadable(PolicyProblem(self.file, line, f"nested deeper than {MAX_DEPTH} levels"))
        if self._wants_key():
            raise Unreadable(PolicyProblem(self.file, line, _NO_TEXT))
        node = Node(self.file, line, [] if isinstance(event, yaml.SequenceStartEvent) else {})
        self.stack.append(_Open(node, event.anchor))

    def _close(self) -> None:
        closed = self.stack.pop()
        self._add(closed.node, closed.anchor)

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].node.value, dict) and self.stack[-1].key is None

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        if self._wants_key():
            self.stack[-1].key = self._key(node)
            return
        parent = self.stack[-1].node
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.size > MAX_VALUES or parent.depth + len(self.stack) > MAX_DEPTH + 1:
            raise Unreadable(PolicyProblem(self.file, node.line, f"too large: at most {MAX_VALUES} values, {MAX_DEPTH} levels"))
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif isinstance(parent.value, dict):
            self._put(parent.value, node)

    def _put(self, mapping: "dict[str, tuple[Key, Node]]", node: Node) -> None:
        key = self.stack[-1].key
        self.stack[-1].key = None
        if key is None or not key.name:
            return
        if key.name in mapping:
            first = mapping[key.name][0]
            self._problem(key.line, f"the key `{key.name}` is given twice, first in line {first.line}")
            return
        mapping[key.name] = (key, node)

    def _key(self, node: Node) -> Key:
        """The key that a node is. One that is no text is a problem, and its value is left out."""
        if isinstance(node.value, str) and node.value:
            return Key(node.value, self.file, node.line)
        self._problem(node.line, _NO_TEXT)
        return Key("", self.file, node.line)

    def _aliased(self, anchor: str, line: int) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            raise Unreadable(PolicyProblem(self.file, line, f"`*{anchor}` refers to nothing that is complete before it"))
        return node

    def _scalar(self, event: Any, line: int) -> Scalar:
        self._refuse_tag(event.tag, line)
        value = str(event.value)
        if event.tag == _STRING_TAG or not event.implicit[0]:
            return value
        return _resolved(value)

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag not in {_STRING_TAG, "!"}:
            self._problem(line, f"the tag `{tag}` is not accepted: a policy holds plain values")

    def _problem(self, line: int, message: str) -> None:
        self.problems.append(PolicyProblem(self.file, line, message))


def _resolved(text: str) -> Scalar:
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text) and len(text) <= _LONGEST_INT:
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def read_yaml(text: str, file: str) -> tuple[Node | None, list[PolicyProblem]]:
    """The root of a document, none when it is empty, and what is wrong with it.

    Raises `Unreadable` when the text is not YAML at all, or so large or deep that it is not read to its end.
    """
    reader = _Reader(file)
    try:
        reader.read(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(PolicyProblem(file, mark.line + 1 if mark else None, f"this is not valid YAML: {error.problem}")) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise Unreadable(PolicyProblem(file, line, "this is not valid YAML: it holds a character that may not stand there")) from None
    return reader.root, reader.problems

"""The files of a policy, read and merged into one document (SPEC 12)."""

from pathlib import Path

from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.tripwire_models import wrapped_as
from cstp_server.policy.yaml_nodes import MAX_BYTES, Key, Node, Unreadable, read_yaml

SUFFIXES = frozenset({".yaml", ".yml"})
_HEADER = "template"
_HEADER_KEYS = frozenset({"name", "description", "version"})
_LIST_SECTION = "guardrails"
_TRIPWIRES = "tripwires"


def policy_files(path: Path) -> list[Path]:
    """The files that make up the policy at `path`: the file itself, or the folder's `*.yaml` and `*.yml` by name, hidden ones left out."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file())


def read_sources(path: Path) -> tuple[Node | None, list[PolicyProblem]]:
    """The merged document of all the policy's files, none when there is nothing to go on with, and what is wrong so far."""
    try:
        files = policy_files(path)
    except OSError as error:
        return None, [PolicyProblem(str(path), None, f"cannot be read: {error.strerror}")]
    if not files:
        return None, [PolicyProblem(str(path), None, "holds no policy: there is no `*.yaml` or `*.yml` file in this folder")]
    merged: Node | None = None
    problems: list[PolicyProblem] = []
    for file in files:
        node, found = _read_file(file)
        problems += found
        if node is not None:
            merged = node if merged is None else _merge(merged, node, "", problems)
    return merged, problems


def _read_file(path: Path) -> tuple[Node | None, list[PolicyProblem]]:
    file = str(path)
    try:
        root, problems = read_yaml(_text(path), file)
    except Unreadable as unreadable:
        return None, [unreadable.problem]
    if root is None or root.value is None:
        return None, [*problems, PolicyProblem(file, None, "is empty: write `{}` for a policy without rules")]
    return _as_sections(root, problems), problems


def _text(path: Path) -> str:
    file = str(path)
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Unreadable(PolicyProblem(file, None, "there is no such file or folder")) from None
    except OSError as error:
        raise Unreadable(PolicyProblem(file, None, f"cannot be read: {error.strerror}")) from None
    if len(content) > MAX_BYTES:
        raise Unreadable(PolicyProblem(file, None, f"is larger than {MAX_BYTES} bytes"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(PolicyProblem(file, content.count(b"\n", 0, error.start) + 1, "is not UTF-8")) from None


def _as_sections(root: Node, problems: list[PolicyProblem]) -> Node | None:
    """The document as a mapping of sections. CSTP's files may be a list of rules, and may start with a `template` header."""
    if isinstance(root.value, list):
        return Node(root.file, root.line, {_LIST_SECTION: (Key(_LIST_SECTION, root.file, root.line), root)})
    if not isinstance(root.value, dict):
        problems.append(PolicyProblem(root.file, root.line, "must be a mapping of sections, or a list of rules"))
        return None
    header = root.value.pop(_HEADER, None)
    if header is not None:
        _check_header(*header, problems)
    for name in [name for name, (_, node) in root.value.items() if node.value is None]:
        del root.value[name]
    _unwrap_tripwires(root)
    return root


def _unwrap_tripwires(root: Node) -> None:
    """Put limits that are given alone, and rules that are, under the keys that they have where both are given."""
    for holder in (root, *_children(root.at(("agents",)))):
        if not isinstance(holder.value, dict) or _TRIPWIRES not in holder.value:
            continue
        key, node = holder.value[_TRIPWIRES]
        wrapper = wrapped_as(node.value)
        if wrapper is not None:
            implied = Key(wrapper, node.file, node.line, implied=True)
            holder.value[_TRIPWIRES] = (key, Node(node.file, node.line, {wrapper: (implied, node)}))


def _children(node: Node | None) -> list[Node]:
    return [child for _, child in node.value.values()] if node is not None and isinstance(node.value, dict) else []


def _check_header(key: Key, header: Node, problems: list[PolicyProblem]) -> None:
    if not isinstance(header.value, dict):
        problems.append(PolicyProblem(key.file, key.line, "`template` must be a mapping"))
        return
    for name, (place, _) in header.value.items():
        if name not in _HEADER_KEYS:
            problems.append(PolicyProblem(place.file, place.line, f"unknown key `{name}` in `template`"))


def _merge(first: Node, second: Node, path: str, problems: list[PolicyProblem]) -> Node:
    """Two files' values in one: lists follow each other, mappings are united, and no key is given twice."""
    if isinstance(first.value, list) and isinstance(second.value, list):
        return Node(first.file, first.line, [*first.value, *second.value])
    if not (isinstance(first.value, dict) and isinstance(second.value, dict)):
        problems.append(PolicyProblem(second.file, second.line, f"`{path}` is given twice, first in {first.file}:{first.line}"))
        return first
    united = dict(first.value)
    for name, (key, node) in second.value.items():
        if name in united:
            kept, held = united[name]
            below = path if kept.implied and key.implied else f"{path}.{name}" if path else name
            united[name] = (kept, _merge(held, node, below, problems))
        else:
            united[name] = (key, node)
    return Node(first.file, first.line, united)

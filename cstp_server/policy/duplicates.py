"""Names that must not be given twice: scopes of circuits, and ids of circuits and rules."""

from collections.abc import Iterator

from cstp_server.domain.scopes import BadScope, parse_scope
from cstp_server.policy.circuit_models import default_id
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.yaml_nodes import Key, Node

Place = tuple[str, int]


def duplicates_in(root: Node) -> list[PolicyProblem]:
    """Every scope and every id that is given a second time, naming both places. Looks at the document, valid or not."""
    problems: list[PolicyProblem] = []
    scopes: dict[str, Place] = {}
    ids: dict[str, Place] = {}
    for item in _items(root, "circuit_breakers"):
        scope = _scope(item)
        if scope is not None:
            _note(scopes, scope[0], scope[1], f"the scope `{scope[0]}`", problems)
        named = _text(item, "id")
        if named is not None:
            _note(ids, *named, f"the id `{named[0]}`", problems)
        elif scope is not None and scopes[scope[0]] == scope[1]:
            _note(ids, default_id(scope[0]), scope[1], f"the id `{default_id(scope[0])}`", problems)
    for item in _items(root, "guardrails"):
        named = _text(item, "id")
        if named is not None:
            _note(ids, *named, f"the id `{named[0]}`", problems)
    return problems


def _note(seen: dict[str, Place], name: str, place: Place, what: str, problems: list[PolicyProblem]) -> None:
    first = seen.setdefault(name, place)
    if first is not place:
        problems.append(PolicyProblem(*place, f"{what} is given twice, first in {first[0]}:{first[1]}"))


def _items(root: Node, section: str) -> Iterator[dict[str, tuple[Key, Node]]]:
    if isinstance(root.value, dict) and section in root.value:
        node = root.value[section][1]
        for item in node.value if isinstance(node.value, list) else []:
            if isinstance(item.value, dict):
                yield item.value


def _text(item: dict[str, tuple[Key, Node]], name: str) -> tuple[str, Place] | None:
    if name not in item:
        return None
    key, node = item[name]
    return (node.value, (key.file, key.line)) if isinstance(node.value, str) else None


def _scope(item: dict[str, tuple[Key, Node]]) -> tuple[str, Place] | None:
    named = _text(item, "scope")
    if named is None:
        return None
    try:
        return str(parse_scope(named[0])), named[1]
    except BadScope:
        return None

"""What must not be given twice: scopes of circuits, ids of circuits, rules, tripwires and guards, earned postures, names of channels."""

from collections.abc import Iterator, Mapping

from cstp_server.domain.scopes import BadScope, parse_scope
from cstp_server.policy.built_in import BUILT_IN
from cstp_server.policy.circuit_models import default_id
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.tripwire_models import LIMITS, RULES
from cstp_server.policy.yaml_nodes import Key, Node

Place = tuple[str, int]


def duplicates_in(root: Node) -> list[PolicyProblem]:
    """All that is given a second time, naming both places. Looks at the document, valid or not."""
    problems: list[PolicyProblem] = []
    ids: dict[str, Place] = {}
    _look_at_circuits(root, ids, problems)
    rules = (named for item in _items(root, "guardrails") if (named := _text(item, "id")) is not None)
    for names in (*rules, *_listed(root, ("postures", "guards"), "name")):
        _note(ids, *names, f"the id `{names[0]}`", problems)
    problems += [
        PolicyProblem(*place, f"the id `{name}` is that of a built-in tripwire: use another")
        for name, place in ids.items()
        if name in BUILT_IN
    ]
    for names in _tripwires(root, "tripwires"):
        _note(ids, *names, f"the id `{names[0]}`", problems)
    _look_at_agents(root, ids, problems)
    earned: dict[str, Place] = {}
    for names in _listed(root, ("postures", "earned"), "to"):
        _note(earned, *names, f"the earned posture `{names[0]}`", problems)
    channels: dict[str, Place] = {}
    for names in _listed(root, ("notifications", "channels"), "name"):
        _note(channels, *names, f"the channel `{names[0]}`", problems)
    return problems


def _look_at_circuits(root: Node, ids: dict[str, Place], problems: list[PolicyProblem]) -> None:
    """Their scopes, and their ids, also those that follow from the scopes."""
    scopes: dict[str, Place] = {}
    for item in _items(root, "circuit_breakers"):
        scope = _scope(item)
        if scope is not None:
            _note(scopes, scope[0], scope[1], f"the scope `{scope[0]}`", problems)
        named = _text(item, "id")
        if named is not None:
            _note(ids, *named, f"the id `{named[0]}`", problems)
        elif scope is not None and scopes[scope[0]] == scope[1]:
            _note(ids, default_id(scope[0]), scope[1], f"the id `{default_id(scope[0])}`", problems)


def _look_at_agents(root: Node, ids: Mapping[str, Place], problems: list[PolicyProblem]) -> None:
    """Each agent's tripwires among themselves, and beside the ids of other guards; `tightening` compares them with those for all."""
    for_all = {name for name, _ in _tripwires(root, "tripwires")}
    guards = {name: place for name, place in ids.items() if name not in for_all}
    agents = root.at(("agents",))
    for agent_id in agents.value if agents is not None and isinstance(agents.value, dict) else ():
        own = dict(guards)
        for names in _tripwires(root, "agents", agent_id, "tripwires"):
            _note(own, *names, f"the id `{names[0]}`", problems)


def _listed(root: Node, path: tuple[str, str], name: str) -> Iterator[tuple[str, Place]]:
    """A text of each item of the list at a place."""
    listed = root.at(path)
    for item in listed.value if listed is not None and isinstance(listed.value, list) else ():
        found = _text(item.value, name) if isinstance(item.value, dict) else None
        if found is not None:
            yield found


def _tripwires(root: Node, *path: str) -> Iterator[tuple[str, Place]]:
    """The names of the tripwires at a place, in the order of the document."""
    limits, rules = root.at((*path, LIMITS)), root.at((*path, RULES))
    if limits is not None and isinstance(limits.value, dict):
        yield from ((name, (key.file, key.line)) for name, (key, _) in limits.value.items())
    for item in rules.value if rules is not None and isinstance(rules.value, list) else ():
        named = _text(item.value, "name") if isinstance(item.value, dict) else None
        if named is not None:
            yield named


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

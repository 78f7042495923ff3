"""CSTP's flat forms of a condition, translated to CEL so that all forms mean the same (SPEC 6).

`condition_confidence: "< 0.5"` becomes `action.confidence < 0.5`. Categories, types and tags are compared folded, stakes by rank.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from enum import Enum

from cstp_server.domain.facts import Stakes, fold_name
from cstp_server.domain.scopes import TEMPLATE_VALUE, BadScope, Scope, ScopeKind, parse_scope

ACTION_FIELDS = frozenset({"stakes", "category", "confidence", "type", "description"})
_AGENT_NAMES = frozenset({"agent", "agent_id"})
_TAG_NAMES = frozenset({"tag", "tags"})
_FOLDED = frozenset({"category", "type"})
_TEXTS = frozenset({"category", "type", "description", *_AGENT_NAMES, *_TAG_NAMES})
_ROOTS = ("action.", "agent.", "user.")
_COMPARE: dict[str, Callable[[int, int], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ORDERED = frozenset(_COMPARE)
_OPERATOR = re.compile(r"(==|!=|<=|>=|<|>|=)(.*)", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_SUFFIXES = {"_lt": "<", "_lte": "<=", "_gt": ">", "_gte": ">=", "_eq": "==", "_ne": "!=", "_in": "in"}
_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"package", "namespace", "null", "return", "true", "var", "void", "while"}
)
_LARGEST_INT = 2**63 - 1


class FlatForm(Enum):
    """Whether a field's name may carry its operator (`confidence_lt`)."""

    PLAIN = "plain"
    SUFFIXED = "suffixed"


def condition_of(name: str, value: object, form: FlatForm) -> str:
    """The CEL of one field's condition. Raises `ValueError` with a message for values that cannot be compared."""
    field, sign = _split(name) if form is FlatForm.SUFFIXED else (name, None)
    if sign is None and isinstance(value, str):
        sign, value = _parsed(value)
    if sign == "in" or isinstance(value, list):
        return _membership(field, value, sign)
    return _comparison(field, sign or "==", value)


def requirement_of(name: str, value: object) -> str:
    """The CEL of one requirement: a field that must be true, or must compare as the value says."""
    return must_be_true(name) if value is True else condition_of(name, value, FlatForm.PLAIN)


def must_be_true(name: str) -> str:
    """The CEL of a required field."""
    return f"{cel_path(path_of(name))} == true"


def path_of(name: str) -> str:
    """The path of a required field below the subject: a bare name stands in `action.context`."""
    path = name.strip() if name.strip().startswith("action.") else f"action.context.{name.strip()}"
    if not all(path.split(".")):
        raise ValueError(f"`{name}` is no name of a field")
    return path


def scope_condition(names: Sequence[str]) -> str:
    """The CEL of a rule's scope: any of the scopes, or a project of that name, or no project named at all."""
    scopes = [scope for scope in map(_scope, names) if scope is not None]
    projects = [name for name in names if _scope(name) is None]
    parts = [_within(scope) for scope in scopes]
    if projects:
        listed = ", ".join(["null", '""', *(_literal(name) for name in projects)])
        parts.append(f"(action.context.project == null ? action.context.scope : action.context.project) in [{listed}]")
    return " || ".join(parts)


def cel_path(path: str) -> str:
    """A dotted path as CEL, with `["…"]` for names that are none of the language's."""
    first, *rest = path.split(".")
    return first + "".join(f".{name}" if _NAME.fullmatch(name) and name not in _RESERVED else f"[{_literal(name)}]" for name in rest)


def _split(name: str) -> tuple[str, str | None]:
    for suffix, sign in sorted(_SUFFIXES.items(), key=lambda item: -len(item[0])):
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), sign
    return name, None


def _parsed(text: str) -> tuple[str | None, object]:
    """The operator that a text starts with, none when it is only a value, and what is compared with."""
    matched = _OPERATOR.fullmatch(text.strip())
    if matched is None:
        return None, text
    sign, operand = matched.group(1), matched.group(2).strip()
    if sign == "=":
        raise ValueError(f"`{text}` starts with a single `=`: write `==`")
    if not operand:
        raise ValueError(f"`{text}` compares with nothing")
    return sign, _operand(operand)


def _operand(text: str) -> object:
    if text in {"true", "false"}:
        return text == "true"
    if _NUMBER.fullmatch(text):
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _membership(field: str, value: object, sign: str | None) -> str:
    if not isinstance(value, list):
        raise ValueError(f"`{field}_in` wants a list")
    if sign not in {None, "in", "==", "!="}:
        raise ValueError(f"`{sign}` cannot compare with a list")
    listed = [_comparison(field, "==", item) for item in value]
    if field not in _TAG_NAMES:
        joined = f"{_access(field)} in [{', '.join(_literal(_adapted(field, item)) for item in value)}]"
    else:
        joined = f"({' || '.join(listed)})"
    return f"!({joined})" if sign == "!=" else joined


def _comparison(field: str, sign: str, value: object) -> str:
    if field == "stakes" and sign in _ORDERED:
        return _stakes_order(sign, _stakes(value))
    if sign in _ORDERED and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"`{sign}` compares numbers, and `{value}` is none")
    adapted = _adapted(field, value, sign)
    if field in _TAG_NAMES:
        inside = f"{_literal(adapted)} in action.tags"
        return f"!({inside})" if sign == "!=" else inside
    return f"{_access(field)} {sign} {_literal(adapted)}"


def _adapted(field: str, value: object, sign: str = "==") -> object:
    """The value in the form in which the field holds it."""
    if field == "stakes":
        return _stakes(value).value
    if field == "confidence" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"`confidence` is a number, and `{value}` is none")
    if field in _TEXTS and (not isinstance(value, str) or sign in _ORDERED):
        raise ValueError(f"`{field}` is a text: it cannot be compared with `{sign} {value}`")
    return fold_name(value) if isinstance(value, str) and (field in _FOLDED or field in _TAG_NAMES) else value


def _stakes(value: object) -> Stakes:
    try:
        return Stakes(fold_name(str(value)))
    except ValueError:
        raise ValueError(f"`{value}` is no level of stakes: use {', '.join(f'`{level.value}`' for level in Stakes)}") from None


def _stakes_order(sign: str, level: Stakes) -> str:
    compare = _COMPARE[sign]
    return f"action.stakes in [{', '.join(_literal(other.value) for other in Stakes if compare(other.rank, level.rank))}]"


def _access(field: str) -> str:
    name = field.strip()
    if name in ACTION_FIELDS:
        return f"action.{name}"
    if name in _AGENT_NAMES:
        return "agent.id"
    path = name if name.startswith(_ROOTS) else f"action.context.{name}"
    if not all(path.split(".")):
        raise ValueError(f"`{field}` is no name of a field")
    return cel_path(path)


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > _LARGEST_INT:
            raise ValueError(f"`{value}` is beyond 64 bits")
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"`{value}` is no number to compare with")
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def _scope(name: str) -> Scope | None:
    """The scope that a name is, if it is one; a project's name may hold a colon too."""
    try:
        return parse_scope(name)
    except BadScope:
        if name.partition(":")[0].strip().lower() in ScopeKind.__members__.values():
            raise ValueError(f"`{name}` looks like a scope and is none") from None
        return None


def _within(scope: Scope) -> str:
    if TEMPLATE_VALUE in scope.value:
        raise ValueError(f"`{scope}` is a template: a rule's scope names a value")
    value = _literal(scope.value)
    user, _, domain = scope.value.rpartition("/")
    return {
        ScopeKind.GLOBAL: "true",
        ScopeKind.CATEGORY: f"action.category == {value}",
        ScopeKind.STAKES: f"action.stakes == {value}",
        ScopeKind.AGENT: f"agent.id == {value}",
        ScopeKind.TAG: f"{value} in action.tags",
        ScopeKind.USER: f"user.id == {_literal(user)} && user.domain == {_literal(domain)}",
    }[scope.kind]

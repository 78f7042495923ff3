"""What a circuit watches over: `global`, `category:<name>`, `stakes:<level>`, `agent:<id>`, `tag:<name>`, `user:<id>/<domain>` (SPEC 5)."""

from enum import StrEnum

from cstp_server.domain.facts import Facts, Stakes, fold_name
from cstp_server.domain.values import dataclass


class ScopeKind(StrEnum):
    """The part of a scope before the colon."""

    GLOBAL = "global"
    CATEGORY = "category"
    STAKES = "stakes"
    AGENT = "agent"
    TAG = "tag"
    USER = "user"


TEMPLATE_VALUE = "*"
USER_TEMPLATE = "user:*"
_FOLDED = frozenset({ScopeKind.CATEGORY, ScopeKind.TAG, ScopeKind.STAKES})
_KINDS = {kind.value: kind for kind in ScopeKind}
FORMS = "`global`, `category:<name>`, `stakes:<level>`, `agent:<id>`, `tag:<name>` or `user:<id>/<domain>`"


class BadScope(ValueError):
    """A text that is no scope; its message says what would be one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A parsed scope. `value` is empty for `global` and `*` for a template, which covers one circuit per value."""

    kind: ScopeKind
    value: str

    def __str__(self) -> str:
        return "global" if self.kind is ScopeKind.GLOBAL else f"{self.kind.value}:{self.value}"

    @property
    def is_template(self) -> bool:
        """Whether this stands for one circuit per value rather than for a circuit."""
        return self.value == TEMPLATE_VALUE

    @property
    def template(self) -> "Scope | None":
        """The template that would cover this scope; none for `global`, which is only one."""
        return None if self.kind is ScopeKind.GLOBAL else Scope(self.kind, TEMPLATE_VALUE)

    @property
    def label(self) -> str:
        """How the decisions of this scope are called in a message: `tooling` for `category:tooling`, `high-stakes` for `stakes:high`."""
        if self.kind is ScopeKind.GLOBAL:
            return ""
        return f"{self.value}-stakes" if self.kind is ScopeKind.STAKES else self.value

    @property
    def slug(self) -> str:
        """The scope in the form of an id: `category-tooling`."""
        return "global" if self.kind is ScopeKind.GLOBAL else f"{self.kind.value}-{self.value}"


def parse_scope(text: str) -> Scope:
    """The scope that `text` names, with categories, tags and stakes folded.

    Raises `BadScope` for an unknown kind, an empty value, stakes that are no level, or a user without a domain.
    """
    name, colon, value = text.partition(":")
    kind = _KINDS.get(name.strip().lower())
    if kind is None:
        raise BadScope(f"`{text}` is no scope: use {FORMS}")
    if kind is ScopeKind.GLOBAL:
        if colon:
            raise BadScope(f"`{text}` is no scope: `global` takes no value")
        return Scope(kind, "")
    value = fold_name(value) if kind in _FOLDED else value
    _require_value(text, kind, value)
    return Scope(kind, value)


def _require_value(text: str, kind: ScopeKind, value: str) -> None:
    if not value:
        raise BadScope(f"`{text}` is no scope: `{kind.value}:` wants a value or `*`")
    if value == TEMPLATE_VALUE:
        return
    if kind is ScopeKind.STAKES and value not in Stakes.__members__.values():
        levels = ", ".join(f"`{level.value}`" for level in Stakes)
        raise BadScope(f"`{text}` is no scope: stakes are {levels}")
    if kind is ScopeKind.USER:
        user, slash, domain = value.rpartition("/")
        if not (slash and user and domain):
            raise BadScope(f"`{text}` is no scope: a user's scope is `user:<id>/<domain>`")


def keys_of(facts: Facts) -> list[tuple[str, str | None]]:
    """Every scope that the facts belong to, widest first, each with the template that would cover it; as texts, ready to be looked up."""
    keys: list[tuple[str, str | None]] = [_GLOBAL]
    if facts.category:
        keys.append((f"category:{facts.category}", "category:*"))
    keys.append(_STAKES[facts.stakes])
    keys.append((f"agent:{facts.agent_id}", "agent:*"))
    keys.extend((f"tag:{tag}", "tag:*") for tag in facts.tags if tag)
    if facts.user_id is not None:
        keys.append((f"user:{facts.user_id}/{facts.user_domain}", USER_TEMPLATE))
    return keys


_GLOBAL = (ScopeKind.GLOBAL.value, None)
_STAKES = {stakes: (f"stakes:{stakes.value}", "stakes:*") for stakes in Stakes}

"""What a guard looks at: the action, who takes it, for whom. Declared by the agent, raised by classification, never lowered."""

import unicodedata
from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from typing import Any

from cstp_server.domain.values import dataclass


class Stakes(StrEnum):
    """How much is at risk, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The position in rising order, from 0."""
        return _STAKES_RANK[self]


_STAKES_RANK = {stakes: rank for rank, stakes in enumerate(Stakes)}

DEFAULT_USER_DOMAIN = "general"
DEFAULT_ACL_TIER = 2
"""The tier of an agent of which the policy says nothing."""


def fold_name(name: str) -> str:
    """The form in which categories, tags and types are compared: NFC, without case, trimmed (SPEC 3)."""
    if name.isascii():
        return name.strip().lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


@dataclass(frozen=True)  # without slots, which are dear to write as JSON
class Facts:
    """One governed action as the guards see it.

    `category`, `type` and `tags` are folded (`fold_name`); ids are as given. `type_words` are the words of the type as it was written
    (`words.words_of`). `confidence` and `ctq`, the quality of the reasoning, lie between 0 and 1. `parameters` and `context` are the
    agent's own and free. `details` holds CSTP's other fields (`agent.url`, `action.pattern`, `action.reasons`, …), stored and not
    looked at by rules.
    """

    description: str
    agent_id: str
    type: str | None = None
    type_words: tuple[str, ...] = ()
    category: str | None = None
    stakes: Stakes = Stakes.MEDIUM
    confidence: float | None = None
    ctq: float | None = None
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    user_id: str | None = None
    user_domain: str = DEFAULT_USER_DOMAIN
    details: Mapping[str, Any] = field(default_factory=dict)

    def raised(self, stakes: Stakes | None, tags: tuple[str, ...], category: str | None = None) -> "Facts":
        """These facts with stakes raised to at least `stakes`, `tags` added, and `category` set where none was declared."""
        higher = stakes if stakes is not None and stakes.rank > self.stakes.rank else self.stakes
        added = tuple(tag for tag in tags if tag not in self.tags)
        chosen = self.category if self.category is not None else category
        if higher is self.stakes and not added and chosen == self.category:
            return self
        return replace(self, stakes=higher, tags=self.tags + added, category=chosen)

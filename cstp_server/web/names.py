"""What an address names, checked as the wire checks it: nothing is kept here under a name that no call could use.

Forms name what they are about in the address that they go to: browsers change the ends of lines in what fields hold, and a name with
another one is another name.
"""

import re

from cstp_server.domain.refusals import InvalidInput
from cstp_server.web.context import Visit

_LONGEST = 256
_LONGEST_SCOPE = 3 * _LONGEST
_NO_TEMPLATE = re.compile(r"[^\s\x1c-\x1f*]|\*.*\*")


def agent_of(visit: Visit) -> str | InvalidInput:
    """The agent that is meant."""
    return agent_named(_named(visit, "id"))


def agent_named(id: str) -> str | InvalidInput:
    """The id, if an agent can have it."""
    if not _NO_TEMPLATE.search(id):
        return InvalidInput("`id` must name an agent: it must not be blank, nor `*`, which stands for every value", "id")
    return _short(id, "id", _LONGEST)


def user_of(visit: Visit) -> str | InvalidInput:
    """The user whose trust is meant."""
    return _short(_named(visit, "user"), "user", _LONGEST)


def domain_of(visit: Visit) -> str | InvalidInput:
    """The domain of a user's trust."""
    domain = _named(visit, "domain")
    return InvalidInput("`domain` must not contain `/`", "domain") if "/" in domain else _short(domain, "domain", _LONGEST)


def scope_of(visit: Visit) -> str | InvalidInput:
    """The scope of a circuit."""
    return _short(_named(visit, "scope"), "scope", _LONGEST_SCOPE)


def _named(visit: Visit, field: str) -> str:
    return visit.asked(field) or ""


def _short(text: str, field: str, longest: int) -> str | InvalidInput:
    if not text.strip():
        return InvalidInput(f"`{field}` must not be blank", field)
    return text if len(text) <= longest else InvalidInput(f"`{field}` must be at most {longest} characters long", field)

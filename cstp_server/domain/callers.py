"""Who is calling, and what that role may do (SPEC 2, Auth)."""

from enum import StrEnum

from cstp_server.domain.values import dataclass


class Role(StrEnum):
    """What a token may do; a token may carry several."""

    AGENT = "agent"
    CI = "ci"
    VIEWER = "viewer"
    OPS = "ops"
    ADMIN = "admin"


IMPLIED: dict[Role, frozenset[Role]] = {
    Role.OPS: frozenset({Role.VIEWER}),
    Role.ADMIN: frozenset({Role.OPS, Role.VIEWER}),
}
"""Roles that a role contains: ops is viewer and more, admin is ops and more."""

ANONYMOUS = "anonymous"
CLI_ACTOR = "cli"
"""Whoever runs a command on the service's own machine."""
DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity behind a call, from its token alone.

    `agent_id` is the agent that the token is bound to, if any; `authenticated` is false for a loopback caller without a token,
    who has every role while no token is configured. `token_version` is the state of the token table that this identity was read from.
    """

    principal: str
    roles: frozenset[Role]
    tenant: str = DEFAULT_TENANT
    agent_id: str | None = None
    authenticated: bool = True
    token_digest: bytes | None = None
    token_version: int | None = None

    def may(self, *allowed: Role) -> bool:
        """Whether any of the caller's roles, or of those they contain, is among `allowed`."""
        return not self.roles.isdisjoint(allowed)

    @property
    def own_agent(self) -> str | None:
        """The agent that this caller is when it decides for itself: the token's agent, else its principal."""
        if self.agent_id is not None:
            return self.agent_id
        return self.principal if self.authenticated else None


def effective_roles(granted: frozenset[Role]) -> frozenset[Role]:
    """The granted roles together with all that they contain."""
    return granted.union(*(IMPLIED.get(role, frozenset()) for role in granted))


LOOPBACK = Caller(principal=ANONYMOUS, roles=frozenset(Role), authenticated=False)
"""Without any token, a loopback caller has every role (SPEC 2)."""

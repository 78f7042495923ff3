"""Why a call could not be carried out, as returned values.

    Refusal
    ├── DecisionNotFound
    ├── CircuitNotFound
    ├── Conflict
    ├── Forbidden
    ├── Unauthorized
    └── InvalidInput

A refusal is an answer, never an exception: many calls share one transaction, and no one's refusal may undo another's change.
What the machinery itself cannot do is an exception: `StoreUnavailable`, `SearchTooLong`, `Overloaded`.
"""

from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """The base of all refusals; `message` is for the caller, lower case and without a full stop."""

    message: str


@dataclass(frozen=True, slots=True)
class DecisionNotFound(Refusal):
    """No decision of that id in the caller's tenant (SPEC 2: another tenant's is as if it were not there)."""

    id: str


@dataclass(frozen=True, slots=True)
class CircuitNotFound(Refusal):
    """No policy covers the scope; `nearest` are known scopes that look like it, best first."""

    scope: str
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict(Refusal):
    """The call contradicts what is recorded: another review, another content under the same id, already resolved."""

    id: str | None = None


@dataclass(frozen=True, slots=True)
class Forbidden(Refusal):
    """The caller is known and may not do this; `required` names the roles that may."""

    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unauthorized(Refusal):
    """The caller is not known: no token, an unknown, revoked or expired one."""


@dataclass(frozen=True, slots=True)
class InvalidInput(Refusal):
    """A value that the wire's model lets through and the rules do not; `field` is its name on the wire."""

    field: str


class StoreUnavailable(Exception):
    """The database does not answer. The caller is told no: fail closed (SPEC 2, -32012)."""


class SearchTooLong(StoreUnavailable):
    """What somebody looks for takes longer to find than it may. Nothing is wrong with the store: who asks for less is answered."""


class Overloaded(Exception):
    """The queue is full or the call's deadline has passed; nothing of the call was carried out (SPEC 2, -32013)."""

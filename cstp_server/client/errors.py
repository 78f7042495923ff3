"""What can go wrong with a call.

    CstpError
    ├── Unreachable           nobody answered: refused, timed out, cut off, or only a gateway spoke
    ├── BadAnswer             somebody answered, and it was not this protocol
    ├── Unsendable            the call cannot be sent as it is: not JSON, too large, the client is closed
    ├── DecisionBlocked       the service answered no; raised by `governed`
    │   └── DecisionStillPending   nobody has said yes so far
    ├── PolicyNotStrict       the service's policy is more lenient than a caller counts on
    └── RpcError              the service refused the call itself
        ├── InvalidRequest    -32700, -32600
        ├── MethodNotFound    -32601
        ├── InvalidParams     -32602
        ├── InternalError     -32603
        ├── Unauthorized      -32001, HTTP 401
        ├── Forbidden         -32001, HTTP 403
        ├── RateLimited       -32002
        ├── DecisionNotFound  -32007
        ├── CircuitNotFound   -32010
        ├── Conflict          -32011
        ├── StoreUnavailable  -32012
        └── Overloaded        -32013

Codes are those of SPEC 2. The text of an error says what happened and, where the caller can do something about it, what.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from cstp_server.client.results import Awaited, Check, Finding, Pending, Remedy, in_utc


class CstpError(Exception):
    """The base of everything that the client raises."""


class Unreachable(CstpError):
    """The service could not be asked. `reached` is false when the call certainly never got there."""

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class BadAnswer(CstpError):
    """What answered does not speak this protocol, or lacks a field that must be there."""


class Unsendable(CstpError):
    """The call cannot be sent as it is; nothing was sent."""


class PolicyNotStrict(CstpError):
    """The policy of the service is more lenient with a domain of trust than the caller counts on."""


class DecisionBlocked(CstpError):
    """The service said no to a decision, and the body did not run.

    `check` is the whole answer to the check; `settled` is what became of the decision after it had waited, none when it did not wait.

    >>> from cstp_server.client.results import Awaited, Check
    >>> check = Check(allowed=False, intervention="block", decision_id="dec_1")
    >>> str(DecisionBlocked(check))
    'decision `dec_1` was answered with `block`'
    >>> str(DecisionBlocked(check, Awaited(id="dec_1", status="denied", allowed=False, reason="not this week")))
    'decision `dec_1` is denied: not this week'
    """

    def __init__(self, check: Check, settled: Awaited | None = None) -> None:
        super().__init__(check, settled)
        self.check = check
        self.settled = settled

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every reason at once, as the guards gave them when the decision was checked."""
        return self.check.violations

    def __str__(self) -> str:
        if self.settled is not None:
            return _colon(f"{self._decision} is {self.settled.status}", self.settled.reason)
        text = _colon(f"{self._decision} was answered with `{self.check.intervention}`", self._reasons)
        if self.check.remedies:
            text += f" (would pass: {' or '.join(describe_remedy(remedy) for remedy in self.check.remedies)})"
        return text

    @property
    def _decision(self) -> str:
        return f"decision `{self.check.decision_id}`" if self.check.decision_id else "the decision"

    @property
    def _reasons(self) -> str:
        return "; ".join(finding.message for finding in self.findings)


class DecisionStillPending(DecisionBlocked):
    """Nobody has let the decision go on within the time that there was to wait, and the body did not run.

    It goes on waiting: `await_decision` tells later how it was settled, `cancel` says that it is not wanted any more.
    """

    @property
    def pending(self) -> Pending | None:
        """What it waits for, as far as was heard last."""
        return (self.settled.pending if self.settled is not None else None) or self.check.pending

    def __str__(self) -> str:
        return _colon(f"{self._decision} still waits for {self.pending or 'somebody'}", self._reasons)


def _colon(text: str, reason: str | None) -> str:
    return f"{text}: {reason}" if reason else text


def describe_remedy(remedy: Remedy) -> str:
    """A remedy in words.

    >>> from cstp_server.client.results import Remedy
    >>> describe_remedy(Remedy(change="lower", field="action.parameters.amount", to=500))
    'lower `action.parameters.amount` to 500'
    >>> describe_remedy(Remedy(change="set", field="action.context.humanApproval", to=True))
    'set `action.context.humanApproval` to true'
    """
    if remedy.change == "wait" and remedy.until is not None:
        return f"wait until {in_utc(remedy.until)}"
    if remedy.field is not None:
        return f"{remedy.change} `{remedy.field}` to {json.dumps(remedy.to, ensure_ascii=False)}"
    return _REMEDIES.get(remedy.change, remedy.change)


_REMEDIES = {"approval": "have it approved", "confirm": "have its user confirm it"}


class RpcError(CstpError):
    """The service refused the call. `code` and `data` are those of the JSON-RPC error; `message` is the server's own text."""

    hint: ClassVar[str] = ""

    def __init__(self, message: str, code: int = 0, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, code, data)
        self.message = message
        self.code = code
        self.data: Mapping[str, Any] = data if data is not None else {}

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidRequest(RpcError):
    """The server could not read the call at all: too deep, bad text, a number that is none."""

    def __str__(self) -> str:
        said = [str(self.data[name]) for name in ("field", "expected") if name in self.data]
        return f"{self.message}: {' '.join(said)}" if said else self.message


class MethodNotFound(RpcError):
    """The server has no such method."""

    hint = "the server may be older than this client"


class InvalidParams(RpcError):
    """A param is wrong; the message names it."""


class InternalError(RpcError):
    """The server failed; its log has the reason under the correlation id in `data`."""

    def __str__(self) -> str:
        correlation_id = self.data.get("correlationId")
        return f"{self.message} (the server's log has the reason{f' under `{correlation_id}`' if correlation_id else ''})"


class Unauthorized(RpcError):
    """The token is missing, unknown, revoked or expired."""

    hint = "pass a valid token; `cstp tokens create` makes one"


class Forbidden(RpcError):
    """The token is good and may not do this."""

    @property
    def required(self) -> tuple[str, ...]:
        """Roles that may."""
        required = self.data.get("required", ())
        return (required,) if isinstance(required, str) else tuple(str(role) for role in required)

    def __str__(self) -> str:
        unnamed = [role for role in self.required if f"`{role}`" not in self.message]
        if not unnamed:
            return self.message
        return f"{self.message} (use a token with the role {' or '.join(f'`{role}`' for role in self.required)})"


class _Later(RpcError):
    """Nothing of the call was carried out; it may be tried again."""

    @property
    def retry_after_ms(self) -> int | None:
        """How long the server asks to wait, in ms."""
        wait = self.data.get("retryAfterMs")
        return max(int(wait), 0) if isinstance(wait, int | float) and not isinstance(wait, bool) else None


class RateLimited(_Later):
    """Too many calls with this token."""

    hint = "call less often, or share the work among tokens"


class DecisionNotFound(RpcError):
    """No decision of that id in the token's tenant."""


class CircuitNotFound(RpcError):
    """No policy covers the scope."""

    @property
    def nearest(self) -> tuple[str, ...]:
        """Known scopes that look like the one asked for."""
        nearest = self.data.get("nearest", ())
        return tuple(str(scope) for scope in nearest) if isinstance(nearest, list | tuple) else ()

    def __str__(self) -> str:
        if not self.nearest:
            return self.message
        return f"{self.message} (did you mean {' or '.join(f'`{scope}`' for scope in self.nearest)}?)"


class Conflict(RpcError):
    """The call contradicts what is recorded. `repeated`: maybe only what an earlier delivery of it did, whose answer was lost."""

    repeated: bool = False


class StoreUnavailable(RpcError):
    """The server's database does not answer; nothing is allowed meanwhile."""

    hint = "try again when the server's database is back"


class Overloaded(_Later):
    """The server has too much to do and carried out nothing of the call."""

    hint = "try again later"


_BY_CODE: Mapping[int, type[RpcError]] = {
    -32700: InvalidRequest,
    -32600: InvalidRequest,
    -32601: MethodNotFound,
    -32602: InvalidParams,
    -32603: InternalError,
    -32002: RateLimited,
    -32007: DecisionNotFound,
    -32010: CircuitNotFound,
    -32011: Conflict,
    -32012: StoreUnavailable,
    -32013: Overloaded,
}
_AUTH = -32001
_HTTP_AUTH: Mapping[int, type[RpcError]] = {401: Unauthorized, 403: Forbidden}


def rpc_error(code: int, message: str, data: Mapping[str, Any] | None, http_status: int) -> RpcError:
    """The error of that code. -32001 is two errors: the HTTP status tells which, and where it does not, whether roles are named."""
    kind = _BY_CODE.get(code, RpcError)
    if code == _AUTH:
        kind = _HTTP_AUTH.get(http_status, Forbidden if data and data.get("required") else Unauthorized)
    return kind(message, code, data)

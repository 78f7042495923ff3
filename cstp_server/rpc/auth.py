"""Who is calling, in the words of the wire (SPEC 2, Auth)."""

from collections.abc import Mapping

from starlette.types import Scope

from cstp_server.domain.callers import Caller
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.values import dataclass
from cstp_server.rpc.errors import Failure, failure_of
from cstp_server.services import identifying
from cstp_server.services.ports import Authenticator


@dataclass(frozen=True, slots=True)
class Identification:
    """Finds out who calls. `key` keys the digests of tokens."""

    authenticator: Authenticator
    key: bytes

    async def caller_of(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller | Failure:
        """The caller of an HTTP request, or why there is none."""
        client = scope.get("client")
        caller = await identifying.Identification(self.authenticator, self.key).caller_of(
            client[0] if client is not None else None, headers
        )
        return failure_of(caller) if isinstance(caller, Refusal) else caller

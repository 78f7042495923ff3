"""One method: its models, its handler, who may call it, and how it is called."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from cstp_server.domain.callers import Role
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable
from cstp_server.domain.values import dataclass
from cstp_server.rpc.context import Context
from cstp_server.rpc.dispatch import Procedure
from cstp_server.rpc.errors import BadParams, Code, Failure, Problem, failure_of, failure_of_fault, forbidden, invalid_params
from cstp_server.rpc.examples import Example
from cstp_server.rpc.wire import Params, Written, as_json, problems_of

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Method(Generic[P, R]):
    """One method. `roles`: any one of them will do.

    A handler that is called so often that making a `result` costs too much answers what `result` would write instead.

    `records_refusals`: the handler is also told of callers who have none of them, refuses them itself, and puts it on record.
    """

    name: str
    summary: str
    params: type[P]
    result: type[R]
    handler: Callable[[Context, P], Awaitable[R | Written | Refusal]]
    roles: tuple[Role, ...]
    errors: tuple[Code, ...]
    example: Example
    records_refusals: bool = False

    def procedure(self) -> Procedure:
        """The method as the dispatcher calls it: role, params, handler, and whatever comes back as JSON or a failure."""
        validate = self.params.__pydantic_validator__.validate_python
        handler, roles, records = self.handler, frozenset(self.roles), self.records_refusals
        not_allowed = forbidden(tuple(role.value for role in self.roles))

        async def call(context: Context, /, *positional: Any, **named: Any) -> orjson.Fragment | Written | Failure:
            refused = not_allowed if roles.isdisjoint(context.caller.roles) else None
            if refused is not None and not records:
                return refused
            if positional:
                return refused or invalid_params([Problem("params", "must be given by name")])
            try:
                answer = await handler(context, validate(named))
            except ValidationError as error:
                return refused or invalid_params(problems_of(error, self.params))
            except BadParams as bad:
                return invalid_params([Problem(bad.field, bad.message)])
            except (StoreUnavailable, Overloaded) as fault:
                return failure_of_fault(fault)
            if isinstance(answer, dict):
                return answer
            return failure_of(answer) if isinstance(answer, Refusal) else as_json(answer)

        return call


AnyMethod = Method[Any, Any]

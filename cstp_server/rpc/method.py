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
from cstp_server.rpc.wire import Params, problems_of

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Method(Generic[P, R]):
    """One method. `roles`: any one of them will do.

    `records_refusals`: the handler is also told of callers who have none of them, refuses them itself, and puts it on record.
    """

    name: str
    summary: str
    params: type[P]
    result: type[R]
    handler: Callable[[Context, P], Awaitable[R | Refusal]]
    roles: tuple[Role, ...]
    errors: tuple[Code, ...]
    example: Example
    records_refusals: bool = False

    def procedure(self) -> Procedure:
        """The method as the dispatcher calls it: role, params, handler, and whatever comes back as JSON or a failure."""
        validate = self.params.__pydantic_validator__.validate_python
        to_json = self.result.__pydantic_serializer__.to_json
        handler, roles, records = self.handler, self.roles, self.records_refusals

        async def call(context: Context, /, *positional: Any, **named: Any) -> orjson.Fragment | Failure:
            refused = None if context.caller.may(*roles) else forbidden(tuple(role.value for role in roles))
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
            return failure_of(answer) if isinstance(answer, Refusal) else orjson.Fragment(to_json(answer, by_alias=True))

        return call


AnyMethod = Method[Any, Any]

"""From the text of a scope to the circuit that the policy has for it."""

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.refusals import CircuitNotFound, InvalidInput, Refusal
from cstp_server.domain.scopes import BadScope, parse_scope
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy


@dataclass(frozen=True, slots=True)
class Covered:
    """A scope in its canonical form, and its settings."""

    scope: str
    settings: CircuitSettings


def covered(policy: Policy, text: str) -> Covered | Refusal:
    """The circuit of a scope; a refusal for what is no scope, for a template, which has no state itself, and for what no policy covers."""
    try:
        scope = parse_scope(text)
    except BadScope as problem:
        return InvalidInput(str(problem), "scope")
    if scope.is_template:
        return InvalidInput(
            f"`{scope}` is a template and has no state of its own: name a value, such as `{scope.kind.value}:<value>`", "scope"
        )
    settings = policy.circuits.covering(scope)
    if settings is None:
        nearest = policy.circuits.nearest(str(scope))
        return CircuitNotFound(f"no circuit covers `{scope}`", str(scope), nearest)
    return Covered(str(scope), settings)

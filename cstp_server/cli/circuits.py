"""`cstp circuits`, `state`, `history`, `reset`, `trip`: look at the circuit breakers and move them."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from cstp_server.cli.output import print_json, print_line, print_record, print_table
from cstp_server.cli.session import calling
from cstp_server.cli.values import in_words

if TYPE_CHECKING:
    from cstp_server.client import Circuit, CircuitChange

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Scope = Annotated[
    str, typer.Argument(metavar="SCOPE", help="Such as `global`, `category:tooling`, `stakes:high`, `agent:refund-bot`, `tag:urgent`.")
]


def circuits(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only those that are `closed`, `open` or `half_open`.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only scopes that begin so, such as `agent:`.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the circuits.

    Examples:

      cstp circuits

      cstp circuits --state open --json
    """
    with calling(context) as client:
        listed = list(islice(client.list_circuits(state=state, prefix=prefix, page_size=min(limit, 500)), limit))
    if as_json:
        print_json({"circuits": [circuit.raw for circuit in listed]})
        return
    rows = [(circuit.scope, _state(circuit), _failures(circuit), _rate(circuit), _cooldown(circuit)) for circuit in listed]
    print_table(("scope", "state", "failures", "rate", "cooldown"), rows, empty="no circuit matches")


def state(context: typer.Context, scope: Scope, as_json: AsJson = False) -> None:
    """Show one circuit.

    Example:

      cstp state category:tooling
    """
    with calling(context) as client:
        circuit = client.circuit_state(scope)
    if as_json:
        print_json(circuit.raw)
        return
    print_record(
        [
            ("scope", circuit.scope),
            ("state", circuit.state),
            ("forced", circuit.forced or None),
            ("failures", _failures(circuit)),
            ("failure rate", _rate(circuit)),
            ("last failure", circuit.last_failure),
            ("window", in_words(circuit.window_ms)),
            ("cooldown", in_words(circuit.cooldown_ms)),
            ("cooldown left", _cooldown(circuit)),
            ("opened at", circuit.opened_at),
            ("half-open at", circuit.reset_at),
            ("probes in flight", circuit.probes_in_flight or None),
            ("probe successes", circuit.probe_successes or None),
            ("mode", circuit.mode),
            ("policy", circuit.policy_id),
        ]
    )


def history(
    context: typer.Context,
    scope: Scope,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what a circuit went through: when, why, by whom.

    Example:

      cstp history category:tooling --limit 10
    """
    with calling(context) as client:
        past = client.circuit_history(scope, limit=limit)
    if as_json:
        print_json(past.raw)
        return
    rows = [(move.at, move.previous_state, move.state, move.cause, move.actor, move.reason) for move in past.transitions]
    print_table(("at", "from", "to", "cause", "by", "reason"), rows, empty=f"`{scope}` has never moved")


def reset(
    context: typer.Context,
    scope: Scope,
    probe_first: Annotated[
        bool, typer.Option("--probe-first", help="Make it half-open, so that it proves itself before it closes.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    as_json: AsJson = False,
) -> None:
    """Close a circuit, or make it half-open. A closed one has its counters cleared.

    Examples:

      cstp reset category:tooling --reason "build image fixed"

      cstp reset category:tooling --probe-first
    """
    with calling(context) as client:
        change = client.reset_circuit(scope, probe_first=probe_first, reason=reason)
    _print_change(change, as_json)


def trip(
    context: typer.Context,
    scope: Scope,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    as_json: AsJson = False,
) -> None:
    """Force a circuit open until somebody resets it: the kill switch.

    Example:

      cstp trip agent:refund-bot --reason "incident 42"
    """
    with calling(context) as client:
        change = client.trip_circuit(scope, reason=reason)
    _print_change(change, as_json)


def _print_change(change: "CircuitChange", as_json: bool) -> None:
    if as_json:
        print_json(change.raw)
        return
    print_line(f"{change.scope}: {change.previous_state} -> {change.new_state}")
    if change.message:
        print_line(change.message)


def _state(circuit: "Circuit") -> str:
    remarks = [*(["forced"] if circuit.forced else []), *([circuit.mode] if circuit.mode != "enforce" else [])]
    return f"{circuit.state} ({', '.join(remarks)})" if remarks else circuit.state


def _failures(circuit: "Circuit") -> str:
    return f"{circuit.weighted_failures:g}/{circuit.failure_threshold:g}"


def _rate(circuit: "Circuit") -> str:
    return f"{100 * circuit.failure_rate:.3g}%"


def _cooldown(circuit: "Circuit") -> str | None:
    return in_words(circuit.cooldown_remaining_ms) if circuit.cooldown_remaining_ms else None

"""`cstp trust`: how much users trust the AI, domain by domain, and what happened to that."""

from typing import TYPE_CHECKING, Annotated

import typer

from cstp_server.cli.output import STYLES, Cell, print_json, print_line, print_record
from cstp_server.cli.session import calling
from cstp_server.cli.values import in_words
from cstp_server.domain.damage import DamageType
from cstp_server.domain.facts import DEFAULT_USER_DOMAIN
from cstp_server.domain.findings import Mode
from cstp_server.domain.trust import TrustState

if TYPE_CHECKING:
    from cstp_server.client import RecoveryProgress, TrustRecord

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]
Domain = Annotated[str, typer.Option(help="The domain of trust, such as `code_review`.")]
Remark = Annotated[str | None, typer.Option("--context", metavar="TEXT", help="What happened, for the record.")]
Explicit = Annotated[bool, typer.Option("--explicit", help="The user said so.")]
Id = Annotated[str | None, typer.Option(metavar="ID", help="Your name for this: told again, it is not counted again.")]
_HOUR_MS = 3_600_000

trust = typer.Typer(no_args_is_help=True, help="How much users trust the AI: look, report, reset.")


@trust.command()
def show(context: typer.Context, user: User, domain: Domain = DEFAULT_USER_DOMAIN, as_json: AsJson = False) -> None:
    """Show how freely the AI may act for a user, and how far trust has come back.

    Example:

      cstp trust show user_123 --domain code_review
    """
    with calling(context) as client:
        level = client.get_autonomy_level(user, domain=domain)
    if as_json:
        print_json(level.raw)
        return
    recovery = level.recovery_progress
    print_record(
        [
            ("user", level.user_id),
            ("domain", level.domain),
            ("state", level.state),
            ("mode", level.mode if level.mode != Mode.ENFORCE else None),
            ("forced", level.forced or None),
            ("damage", f"{level.damage_score:.3g}/{level.damage_threshold:g}"),
            ("damages", level.recent_damage_count),
            ("for", _hours(level.time_in_state_hours)),
            *_recovering(level.state, recovery),
        ]
    )


@trust.command()
def damage(
    context: typer.Context,
    user: User,
    type: Annotated[DamageType, typer.Argument(metavar="TYPE", case_sensitive=False, help=f"One of {', '.join(DamageType)}.")],
    domain: Domain = DEFAULT_USER_DOMAIN,
    severity: Annotated[
        float | None, typer.Option(min=0, max=1, help="How much of its weight counts, above 0; all of it when left out.")
    ] = None,
    remark: Remark = None,
    explicit: Explicit = False,
    id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Report that something damaged a user's trust.

    Examples:

      cstp trust damage user_123 wrong_answer --domain code_review --context "Python 2 syntax for a Python 3 project"

      cstp trust damage user_123 slow_response --severity 0.5
    """
    with calling(context) as client:
        told = client.record_damage(user, type.value, domain=domain, severity=severity, context=remark, user_explicit=explicit, id=id)
    _print_told(told, as_json)


@trust.command()
def success(
    context: typer.Context,
    user: User,
    domain: Domain = DEFAULT_USER_DOMAIN,
    remark: Remark = None,
    explicit: Explicit = False,
    id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Report that a user was content; while trust is under test, this restores it.

    Example:

      cstp trust success user_123 --domain code_review --context "accepted without changes" --explicit
    """
    with calling(context) as client:
        told = client.record_success(user, domain=domain, context=remark, user_explicit=explicit, id=id)
    _print_told(told, as_json)


@trust.command()
def reset(
    context: typer.Context,
    user: User,
    domain: Domain = DEFAULT_USER_DOMAIN,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a user's trust whole again, and forget the damage. Takes the role `ops`.

    Example:

      cstp trust reset user_123 --domain code_review --reason "the user asked for it"
    """
    with calling(context) as client:
        done = client.reset_trust(user, domain=domain, reason=reason)
    if as_json:
        print_json(done.raw)
        return
    print_line(f"{done.user_id}/{done.domain}: {done.previous_state} -> {done.state}", STYLES.get(done.state))


@trust.command()
def metrics(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how all users stand, and how often and how fast trust was restored.

    Example:

      cstp trust metrics
    """
    with calling(context) as client:
        found = client.trust_metrics()
    if as_json:
        print_json(found.raw)
        return
    hours, rate = found.average_recovery_hours, found.recovery_rate
    print_record(
        [
            *((state.value, found.states.get(state.value, 0)) for state in TrustState),
            ("average damage", f"{found.average_damage_score:.3g}"),
            ("recovery rate", f"{100 * rate:.3g}%" if rate is not None else "none has ended yet"),
            ("average recovery", _hours(hours) if hours is not None else None),
        ]
    )


def _recovering(state: str, recovery: "RecoveryProgress") -> list[tuple[str, Cell]]:
    """How far the way back is; nothing where there is none to go."""
    if state == TrustState.FULL_AUTONOMY:
        return []
    left = recovery.time_remaining_hours
    return [
        ("recovered", f"{100 * recovery.progress:.3g}%"),
        ("under test in", _hours(left) if left is not None else None),
        ("successes", f"{recovery.successes}/{recovery.required}"),
    ]


def _print_told(told: "TrustRecord", as_json: bool) -> None:
    if as_json:
        print_json(told.raw)
        return
    move = told.state if told.state == told.previous_state else f"{told.previous_state} -> {told.state}"
    known = " (already on record)" if told.duplicate else ""
    damage = f"damage {told.damage_score:.3g}/{told.damage_threshold:g}"
    print_line(f"{told.user_id}/{told.domain}: {move}, {damage}{known}", STYLES.get(told.state))


def _hours(hours: float) -> str:
    return in_words(round(hours * _HOUR_MS))

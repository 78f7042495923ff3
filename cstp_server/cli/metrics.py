"""`cstp metrics`: how agents stand, what moved them, and how evaluations of constraints turned out."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cstp_server.cli.output import print_json, print_record
from cstp_server.cli.session import calling
from cstp_server.cli.values import parse_since


def metrics(
    context: typer.Context,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From then on: `7d` ago, a date, or an RFC 3339 time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show how agents stand, what moved them, and how evaluations of constraints turned out.

    Examples:

      cstp metrics

      cstp metrics --since 7d --json
    """
    start = parse_since(since, "--since") if since is not None else None
    with calling(context) as client:
        found = client.metrics(since=start)
    if as_json:
        print_json(found.raw)
        return
    level, took = found.average_posture_level, found.average_evaluation_time_ms
    print_record(
        [
            *((f"agents {posture}", count) for posture, count in found.posture_distribution.items()),
            ("average level", f"{level:.3g}" if level is not None else "no agent yet"),
            *((f"moves {kind}", count) for kind, count in found.transitions_by_type.items()),
            ("circuits opened", found.circuit_breaker_opens),
            ("emergencies", found.emergency_downgrades),
            ("evaluations", found.evaluations_total),
            ("passed", _share(found.evaluations_passed, found.pass_rate)),
            ("failures", _counts(found.dimension_failures)),
            ("gaming flags", _counts(found.anti_gaming_flags)),
            ("one evaluation", f"{took:.3g} ms" if took is not None else None),
        ]
    )


def _share(count: int, rate: float | None) -> str | None:
    return f"{count} ({100 * rate:.3g}%)" if rate is not None else None


def _counts(counts: Mapping[str, int]) -> list[str]:
    return [f"{name} ({count})" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]

"""`cstp policy`: look at a policy without a server."""

from pathlib import Path
from typing import Annotated

import typer

from cstp_server.cli import exits
from cstp_server.cli.output import print_json, print_line, say

policy = typer.Typer(no_args_is_help=True, help="Look at a policy without a server.")


@policy.command()
def check(path: Annotated[Path, typer.Argument(metavar="PATH", help="Policy file or folder.")] = Path("config")) -> None:
    """Check a policy: one line `file:line: message` for each problem, and exit 1 when there is one.

    Warnings go to standard error and fail nothing.

    Examples:

      cstp policy check

      cstp policy check policies/production.yaml
    """
    # validation and the expression engine take longer to load than any other command runs
    from cstp_server.policy.checking import check_policy  # noqa: PLC0415
    from cstp_server.settings import variable  # noqa: PLC0415

    report = check_policy(path, variable)
    for warning in report.warnings:
        say(f"warning: {warning}")
    for problem in report.problems:
        print_line(str(problem))
    if report.problems or report.policy is None:
        raise typer.Exit(exits.FAILED)
    say(f"`{path}` is a good policy: version {report.policy.version}")


@policy.command()
def schema() -> None:
    """Print the JSON Schema of a policy, for editors.

    Example:

      cstp policy schema > policy.schema.json
    """
    # validation takes longer to load than any other command runs
    from cstp_server.policy.schema import policy_schema  # noqa: PLC0415

    print_json(policy_schema())

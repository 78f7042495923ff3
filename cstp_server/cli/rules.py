"""`cstp guardrails` and `reload`: the policy that the server enforces."""

from typing import TYPE_CHECKING, Annotated

import typer

from cstp_server.cli.output import print_json, print_line, print_table
from cstp_server.cli.session import calling, fail

if TYPE_CHECKING:
    from cstp_server.client import Guardrail

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def guardrails(context: typer.Context, as_json: AsJson = False) -> None:
    """List every guard of the policy in force.

    Example:

      cstp guardrails
    """
    with calling(context) as client:
        listed = client.list_guardrails()
    if as_json:
        print_json(listed.raw)
        return
    rows = [(guard.id, _action(guard), guard.description) for guard in listed.guardrails]
    print_table(("id", "action", "description"), rows, empty="the policy has no guards")


def _action(guard: "Guardrail") -> str | None:
    return guard.action if guard.mode in (None, "enforce") else f"{guard.action} ({guard.mode})"


def reload(context: typer.Context, as_json: AsJson = False) -> None:
    """Have the server read its policy anew. A bad one changes nothing, and exits 1.

    Example:

      cstp policy check && cstp reload
    """
    with calling(context) as client:
        reloaded = client.reload_policy()
    if as_json:
        print_json(reloaded.raw)
    elif not reloaded.problems:
        print_line(f"{'policy is now' if reloaded.changed else 'policy is unchanged:'} {reloaded.policy_version or '-'}")
    if reloaded.problems:
        fail("the new policy is bad, and the one before stays in force\n" + "\n".join(reloaded.problems))

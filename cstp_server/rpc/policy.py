"""`cstp.reloadPolicy` (SPEC 12)."""

from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import Params, Result


class ReloadParams(Params):
    """Read the policy anew, in every process; takes no params."""


class ReloadResult(Result):
    """The policy in force afterwards; with `problems`, that is still the old one."""

    success: bool
    policy_version: str
    changed: bool
    problems: list[str]


async def reload(context: Context, _params: ReloadParams) -> ReloadResult:
    """Read the policy anew; a bad one changes nothing."""
    done = await context.services.policy_source.reload(context.caller)
    return ReloadResult(success=not done.problems, policy_version=done.version, changed=done.changed, problems=list(done.problems))

"""What a model is told to do next: after an answer, and after an error. Codes are those of SPEC 2."""

import json
from collections.abc import Mapping
from typing import Any

from cstp_server.mcp.ports import JsonObject

_INVALID = (-32700, -32600, -32602)
_UNKNOWN_DECISION = -32007
_NOT_THIS_WAY = "do not try again with this token: tell the person you work for, who can have it changed"
_CORRECT = "correct the arguments, as the tool's schema has them, and call again"
_NEXT = {
    -32601: "call one of these tools, and no other",
    -32001: _NOT_THIS_WAY,
    -32002: "wait {seconds} s, then call again, and call less often",
    -32007: "use the `decisionId` that `check_guardrails` answered; a dry run has none that is on record",
    -32010: "call again with a scope that `list_circuits` names",
    -32011: "do not repeat it: what is on record stands",
    -32012: "nothing is allowed meanwhile: do not act, and try again in a minute",
    -32013: "nothing is allowed meanwhile: do not act, and call again in {seconds} s",
}
_NEXT_OF = {
    ("check_guardrails", -32001): "leave `agent` out: the token says who you are. If it was out, " + _NOT_THIS_WAY,
    ("check_guardrails", -32011): "that `decisionId` belongs to another action: leave it out, and call again",
    ("get_posture", -32001): "call again with your own id as `agentId`",
}
"""What is said for one tool in place of that."""

_ELSE = "do not act: tell the person you work for, with this message"
_NO_TRICKS = "do not try the same in other words or other pieces"
_LATER_MS = 1000


def after_error(code: int, message: str, data: Mapping[str, Any], tool: str | None = None) -> str:
    """An error in words: what was wrong, everything else that was, and what to do. `tool` is the one whose method it comes from."""
    lines = [f"error: {_said(code, message)}", *_others(data)]
    nearest = data.get("nearest")
    if nearest and not any(str(name) in message for name in nearest):
        lines.append(f"there is: {', '.join(f'`{name}`' for name in nearest)}")
    if "correlationId" in data:
        lines.append(f"the server's log has the reason under `{data['correlationId']}`")
    seconds = max(1, -(-int(data.get("retryAfterMs", _LATER_MS)) // 1000))
    todo = _CORRECT if code in _INVALID else _NEXT_OF.get((tool or "", code)) or _NEXT.get(code, _ELSE).format(seconds=seconds)
    lines.append(f"next: {todo}")
    return "\n".join(lines)


def _said(code: int, message: str) -> str:
    """The message, without what it advises callers to do who are no tools."""
    known, mark, _ = message.partition("`: ")
    return f"{known}`" if code == _UNKNOWN_DECISION and mark else message


def _others(data: Mapping[str, Any]) -> list[str]:
    """The problems beyond the first, which the message names."""
    return [f"also: `{problem['field']}` {problem['message']}" for problem in list(data.get("problems", ()))[1:]]


def after_answer(tool: str, arguments: Mapping[str, Any], result: JsonObject) -> str:
    """What to do with the answer of a check, or of waiting for one."""
    if tool == "check_guardrails":
        return _after_check(result, dry=arguments.get("dryRun", arguments.get("dry_run")) is True)
    return _after_waiting(result)


def _after_check(result: JsonObject, dry: bool) -> str:
    if result["allowed"]:
        return _allowed(result, dry)
    if result["pending"] is not None and not dry:
        return _pending(result["decisionId"], result["pending"])
    remedies = [_remedy(remedy) for remedy in result["remedies"]]
    if result["intervention"] == "halt" or result["posture"] == "blocked":
        return "stop: do not act, and take no other action either. You are blocked; tell the person you work for what `violations` says"
    if remedies:
        return f"do not act. One of these would be enough, if it is true and right: {'; '.join(remedies)}. Then check again"
    if any("suggestion" in violation for violation in result["violations"]):
        return (
            f"do not act as it is: see `suggestion` in `violations`, and {_NO_TRICKS}. If that does not help, tell the person you work for"
        )
    return f"do not act: no single change would let it pass; {_NO_TRICKS}. Tell the person you work for what `violations` says"


def _allowed(result: JsonObject, dry: bool) -> str:
    if dry:
        return "this was a dry run: check again without `dryRun` before you act"
    heed = " Heed `warnings`." if result["warnings"] else ""
    return f"go on with exactly this action, now.{heed} Pass on `decisionId` to whoever reports the outcome"


def _pending(id: str, pending: Mapping[str, Any]) -> str:
    who = {
        "approval": "a person has to approve it by",
        "confirmation": "its user has to confirm it by",
        "cancel_window": "it goes on by itself, unless somebody cancels it, at",
    }[pending["kind"]]
    return f"do not act yet: {who} {pending['until']}. Call `await_decision` with `id` `{id}`, and act only once it says `allowed: true`"


def _after_waiting(result: JsonObject) -> str:
    if result["status"] == "reviewed":
        return "do not act: its outcome is on record already. To do the same once more, check once more"
    if result["allowed"]:
        return "go on with exactly the action that was checked, now. Pass on its id to whoever reports the outcome"
    if result["status"] == "pending":
        return "do not act yet: nobody has decided. Call `await_decision` again, or tell the person you work for what waits"
    return f"do not act: the decision is `{result['status']}`. Tell the person you work for, and do not ask for the same again"


def _remedy(remedy: Mapping[str, Any]) -> str:
    change = remedy["change"]
    if change == "wait":
        return f"wait until {remedy['until']}"
    if change in _ASKING:
        return _ASKING[change]
    return f"{change} `{remedy['field']}` to {json.dumps(remedy.get('to'), ensure_ascii=False)}"


_ASKING: Mapping[str, str] = {
    "approval": "have a person approve it (a check that is no dry run asks for it)",
    "confirm": "have its user confirm it (a check that is no dry run asks for it)",
}

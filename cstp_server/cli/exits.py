"""How a command ends, for scripts."""

OK = 0
FAILED = 1
"""The server answered with an error, or refused the operation."""
USAGE = 2
BLOCKED = 3
"""Something may not be: a check, or a decision that was approved, confirmed or waited for, may not go on; a guard refused to move an agent;
constraints are not satisfied, or are looser than those that they are handed on from."""
UNREACHABLE = 4
UNAUTHENTICATED = 5
"""The server does not know who calls: no token, or one that is unknown, revoked or expired."""

HELP = (
    "Exit codes: 0 done, 1 an error or a refusal by the server, 2 wrong usage, "
    "3 a check, a decision or a posture that was not allowed, or a constraint that does not hold, "
    "4 server not reachable, 5 no token or a bad one."
)

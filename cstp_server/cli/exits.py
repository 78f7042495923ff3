"""How a command ends, for scripts."""

OK = 0
FAILED = 1
"""The server answered with an error, or refused the operation."""
USAGE = 2
BLOCKED = 3
"""A check was not allowed."""
UNREACHABLE = 4

HELP = "Exit codes: 0 done, 1 an error or a refusal by the server, 2 wrong usage, 3 a check that was not allowed, 4 server not reachable."

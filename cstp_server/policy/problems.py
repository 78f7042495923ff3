"""What is wrong with a policy, and where."""

from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One thing that is wrong, or worth a warning. `line` counts from 1; none when it concerns the file as a whole."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.line is None else f"{self.file}:{self.line}: {self.message}"


class BadPolicy(Exception):
    """A policy that cannot be used; `problems` are all that were found, by file and line."""

    def __init__(self, problems: tuple[PolicyProblem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems

"""Reading a policy: one file or a folder, all of its problems at once, or the compiled policy (SPEC 12)."""

from pathlib import Path

from pydantic import ValidationError

from cstp_server.policy.compiled import Policy
from cstp_server.policy.compiling import compile_policy
from cstp_server.policy.duplicates import duplicates_in
from cstp_server.policy.models import PolicyModel
from cstp_server.policy.problems import BadPolicy, PolicyProblem
from cstp_server.policy.sources import read_sources
from cstp_server.policy.wording import problems_of
from cstp_server.policy.yaml_nodes import Node


def load_policy(path: Path) -> Policy:
    """The policy at `path`. Raises `BadPolicy` with everything that is wrong with it."""
    return read_policy(path)[0]


def read_policy(path: Path) -> tuple[Policy, Node]:
    """The policy at `path`, and its document for the places of things. Raises `BadPolicy` with everything that is wrong with it."""
    root, problems = read_sources(path)
    model: PolicyModel | None = None
    if root is not None:
        problems += duplicates_in(root)
        try:
            model = PolicyModel.model_validate(root.plain())
        except ValidationError as error:
            problems += problems_of(error, root)
    if problems or model is None or root is None:
        raise BadPolicy(_sorted(problems))
    return compile_policy(model), root


def _sorted(problems: list[PolicyProblem]) -> tuple[PolicyProblem, ...]:
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line or 0)))

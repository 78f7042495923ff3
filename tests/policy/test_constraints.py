"""Constraints in the policy: what holds for an action, what is refused, and what is hardly meant (SPEC 9 and 12)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cstp_server.dimensions.installed import installed_dimensions
from cstp_server.domain.constraints import Interaction, evaluate
from cstp_server.domain.findings import Mode
from cstp_server.domain.gaming import AntiGaming
from cstp_server.policy.checking import check_policy
from cstp_server.policy.compiled import Policy
from cstp_server.policy.loading import load_policy
from cstp_server.policy.schema import policy_schema
from tests.policy.writing import complaints, complaints_about, facts, policy_of, write

WHOLE = """
time_zone: Europe/Berlin
constraints:
  mode: independent
  enforcement: shadow
  missing_context: pass
  anti_gaming: escalate
  internal_domains: [Corp.Example, "*.own.example"]
  global: {cost_limit: 1000, rate_limit: 100/minute}
  categories:
    Billing: {cost_limit: 500, resources: ["invoices/**"]}
agents:
  "*": {constraints: {rate_limit: 50/minute, data_access: no_pii}}
  refund-bot: {constraints: {cost_limit: 100, data_access: allow_all}}
  other: {acl_tier: 3}
"""


def admits(policy: Policy, context: dict[str, Any], **action: Any) -> dict[str, bool]:
    """What the dimensions of an action say of a context."""
    bounds = policy.constraints.bounds_of(facts(**action))
    return {name: result.satisfied for name, result in evaluate(bounds, context, policy.constraints.mode).results.items()}


def test_a_policy_says_nothing_of_constraints(tmp_path: Path) -> None:
    """Nothing is bounded; what there is to be named is known anyway."""
    constraints = policy_of(tmp_path, "{}").constraints
    assert [source.bounds for source in constraints.sources] == [(), ()]
    assert (constraints.mode, constraints.enforcement, constraints.missing_passes) == (Interaction.CONJUNCTIVE, Mode.ENFORCE, False)
    assert constraints.anti_gaming is AntiGaming.FLAG
    assert constraints.bounds_of(facts(category="billing")) == ()
    assert list(constraints.dimensions)[:2] == ["cost_limit", "time_window"]


def test_everything_that_is_written_arrives(tmp_path: Path) -> None:
    """How dimensions are combined, what follows, and one's own domains."""
    constraints = policy_of(tmp_path, WHOLE).constraints
    assert (constraints.mode, constraints.enforcement, constraints.missing_passes) == (Interaction.INDEPENDENT, Mode.SHADOW, True)
    assert (constraints.anti_gaming, constraints.internal_domains) == (AntiGaming.ESCALATE, ("corp.example", "*.own.example"))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"agent_id": "stranger"}, ["cost_limit", "rate_limit", "data_access"]),
        ({"agent_id": "stranger", "category": "billing"}, ["cost_limit", "rate_limit", "resources", "data_access"]),
        ({"agent_id": "refund-bot"}, ["cost_limit", "rate_limit", "data_access"]),
        ({"agent_id": "other", "category": "unknown"}, ["cost_limit", "rate_limit", "data_access"]),
    ],
)
def test_bounds_come_from_all_then_the_category_then_the_agent(tmp_path: Path, action: dict[str, Any], expected: list[str]) -> None:
    """Each dimension once, in that order."""
    assert [bound.name for bound in policy_of(tmp_path, WHOLE).constraints.bounds_of(facts(**action))] == expected


@pytest.mark.parametrize(
    ("action", "cost", "expected"),
    [
        ({"agent_id": "stranger"}, 1000, True),
        ({"agent_id": "stranger"}, 1001, False),
        ({"agent_id": "stranger", "category": "billing"}, 501, False),
        ({"agent_id": "refund-bot", "category": "billing"}, 101, False),
        ({"agent_id": "refund-bot", "category": "billing"}, 100, True),
    ],
)
def test_the_most_restrictive_bound_holds(tmp_path: Path, action: dict[str, Any], cost: int, expected: bool) -> None:
    """Of those for all, for the category and for the agent."""
    assert admits(policy_of(tmp_path, WHOLE), {"cost_used": cost}, **action)["cost_limit"] is expected


def test_an_agent_s_own_bound_stands_in_the_place_of_the_one_for_every_agent(tmp_path: Path) -> None:
    """Of that dimension, and of no other: what `*` gives are defaults, what is global is not."""
    policy = policy_of(tmp_path, WHOLE)
    personal = {"contains_pii": True, "requests_in_period": 60}
    assert admits(policy, personal, agent_id="refund-bot") == {"cost_limit": False, "rate_limit": False, "data_access": True}
    assert admits(policy, personal, agent_id="other") == {"cost_limit": False, "rate_limit": False, "data_access": False}


def test_bounds_are_composed_once(tmp_path: Path) -> None:
    """Agents and categories that the policy does not name share what holds for them."""
    constraints = policy_of(tmp_path, WHOLE).constraints
    assert constraints.bounds_of(facts(agent_id="a", category="x")) is constraints.bounds_of(facts(agent_id="b", category="y"))
    assert constraints.bounds_of(facts(agent_id="a")) is not constraints.bounds_of(facts(agent_id="refund-bot"))


def test_constraints_that_are_off_bound_nothing(tmp_path: Path) -> None:
    """`off` means what it says."""
    assert policy_of(tmp_path, "constraints: {enforcement: off, global: {cost_limit: 5}}").constraints.bounds_of(facts()) == ()


def test_one_s_own_domains_reach_the_dimension(tmp_path: Path) -> None:
    """Those of the policy in force, also for whoever asks the dimension himself."""
    text = "constraints: {{internal_domains: [{}], global: {{communication: internal_only}}}}"
    for domain, expected in (("corp.example", True), ("other.example", False)):
        policy = policy_of(tmp_path, text.format(domain))
        assert admits(policy, {"communication_target": "api.corp.example"}) == {"communication": expected}
        dimension = policy.constraints.dimensions["communication"]
        assert dimension.check(dimension.parse("internal_only"), {"communication_target": "api.corp.example"}).satisfied is expected


PROBLEMS = {
    "a typo of a key": ("constraints: {globl: {}}\n", "policy.yaml:1: unknown key `globl` in `constraints`, did you mean `global`?"),
    "no mapping": ("constraints: []\n", "policy.yaml:1: `constraints` must be a mapping, not a list"),
    "bounds that are none": (
        "constraints:\n  global: [cost_limit]\n",
        "policy.yaml:2: `constraints.global` must be a mapping of dimensions to their bounds, not a list",
    ),
    "an unknown dimension": (
        "constraints:\n  global:\n    cost_limit: 5\n    cost_limt: 5\n",
        "policy.yaml:4: `constraints.global.cost_limt`: unknown dimension `cost_limt`, did you mean `cost_limit`?",
    ),
    "a bad limit": (
        "constraints:\n  global: {cost_limit: -5}\n",
        "policy.yaml:2: `constraints.global.cost_limit` must be a number of cents, 0 or more, such as `1000`, not `-5`",
    ),
    "no limit": (
        "constraints:\n  global: {cost_limit: }\n",
        "policy.yaml:2: `constraints.global.cost_limit` must be a number of cents, 0 or more, such as `1000`, not empty",
    ),
    "a bad window of a category": (
        "constraints:\n  categories:\n    night: {time_window: 22:00-25:00}\n",
        "policy.yaml:3: `constraints.categories.night.time_window` must be `HH:MM-HH:MM`, from `00:00` to `23:59`, such as `09:00-17:00`, "
        "not `22:00-25:00`",
    ),
    "a bad rate of an agent": (
        "agents:\n  bot:\n    constraints: {rate_limit: 5/week}\n",
        "policy.yaml:3: `agents.bot.constraints.rate_limit` must be a whole number, or `N/second`, `N/minute`, `N/hour` or `N/day`, such "
        "as `100/minute`, not `5/week`",
    ),
    "an unknown dimension of every agent": (
        "agents:\n  '*': {constraints: {resource: [x]}}\n",
        "policy.yaml:2: `agents.*.constraints.resource`: unknown dimension `resource`, did you mean `resources`?",
    ),
    "a bad glob": (
        "constraints: {global: {resources: ['**.json']}}\n",
        "policy.yaml:1: `constraints.global.resources` must have `**` alone between slashes, as in `data/**/*.json`",
    ),
    "a bad mode of a dimension": (
        "constraints: {global: {data_access: {mode: nopii}}}\n",
        "policy.yaml:1: `constraints.global.data_access` must have as `mode` one of `no_pii`, `internal_only`, `allow_all`, did you mean "
        "`no_pii`?",
    ),
    "a bad mode": (
        "constraints: {mode: all}\n",
        "policy.yaml:1: `constraints.mode` must be one of `conjunctive`, `disjunctive`, `independent`, `hierarchical`, not `all`",
    ),
    "bad enforcement": (
        "constraints: {enforcement: true}\n",
        "policy.yaml:1: `constraints.enforcement` must be one of `enforce`, `shadow`, `off`, not `true`",
    ),
    "bad missing context": (
        "constraints: {missing_context: ignore}\n",
        "policy.yaml:1: `constraints.missing_context` must be one of `fail`, `pass`, not `ignore`",
    ),
    "a bad reaction": (
        "constraints: {anti_gaming: warn}\n",
        "policy.yaml:1: `constraints.anti_gaming` must be one of `flag`, `escalate`, `block`, not `warn`",
    ),
    "a bad domain": (
        "constraints:\n  internal_domains:\n    - corp.example\n    - https://corp.example\n",
        "policy.yaml:4: `constraints.internal_domains[1]` must be a host alone, without scheme, user, port or path",
    ),
    "an address for a domain": (
        "constraints: {internal_domains: [10.0.0.1]}\n",
        "policy.yaml:1: `constraints.internal_domains[0]` is an address: private ones are internal anyway",
    ),
    "a category twice": (
        "constraints:\n  categories:\n    Billing: {cost_limit: 1}\n    billing: {cost_limit: 2}\n",
        "policy.yaml:4: `constraints.categories.billing` is the category `Billing` once more: case does not matter",
    ),
    "a category without a name": (
        "constraints: {categories: {' ': {}}}\n",
        "policy.yaml:1: `constraints.categories. ` is no category: a name must not be empty",
    ),
}


@pytest.mark.parametrize(("text", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    """What is wrong, where, and what would be right; and nothing else."""
    assert complaints_about(tmp_path, text) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        text
        for name, (text, _) in PROBLEMS.items()
        if name not in {"a bad domain", "an address for a domain", "a category twice", "a category without a name", "a bad glob"}
    ],
)
def test_the_schema_refuses_what_does_not_load(text: str) -> None:
    """All but what only a closer look tells."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), policy_schema())


@pytest.mark.parametrize(
    "bounds",
    [
        {"cost_limit": "12.5"},
        {"cost_limit": 0},
        {"rate_limit": 100},
        {"rate_limit": "100"},
        {"rate_limit": "5/day"},
        {"time_window": "22:00-06:00"},
        {"resources": "data/**"},
        {"resources": []},
        {"data_access": "no_pii"},
        {"data_access": {"mode": "allow_all", "allowed_classifications": ["internal"]}},
        {"communication": "none"},
        {"communication": {"mode": "internal_only"}},
        {"communication": {"mode": "allowed_domains", "allowed_domains": ["a.example"]}},
    ],
)
def test_the_schema_accepts_what_loads(tmp_path: Path, bounds: dict[str, Any]) -> None:
    """Every form of every dimension, at every place."""
    text = yaml.safe_dump({"constraints": {"global": bounds, "categories": {"x": bounds}}, "agents": {"a": {"constraints": bounds}}})
    jsonschema.validate(yaml.safe_load(text), policy_schema())
    assert len(policy_of(tmp_path, text).constraints.bounds_of(facts(agent_id="a", category="x"))) == 1


def version(folder: Path, text: str) -> str:
    """The version of a policy."""
    return policy_of(folder, text).version


def test_the_version_follows_what_the_constraints_say(tmp_path: Path) -> None:
    """Every value of them; the order of dimensions alone does not matter, unless the first one decides."""
    versions = {version(tmp_path, WHOLE.replace(old, new)) for old, new in {
        "": "", "independent": "conjunctive", "shadow": "enforce", "pass": "fail", "escalate": "block", "Corp.Example": "corp2.example",
        "1000": "1001", "500": "501", "50/minute": "51/minute", "cost_limit: 100,": "cost_limit: 99,",
    }.items()}  # fmt: skip
    assert len(versions) == 10
    one, other = "global: {cost_limit: 1, rate_limit: 2}", "global: {rate_limit: 2, cost_limit: 1}"
    assert version(tmp_path, f"constraints: {{{one}}}") == version(tmp_path, f"constraints: {{{other}}}")
    assert version(tmp_path, f"constraints: {{mode: hierarchical, {one}}}") != version(
        tmp_path, f"constraints: {{mode: hierarchical, {other}}}"
    )
    assert version(tmp_path, "constraints: {categories: {Billing: {cost_limit: 1}}}") == version(
        tmp_path, "constraints: {categories: {billing: {cost_limit: 1}}}"
    )


def warnings(folder: Path, text: str) -> list[str]:
    """What `cstp policy check` warns of."""
    report = check_policy(write(folder, text))
    assert report.problems == ()
    return [str(problem).replace(f"{folder}/", "") for problem in report.warnings]


def test_bounds_that_bound_nothing_more_are_warned_of(tmp_path: Path) -> None:
    """They look as if they loosened what holds for all; those that tighten it, or both do in part, are fine."""
    text = """
constraints:
  global: {cost_limit: 100, resources: ["data/**", "logs/**"], time_window: "09:00-17:00"}
  categories:
    billing:
      cost_limit: 200
      resources: ["**/*.json"]
agents:
  "*": {constraints: {time_window: "18:00-19:00"}}
  bot: {constraints: {cost_limit: 50, time_window: "09:00-17:00", resources: ["**"]}}
"""
    assert warnings(tmp_path, text) == [
        "policy.yaml:6: `constraints.categories.billing.cost_limit` has no effect: the `cost_limit` in `constraints.global` is tighter, "
        "and the most restrictive one holds",
        "policy.yaml:9: `agents.*.constraints.time_window` admits nothing: it has no minute in common with the one in `constraints.global`",
        "policy.yaml:10: `agents.bot.constraints.resources` has no effect: the `resources` in `constraints.global` is tighter, and the "
        "most restrictive one holds",
    ]
    assert warnings(tmp_path, text.replace("constraints:\n  global", "constraints:\n  enforcement: off\n  global", 1)) == []


def test_constraints_of_several_files_are_united(tmp_path: Path) -> None:
    """A dimension that two files bound at the same place is an error."""
    write(tmp_path, "constraints: {global: {cost_limit: 5}, internal_domains: [a.example]}", "1.yaml")
    write(tmp_path, "constraints: {global: {rate_limit: 5}, internal_domains: [b.example]}", "2.yaml")
    constraints = load_policy(tmp_path).constraints
    assert [bound.name for bound in constraints.bounds_of(facts())] == ["cost_limit", "rate_limit"]
    assert constraints.internal_domains == ("a.example", "b.example")
    write(tmp_path, "constraints: {global: {cost_limit: 6}}", "3.yaml")
    assert complaints(tmp_path) == ["3.yaml:1: `constraints.global.cost_limit` is given twice, first in 1.yaml:1"]


@pytest.fixture
def broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package, whose dimension cannot be loaded."""
    information = tmp_path / "packages" / "broken-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[cstp.dimensions]\ntoken_limit = no_such_module:TokenLimit\n")
    monkeypatch.syspath_prepend(str(information.parent))
    installed_dimensions.cache_clear()
    yield
    installed_dimensions.cache_clear()


@pytest.mark.usefixtures("broken_package")
def test_a_dimension_that_is_broken_only_fails(tmp_path: Path) -> None:
    """Its name is known, the policy loads, whatever the bound, and what it bounds fails."""
    policy = policy_of(tmp_path, "constraints: {global: {cost_limit: 5, token_limit: {any: thing}}}")
    assert admits(policy, {"cost_used": 1}) == {"cost_limit": True, "token_limit": False}
    assert "token_limit" in policy_schema()["$defs"]["Bounds"]["properties"]

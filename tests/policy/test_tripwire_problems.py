"""Every way in which tripwires, agents, quality and waits can be wrong: the message, and the line."""

from pathlib import Path

import pytest

from cstp_server.policy.checking import check_policy
from tests.policy.writing import complaints, complaints_about, write

RULE = "tripwires:\n  - name: a\n"
ONE_KIND = "must have exactly one of `limit`, `quota`, `pattern`, `when`"
UNBOUNDED = "back-references and look-around take time without bounds and are not supported"
CASES = {
    "no mapping": ("tripwires: 5\n", "policy.yaml:1: `tripwires` must be a mapping, not `5`"),
    "limits that are none": (
        "tripwires:\n  limits: [a]\n",
        "policy.yaml:2: `tripwires.limits` must be a mapping of names to numbers, not a list",
    ),
    "rules that are none": ("tripwires:\n  rules: {a: 1}\n", "policy.yaml:2: `tripwires.rules` must be a list, not a mapping"),
    "a limit beside both keys": (
        "tripwires:\n  limits: {max_refund: 1}\n  max_credit: 3\n",
        "policy.yaml:3: unknown key `max_credit` in `tripwires`: limits by name stand under `limits`, rules under `rules`",
    ),
    "a typo in a rule": (RULE + "    wen: x\n", "policy.yaml:3: unknown key `wen` in `tripwires[0]`, did you mean `when`?"),
    "a typo in a rule under its key": (
        "tripwires:\n  rules:\n    - name: a\n      when: 'true'\n      mesage: x\n",
        "policy.yaml:5: unknown key `mesage` in `tripwires.rules[0]`, did you mean `message`?",
    ),
    "no name": ("tripwires:\n  - when: 'true'\n", "policy.yaml:2: `tripwires[0]` lacks the key `name`"),
    "no kind": (RULE, f"policy.yaml:2: `tripwires[0]` {ONE_KIND}, not none"),
    "two kinds": (
        RULE + "    when: 'true'\n    quota: {count: true, window: day, max: 1}\n",
        f"policy.yaml:2: `tripwires[0]` {ONE_KIND}, not `quota` and `when`",
    ),
    "a typo in a built-in name": (
        "tripwires:\n  - name: secret\n    mode: off\n",
        f"policy.yaml:2: `tripwires[0]` {ONE_KIND}, not none, did you mean `secrets`?",
    ),
    "a built-in one with a kind": (
        "tripwires:\n  - name: secrets\n    when: 'true'\n",
        "policy.yaml:2: `tripwires[0]` must not give `when`: `secrets` is a built-in tripwire, of which everything else can be changed",
    ),
    "no severity": (
        RULE + "    when: 'true'\n    severity: high\n",
        "policy.yaml:4: `tripwires[0].severity` must be one of `standard`, `critical`, `severe`, not `high`",
    ),
    "a condition that does not compile": (
        RULE + "    when: action.contxt.x == 1\n",
        "policy.yaml:3: `tripwires[0].when`: `action.contxt.x == 1` is no valid expression: "
        "`action` has no field `contxt`, did you mean `context`?",
    ),
    "a limit without bounds": (
        RULE + "    limit: {field: action.ctq}\n",
        "policy.yaml:3: `tripwires[0].limit` must give `min`, `max` or both",
    ),
    "bounds that exclude everything": (
        RULE + "    limit: {field: action.ctq, min: 2, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit` must not have a `min` (2) above its `max` (1): nothing could pass",
    ),
    "a negative bound": (
        RULE + "    limit:\n      field: action.ctq\n      min: -1\n",
        "policy.yaml:5: `tripwires[0].limit.min` must be a number, 0 or greater, not `-1`",
    ),
    "a bound in quotes": (
        RULE + "    limit:\n      field: action.ctq\n      max: '1'\n",
        "policy.yaml:5: `tripwires[0].limit.max` must be a number, 0 or greater, not `1`",
    ),
    "a field without a root": (
        RULE + "    limit: {field: amount, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `amount` is no path of a number, did you mean `action.parameters.amount`?",
    ),
    "a typo in a root": (
        RULE + "    limit: {field: action.paramters.amount, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `action.paramters.amount` is no path of a number, "
        "did you mean `action.parameters.amount`?",
    ),
    "a typo in a field": (
        RULE + "    limit: {field: action.confidense, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `action.confidense` is no path of a number, did you mean `action.confidence`?",
    ),
    "half of a path": (
        RULE + "    limit: {field: context.rows, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `context.rows` is no path of a number, did you mean `action.context.rows`?",
    ),
    "all parameters at once": (
        RULE + "    limit: {field: action.parameters, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `action.parameters` is all of them: name one, such as `action.parameters.amount`",
    ),
    "a field of nobody": (
        RULE + "    limit: {field: agent.age, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `agent.age` is no path of a number, "
        "use `action.confidence`, `action.ctq`, `action.parameters.<name>` or `action.context.<name>`",
    ),
    "a text as a number": (
        RULE + "    limit: {field: action.description, max: 1}\n",
        "policy.yaml:3: `tripwires[0].limit.field`: `action.description` is no path of a number, "
        "did you mean `action.parameters.description`?",
    ),
    "a quota of nothing": (
        RULE + "    quota: {window: day, max: 1}\n",
        "policy.yaml:3: `tripwires[0].quota` must give either `count: true` or `sum`",
    ),
    "a quota of both": (
        RULE + "    quota: {count: true, sum: action.parameters.x, window: day, max: 1}\n",
        "policy.yaml:3: `tripwires[0].quota` must give either `count: true` or `sum`",
    ),
    "a count that is none": (
        RULE + "    quota: {count: false, window: day, max: 1}\n",
        "policy.yaml:3: `tripwires[0].quota.count` must be `true`, not `false`: give `sum` to sum a field instead",
    ),
    "half an action": (
        RULE + "    quota: {count: true, window: day, max: 1.5}\n",
        "policy.yaml:3: `tripwires[0].quota` must have a whole number as `max`, not `1.5`: it counts actions",
    ),
    "a count that is settled": (
        RULE + "    quota: {count: true, window: day, max: 1, settle: true}\n",
        "policy.yaml:3: `tripwires[0].quota` must not give `settle`: it counts actions, and only sums are settled",
    ),
    "no window": (RULE + "    quota: {count: true, max: 1}\n", "policy.yaml:3: `tripwires[0].quota` lacks the key `window`"),
    "another window": (
        RULE + "    quota: {count: true, max: 1, window: week}\n",
        "policy.yaml:3: `tripwires[0].quota.window` must be one of `minute`, `hour`, `day`, `total`, not `week`",
    ),
    "another subject": (
        RULE + "    quota: {count: true, max: 1, window: day, per: team}\n",
        "policy.yaml:3: `tripwires[0].quota.per` must be one of `agent`, `user`, `category`, `global`, not `team`",
    ),
    "no fields": (
        RULE + "    pattern: {fields: [], regex: a}\n",
        "policy.yaml:3: `tripwires[0].pattern.fields` must hold at least 1, not a list",
    ),
    "a typo in a field of texts": (
        RULE + "    pattern: {fields: [action.descripton], regex: a}\n",
        "policy.yaml:3: `tripwires[0].pattern.fields[0]`: `action.descripton` is no path of texts, did you mean `action.description`?",
    ),
    "an empty regex": (
        RULE + "    pattern: {fields: [action.tags], regex: ''}\n",
        "policy.yaml:3: `tripwires[0].pattern.regex` must be a text that is not empty",
    ),
    "a back-reference": (
        RULE + "    pattern: {fields: [action.tags], regex: '(a)\\1'}\n",
        f"policy.yaml:3: `tripwires[0].pattern.regex`: `(a)\\1` cannot be used: {UNBOUNDED}",
    ),
    "a look-ahead": (
        RULE + "    pattern: {fields: [action.tags], regex: 'a(?!b)'}\n",
        f"policy.yaml:3: `tripwires[0].pattern.regex`: `a(?!b)` cannot be used: {UNBOUNDED}",
    ),
    "a look-behind": (
        RULE + "    pattern: {fields: [action.tags], regex: '(?<=a)b'}\n",
        f"policy.yaml:3: `tripwires[0].pattern.regex`: `(?<=a)b` cannot be used: {UNBOUNDED}",
    ),
    "no regex at all": (
        RULE + "    pattern: {fields: [action.tags], regex: 'a(b'}\n",
        "policy.yaml:3: `tripwires[0].pattern.regex`: `a(b` cannot be used: missing ): a(b",
    ),
    "a regex that grows": (
        RULE + "    pattern: {fields: [action.tags], regex: '" + r"(?:\pL{500}){2}" * 100 + "'}\n",
        "policy.yaml:3: `tripwires[0].pattern.regex`: `" + (r"(?:\pL{500}){2}" * 100)[:200] + "` cannot be used: "
        "it becomes too large: repeat less, or fewer things",
    ),
    "nothing that it applies to": (
        RULE + "    when: 'true'\n    applies_to: {types: []}\n",
        "policy.yaml:4: `tripwires[0].applies_to.types` must hold at least 1, not a list",
    ),
    "a kind of action that is none": (
        RULE + "    when: 'true'\n    applies_to: {type: [a]}\n",
        "policy.yaml:4: unknown key `type` in `tripwires[0].applies_to`, did you mean `types`?",
    ),
    "a name given twice": (
        RULE + "    when: 'true'\n  - {name: a, when: 'false'}\n",
        "policy.yaml:4: the id `a` is given twice, first in policy.yaml:2",
    ),
    "a rule with the name of a limit": (
        "tripwires:\n  limits: {max_refund: 1}\n  rules:\n    - {name: max_refund, when: 'true'}\n",
        "policy.yaml:4: the id `max_refund` is given twice, first in policy.yaml:2",
    ),
    "a built-in one changed twice": (
        "tripwires:\n  - {name: secrets, mode: off}\n  - {name: secrets, mode: off}\n",
        "policy.yaml:3: the id `secrets` is given twice, first in policy.yaml:2",
    ),
    "the name of a guardrail": (
        "guardrails: [{id: a}]\n" + RULE + "    when: 'true'\n",
        "policy.yaml:3: the id `a` is given twice, first in policy.yaml:1",
    ),
    "a guardrail with the name of a built-in one": (
        "guardrails:\n  - id: secrets\n",
        "policy.yaml:2: the id `secrets` is that of a built-in tripwire: use another",
    ),
    "an agent's limit that loosens": (
        "tripwires: {max_refund: 500}\nagents:\n  bot:\n    tripwires:\n      max_refund: 600\n",
        "policy.yaml:5: `agents.bot.tripwires.max_refund` is `600`, which loosens the `500` that holds for all agents: "
        "an agent's own limit must be lower or equal",
    ),
    "an agent's minimum that loosens": (
        "tripwires: {min_confidence: 0.8}\nagents:\n  bot:\n    tripwires: {limits: {min_confidence: 0.7}}\n",
        "policy.yaml:4: `agents.bot.tripwires.limits.min_confidence` is `0.7`, which loosens the `0.8` that holds for all agents: "
        "an agent's own limit must be higher or equal",
    ),
    "a limit of all agents that loosens": (
        "tripwires: {daily_budget: 5}\nagents:\n  '*': {tripwires: {daily_budget: 6}}\n",
        "policy.yaml:3: `agents.*.tripwires.daily_budget` is `6`, which loosens the `5` that holds for all agents: "
        "an agent's own limit must be lower or equal",
    ),
    "an agent's approval that loosens": (
        "tripwires: {require_approval_above: 5}\nagents: {bot: {tripwires: {require_approval_above: 5.1}}}\n",
        "policy.yaml:2: `agents.bot.tripwires.require_approval_above` is `5.1`, which loosens the `5` that holds for all agents: "
        "an agent's own limit must be lower or equal",
    ),
    "an agent's name for a built-in one": (
        "agents:\n  bot:\n    tripwires:\n      - {name: secrets, mode: off}\n",
        "policy.yaml:4: `agents.bot.tripwires[0].name`: `secrets` is a built-in tripwire, and can only be changed for all agents: "
        "under `tripwires`, with `applies_to`",
    ),
    "an agent's rule with the name of one for all": (
        RULE + "    when: 'true'\nagents: {bot: {tripwires: [{name: a, when: 'false'}]}}\n",
        "policy.yaml:4: `agents.bot.tripwires[0].name`: `a` is the name of a tripwire for all agents: give this one another name",
    ),
    "an agent's limit with the name of a rule for all": (
        "tripwires: [{name: max_refund, when: 'true'}]\nagents: {bot: {tripwires: {max_refund: 5}}}\n",
        "policy.yaml:2: `agents.bot.tripwires.max_refund` is the name of a rule for all agents: "
        "give this limit another name, or change `max_refund` there",
    ),
    "an agent's limit with the name of a rule of every agent": (
        "agents: {'*': {tripwires: [{name: max_refund, when: 'true'}]}, bot: {tripwires: {max_refund: 5}}}\n",
        "policy.yaml:1: `agents.bot.tripwires.max_refund` is the name of a rule for all agents: "
        "give this limit another name, or change `max_refund` there",
    ),
    "an agent's name given twice": (
        "agents:\n  bot:\n    tripwires:\n      - {name: a, when: 'true'}\n      - {name: a, when: 'true'}\n",
        "policy.yaml:5: the id `a` is given twice, first in policy.yaml:4",
    ),
    "an agent's limit that is none": (
        "agents:\n  bot:\n    tripwires:\n      weekly_limit: 3\n",
        "policy.yaml:4: `agents.bot.tripwires.weekly_limit` is no limit, did you mean `daily_action_limit`?",
    ),
    "a typo in an agent": (
        "agents:\n  bot:\n    acl_teir: 2\n",
        "policy.yaml:3: unknown key `acl_teir` in `agents.bot`, did you mean `acl_tier`?",
    ),
    "a tier that is none": (
        "agents:\n  bot:\n    acl_tier: 10\n",
        "policy.yaml:3: `agents.bot.acl_tier` must be a whole number from 0 to 9, or a text such as `ACL-2`, not `10`",
    ),
    "a tier in words": (
        "agents:\n  bot:\n    acl_tier: high\n",
        "policy.yaml:3: `agents.bot.acl_tier` must be a whole number from 0 to 9, or a text such as `ACL-2`, not `high`",
    ),
    "a tier that is true": (
        "agents:\n  bot:\n    acl_tier: true\n",
        "policy.yaml:3: `agents.bot.acl_tier` must be a whole number from 0 to 9, or a text such as `ACL-2`, not `true`",
    ),
    "a wait of no time": ("postures: {approval_ttl_ms: 0}\n", "policy.yaml:1: `postures.approval_ttl_ms` must be greater than 0, not `0`"),
    "quality without a measure": ("quality: {action: warn}\n", "policy.yaml:1: `quality` lacks the key `min_ctq`"),
    "too much quality": ("quality: {min_ctq: 60}\n", "policy.yaml:1: `quality.min_ctq` must be at most 1, not `60`"),
    "quality that blocks": (
        "quality: {min_ctq: 0.6, action: block}\n",
        "policy.yaml:1: `quality.action` must be one of `warn`, `escalate`, not `block`",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """One mistake gives exactly one problem: file, line, and what would be right; paths are those that were written."""
    assert complaints_about(tmp_path, text) == [message]


@pytest.mark.parametrize("own", ["max_refund: 500", "max_refund: 499.99", "max_refund: 0"])
def test_an_agent_may_have_the_same_limit_or_a_tighter_one(tmp_path: Path, own: str) -> None:
    """Equal is not looser."""
    report = check_policy(write(tmp_path, f"tripwires: {{max_refund: 500}}\nagents: {{bot: {{tripwires: {{{own}}}}}}}\n"))
    assert report.problems == ()


def test_a_name_given_in_two_files_is_told_with_both(tmp_path: Path) -> None:
    """Also in different forms."""
    write(tmp_path, "tripwires: {max_refund: 1}\n", "a.yaml")
    write(tmp_path, "tripwires:\n  - {name: max_refund, when: 'true'}\n", "b.yaml")
    assert complaints(tmp_path) == ["b.yaml:2: the id `max_refund` is given twice, first in a.yaml:1"]


def test_a_limit_given_in_two_files_is_a_key_given_twice(tmp_path: Path) -> None:
    """The first one is named."""
    write(tmp_path, "tripwires: {max_refund: 1}\n", "a.yaml")
    write(tmp_path, "tripwires: {max_refund: 2}\n", "b.yaml")
    assert complaints(tmp_path) == ["b.yaml:1: `tripwires.max_refund` is given twice, first in a.yaml:1"]


WARNED = {
    "trips all that lack it": (
        RULE + "    limit: {field: action.parameters.rows, max: 5}\n",
        "policy.yaml:2: tripwire `a` trips every action that has no `action.parameters.rows`",
    ),
    "sums what not all have": (
        RULE + "    quota: {sum: action.parameters.rows, window: day, max: 5}\n",
        "policy.yaml:2: tripwire `a` trips every action that has no `action.parameters.rows`",
    ),
    "lacks a key": (RULE + "    when: action.parameters.rows > 5\n", "policy.yaml:2: tripwire `a` trips every action that lacks a key"),
    "always": (RULE + "    when: 1 < 2\n", "policy.yaml:2: tripwire `a` trips every action that it applies to"),
    "never": (RULE + "    when: 1 > 2\n", "policy.yaml:2: tripwire `a` never trips"),
    "every text": (
        RULE + "    pattern: {fields: [action.description], regex: 'a*'}\n",
        "policy.yaml:2: tripwire `a` matches every text, an empty one too",
    ),
    "a placeholder": (
        RULE + "    when: action.type == 'x'\n    message: 'no {amount}'\n",
        "policy.yaml:2: tripwire `a` has a placeholder in its message",
    ),
    "zero": ("tripwires:\n  max_refund: 0\n", "policy.yaml:2: tripwire `max_refund` has a limit of 0: only 0 passes"),
    "no action": (
        "tripwires:\n  daily_action_limit: 0\n",
        "policy.yaml:2: tripwire `daily_action_limit` has a limit of 0: it lets no such action",
    ),
    "quality": ("tripwires:\n  min_ctq: 0.5\n", "policy.yaml:2: tripwire `min_ctq` looks at `action.parameters.ctq`; the quality"),
    "a window that is none": (
        "tripwires:\n  max_daily_spend: 5\n",
        "policy.yaml:2: tripwire `max_daily_spend` looks at the parameter `daily_spend`",
    ),
    "never reached": (
        "agents:\n  bot:\n    tripwires:\n      - {name: a, when: action.type == 'x', applies_to: {agents: [other]}}\n",
        "policy.yaml:4: tripwire `a` is never reached: it stands under the agent `bot`, which its `applies_to` leaves out",
    ),
    "an agent's zero": ("agents:\n  bot:\n    tripwires:\n      max_refund: 0\n", "policy.yaml:4: tripwire `max_refund` has a limit of 0"),
}


@pytest.mark.parametrize(("text", "warning"), WARNED.values(), ids=WARNED)
def test_what_is_hardly_meant_is_warned_of(tmp_path: Path, text: str, warning: str) -> None:
    """The policy loads, with one warning that names the line."""
    report = check_policy(write(tmp_path, text))
    assert (report.policy is not None, report.problems) == (True, ())
    assert [str(found).replace(f"{tmp_path}/", "")[: len(warning)] for found in report.warnings] == [warning]


CLEAN = [
    "tripwires: {max_refund: 500, min_confidence: 0.5, daily_budget: 5}",
    "tripwires: [{name: a, applies_to: {types: [x]}, limit: {field: action.parameters.rows, max: 5}}]",
    "tripwires: [{name: a, applies_to: {types: [x]}, when: action.parameters.rows > 5}]",
    "tripwires: [{name: a, when: has(action.parameters.rows) && action.parameters.rows > 5}]",
    "tripwires: [{name: a, limit: {field: action.confidence, min: 0.5}}]",
    "tripwires: [{name: secrets, mode: off}]",
    "tripwires: [{name: a, when: 1 < 2, mode: off}]",
    "agents: {'*': {tripwires: [{name: a, when: action.type == 'x', applies_to: {agents: [other]}}]}}",
]


@pytest.mark.parametrize("text", CLEAN)
def test_what_is_meant_is_not_warned_of(tmp_path: Path, text: str) -> None:
    """Neither limits of the short form nor rules that say what they are about."""
    assert check_policy(write(tmp_path, text)).warnings == ()

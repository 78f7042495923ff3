"""Every way in which a policy can be wrong: the message, and the line."""

from pathlib import Path

import pytest

from tests.policy.writing import complaints, complaints_about, write

CIRCUIT = "circuit_breakers:\n  - scope: global\n"
RULE = "guardrails:\n  - id: rule\n"
SCOPES = "use `global`, `category:<name>`, `stakes:<level>`, `agent:<id>`, `tag:<name>` or `user:<id>/<domain>`"
LEVELS = "`low`, `medium`, `high`, `critical`"

CASES = {
    "typo in a key": (
        CIRCUIT + "    failure_treshold: 3\n",
        "policy.yaml:3: unknown key `failure_treshold` in `circuit_breakers[0]`, did you mean `failure_threshold`?",
    ),
    "typo in a nested key": (
        CIRCUIT + "    severity_weights:\n      low: 1\n      hihg: 2\n",
        "policy.yaml:5: unknown key `hihg` in `circuit_breakers[0].severity_weights`, did you mean `high`?",
    ),
    "typo in a rule's key": (RULE + "    wen: 'true'\n", "policy.yaml:3: unknown key `wen` in `guardrails[0]`, did you mean `when`?"),
    "typo in a flat key": (
        RULE + "    conditon_stakes: high\n",
        "policy.yaml:3: unknown key `conditon_stakes` in `guardrails[0]`, did you mean `condition_stakes`?",
    ),
    "typo in a section": ("circuit_breaker: []\n", "policy.yaml:1: unknown section `circuit_breaker`, did you mean `circuit_breakers`?"),
    "no scope": ("circuit_breakers:\n  - id: a\n", "policy.yaml:2: `circuit_breakers[0]` lacks the key `scope`"),
    "no id": ("guardrails:\n  - when: 'true'\n", "policy.yaml:2: `guardrails[0]` lacks the key `id`"),
    "no scope at all": (
        "circuit_breakers:\n  - scope: nonsense\n",
        f"policy.yaml:2: `circuit_breakers[0].scope`: `nonsense` is no scope: {SCOPES}",
    ),
    "no stakes": (
        "circuit_breakers:\n  - scope: 'stakes:extreme'\n",
        f"policy.yaml:2: `circuit_breakers[0].scope`: `stakes:extreme` is no scope: stakes are {LEVELS}",
    ),
    "threshold of zero": (
        CIRCUIT + "    failure_threshold: 0\n",
        "policy.yaml:3: `circuit_breakers[0].failure_threshold` must be greater than 0, not `0`",
    ),
    "threshold below a millionth": (
        CIRCUIT + "    failure_threshold: 1.0e-9\n",
        "policy.yaml:3: `circuit_breakers[0].failure_threshold` must be at least 0.000001, not `1e-09`",
    ),
    "threshold that is no number": (
        CIRCUIT + "    failure_threshold: .nan\n",
        "policy.yaml:3: `circuit_breakers[0].failure_threshold` must be a finite number, not `nan`",
    ),
    "infinite threshold": (
        CIRCUIT + "    failure_threshold: .inf\n",
        "policy.yaml:3: `circuit_breakers[0].failure_threshold` must be a finite number, not `inf`",
    ),
    "threshold in quotes": (
        CIRCUIT + "    failure_threshold: '5'\n",
        "policy.yaml:3: `circuit_breakers[0].failure_threshold` must be a number, not `5`",
    ),
    "negative window": (CIRCUIT + "    window_ms: -1\n", "policy.yaml:3: `circuit_breakers[0].window_ms` must be greater than 0, not `-1`"),
    "fractional window": (
        CIRCUIT + "    window_ms: 1.5\n",
        "policy.yaml:3: `circuit_breakers[0].window_ms` must be a whole number, not `1.5`",
    ),
    "a window longer than ten years": (
        CIRCUIT + "    window_ms: 999999999999999\n",
        "policy.yaml:3: `circuit_breakers[0].window_ms` must be at most 315360000000, not `999999999999999`",
    ),
    "no probes": (
        CIRCUIT + "    half_open_probes: 0\n",
        "policy.yaml:3: `circuit_breakers[0].half_open_probes` must be at least 1, not `0`",
    ),
    "true for a number": (
        CIRCUIT + "    half_open_probes: true\n",
        "policy.yaml:3: `circuit_breakers[0].half_open_probes` must be a whole number, not `true`",
    ),
    "rate above one": (
        CIRCUIT + "    failure_rate_threshold: 50\n",
        "policy.yaml:3: `circuit_breakers[0].failure_rate_threshold` must be at most 1, not `50`",
    ),
    "shrinking cooldown": (
        CIRCUIT + "    cooldown_multiplier: 0.5\n",
        "policy.yaml:3: `circuit_breakers[0].cooldown_multiplier` must be at least 1, not `0.5`",
    ),
    "longest cooldown below the cooldown": (
        CIRCUIT + "    cooldown_ms: 500\n    cooldown_max_ms: 400\n",
        "policy.yaml:4: `circuit_breakers[0].cooldown_max_ms` must be at least `cooldown_ms` (500), not `400`",
    ),
    "negative tolerance": (
        CIRCUIT + "    half_open_tolerance: -0.5\n",
        "policy.yaml:3: `circuit_breakers[0].half_open_tolerance` must be at least 0, not `-0.5`",
    ),
    "negative weight": (
        CIRCUIT + "    severity_weights: {low: -1}\n",
        "policy.yaml:3: `circuit_breakers[0].severity_weights.low` must be at least 0, not `-1`",
    ),
    "success as failure": (
        CIRCUIT + "    failure_outcomes: [success]\n",
        "policy.yaml:3: `circuit_breakers[0].failure_outcomes` must not name `success`: a success is no failure",
    ),
    "unknown outcome": (
        CIRCUIT + "    failure_outcomes: [failed]\n",
        "policy.yaml:3: `circuit_breakers[0].failure_outcomes[0]` must be one of "
        "`success`, `partial`, `failure`, `abandoned`, not `failed`",
    ),
    "YAML 1.1's idea of true": (
        CIRCUIT + "    notify: yes\n",
        "policy.yaml:3: `circuit_breakers[0].notify` must be `true` or `false`, not `yes`",
    ),
    "a bad id": (
        CIRCUIT + "    id: a b\n",
        "policy.yaml:3: `circuit_breakers[0].id`: `a b` is no id: use at most 128 letters, digits and `. _ : - * @ /`, "
        "the first a letter or digit",
    ),
    "a section that is no list": ("guardrails: {id: a}\n", "policy.yaml:1: `guardrails` must be a list, not a mapping"),
    "a rule that is no mapping": ("guardrails: [a]\n", "policy.yaml:1: `guardrails[0]` must be a mapping, not `a`"),
    "a typo in a time zone": (
        "time_zone: Europe/Berln\n",
        "policy.yaml:1: `time_zone`: `Europe/Berln` is no time zone, did you mean `Europe/Berlin`?",
    ),
    "a time zone that climbs": (
        "time_zone: ../x\n",
        "policy.yaml:1: `time_zone`: `../x` is no time zone: use a name such as `Europe/Berlin`",
    ),
    "no days of retention": ("retention:\n  decisions_days: 0\n", "policy.yaml:2: `retention.decisions_days` must be at least 1, not `0`"),
    "a classification without effect": (
        "classification:\n  - when: 'true'\n",
        "policy.yaml:2: `classification[0]` raises nothing: give `stakes`, `tags` or `category`",
    ),
    "an unknown action": (
        RULE + "    action: blok\n",
        "policy.yaml:3: `guardrails[0].action` must be one of `block`, `warn`, `allow`, `escalate`, not `blok`",
    ),
    "an expression that does not compile": (
        RULE + "    when: action.context.a ==\n",
        "policy.yaml:3: `guardrails[0].when`: `action.context.a ==` is no valid expression: "
        "syntax error: mismatched input the end (at character 20)",
    ),
    "an unknown name in an expression": (
        RULE + "    when: action.context.a == 1 && actoin.type == null\n",
        "policy.yaml:3: `guardrails[0].when`: `action.context.a == 1 && actoin.type == null` is no valid expression: "
        "there is no `actoin`, did you mean `action`?",
    ),
    "an unknown field in an expression": (
        RULE + "    when: action.stkes == 'high'\n",
        "policy.yaml:3: `guardrails[0].when`: `action.stkes == 'high'` is no valid expression: "
        "`action` has no field `stkes`, did you mean `stakes`?",
    ),
    "an expression that gives a number": (
        RULE + "    when: size(action.tags)\n",
        "policy.yaml:3: `guardrails[0].when`: `size(action.tags)` gives `int` where true or false is wanted",
    ),
    "a flat condition on no level": (
        RULE + "    condition_stakes: hihg\n",
        f"policy.yaml:3: `guardrails[0].condition_stakes`: `hihg` is no level of stakes: use {LEVELS}",
    ),
    "a flat condition with one equals sign": (
        RULE + "    condition_x: '= 5'\n",
        "policy.yaml:3: `guardrails[0].condition_x`: `= 5` starts with a single `=`: write `==`",
    ),
    "a flat condition that orders texts": (
        RULE + "    condition_x: '< high'\n",
        "policy.yaml:3: `guardrails[0].condition_x`: `<` compares numbers, and `high` is none",
    ),
    "a flat condition without a value": (
        RULE + "    condition_x:\n",
        "policy.yaml:3: `guardrails[0].condition_x` must be a text, a number, `true` or `false`, or a list of those",
    ),
    "confidence as a text": (
        RULE + "    condition_confidence: high\n",
        "policy.yaml:3: `guardrails[0].condition_confidence`: `confidence` is a number, and `high` is none",
    ),
    "a mapped condition": (
        RULE + "    condition:\n      confidence_lt: low\n",
        "policy.yaml:4: `guardrails[0].condition.confidence_lt`: `<` compares numbers, and `low` is none",
    ),
    "a list for requires that holds numbers": (
        RULE + "    requires: [1]\n",
        "policy.yaml:3: `guardrails[0].requires` must be a list of names of fields, or a mapping of fields to values",
    ),
    "a scope that is a template": (
        RULE + "    scope: 'agent:*'\n",
        "policy.yaml:3: `guardrails[0].scope`: `agent:*` is a template: a rule's scope names a value",
    ),
    "a scope given twice": (
        "circuit_breakers:\n  - scope: category:tooling\n  - scope: 'category: Tooling '\n",
        "policy.yaml:3: the scope `category:tooling` is given twice, first in policy.yaml:2",
    ),
    "an id given twice": (
        "guardrails:\n  - id: a\n  - id: a\n",
        "policy.yaml:3: the id `a` is given twice, first in policy.yaml:2",
    ),
    "an id that a circuit has by default": (
        "circuit_breakers:\n  - scope: category:tooling\nguardrails:\n  - id: category-tooling-breaker\n",
        "policy.yaml:4: the id `category-tooling-breaker` is given twice, first in policy.yaml:2",
    ),
    "a key given twice": ("time_zone: UTC\ntime_zone: UTC\n", "policy.yaml:2: the key `time_zone` is given twice, first in line 1"),
    "a key that is a number": ("5: a\n", "policy.yaml:1: a key must be a text: write it in quotes"),
    "a key that is a list": ("? [a]\n: 5\n", "policy.yaml:1: a key must be a text: write it in quotes"),
    "YAML 1.1's idea of a key": ("on: 5\n", "policy.yaml:1: unknown section `on`"),
    "a tag": (
        "time_zone: !!python/name:os.x UTC\n",
        "policy.yaml:1: the tag `tag:yaml.org,2002:python/name:os.x` is not accepted: a policy holds plain values",
    ),
    "two documents": ("time_zone: UTC\n---\ntime_zone: UTC\n", "policy.yaml:2: a second document starts here: a policy file holds one"),
    "no YAML": ("a: [1\nb: 2", "policy.yaml:2: this is not valid YAML: did not find expected ',' or ']'"),
    "a control character": ("a: 1\nb: \x01", "policy.yaml:2: this is not valid YAML: it holds a character that may not stand there"),
    "nesting without end": ("a: " + "[" * 100_000, "policy.yaml:1: nested deeper than 32 levels"),
    "an alias of itself": ("a: &a [*a]", "policy.yaml:1: `*a` refers to nothing that is complete before it"),
    "an empty file": ("# nothing\n", "policy.yaml: is empty: write `{}` for a policy without rules"),
    "a bare text": ("hello\n", "policy.yaml:1: must be a mapping of sections, or a list of rules"),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """One mistake gives exactly one problem: file, line, and what would be right."""
    assert complaints_about(tmp_path, text) == [message]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Mistakes of different kinds in different places are all in the answer, in the order of the file."""
    text = (
        "time_zone: Nowhere\n"
        + CIRCUIT
        + "    window_ms: 0\n    mod: off\n  - scope: global\n"
        + RULE
        + "    when: 1 +\n    condition_x: '= 1'\n"
    )
    assert [complaint.split(" ")[0] for complaint in complaints_about(tmp_path, text)] == [
        f"policy.yaml:{line}:" for line in (1, 4, 5, 6, 9, 10)
    ]


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    """Nine lines that stand for a billion values are refused without building them."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))]
    assert complaints_about(tmp_path, "\n".join(lines)) == ["policy.yaml:5: too large: at most 200000 values, 32 levels"]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """More than 4 MiB is no policy."""
    assert complaints_about(tmp_path, "#" * (4 * 1024 * 1024 + 1)) == ["policy.yaml: is larger than 4194304 bytes"]


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The line of the first wrong byte is named."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"time_zone: UTC\n# caf\xe9\n")
    assert complaints(path) == ["policy.yaml:2: is not UTF-8"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A path where nothing is says so."""
    assert complaints(tmp_path / "none.yaml") == ["none.yaml: there is no such file or folder"]


def test_a_folder_without_policies_is_refused(tmp_path: Path) -> None:
    """An empty folder is a mistake, not a policy without rules; hidden files do not count."""
    write(tmp_path, "time_zone: UTC\n", ".policy.yaml")
    assert complaints(tmp_path) == [f"{tmp_path}: holds no policy: there is no `*.yaml` or `*.yml` file in this folder"]


def test_two_files_must_not_give_the_same_key(tmp_path: Path) -> None:
    """Both places are named, also of scopes and ids."""
    write(tmp_path, "time_zone: UTC\nreviews: {self_reported: count}\ncircuit_breakers: [{scope: global}]\n", "a.yaml")
    write(tmp_path, "circuit_breakers: [{scope: GLOBAL}]\nreviews:\n  self_reported: ignore\ntime_zone: UTC\n", "b.yml")
    assert complaints(tmp_path) == [
        "b.yml:1: the scope `global` is given twice, first in a.yaml:3",
        "b.yml:3: `reviews.self_reported` is given twice, first in a.yaml:2",
        "b.yml:4: `time_zone` is given twice, first in a.yaml:1",
    ]

"""The reference of the policy's format, in Markdown: `python -m cstp_server.policy.reference > docs/policy.md`."""

import json
from collections.abc import Iterator
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cstp_server.policy.circuit_models import CircuitModel, OnOpen, SeverityWeights
from cstp_server.policy.guardrail_models import GuardrailModel
from cstp_server.policy.models import LATER_SECTIONS, ClassificationModel, PolicyModel, RetentionModel, ReviewsModel

_INTRODUCTION = """\
# The policy

The policy is YAML: one file, or a folder whose `*.yaml` and `*.yml` files are read in the order of their names (hidden files are left
out). Lists of several files follow each other, mappings are united; a key that two files give is an error. `cstp policy check PATH` says
what is wrong, with file and line; `cstp policy schema` prints a JSON Schema for editors.

It is read at start, and again on `SIGHUP`, on `cstp.reloadPolicy` and when a file changes. A policy with a mistake in it is refused as a
whole, and the one in force stays. Its version is the hash of what it means: comments and the order of keys do not change it.

The YAML is strict: `true` and `false` are the only booleans, so `mode: off` means what it says; a key given twice, a tag, a second
document, and a key that is not known are errors. Every section is optional.
"""
_CONDITIONS = """\
## Conditions

Conditions are [CEL](https://cel.dev) and give true or false. They speak of

| name | what it is |
| --- | --- |
| `action.description`, `action.type`, `action.category` | what the agent says it does; null where it says nothing |
| `action.stakes`, `action.confidence` | how much is at stake, as classified; how sure the agent is, or null |
| `action.tags` | a list of texts |
| `action.parameters`, `action.context` | the agent's own fields |
| `agent.id`, `user.id`, `user.domain` | who acts, and for whom |
| `posture`, `trust` | the agent's posture, and the trust in it |

Categories, types and tags are compared without case, and so are the texts that you compare them with by `==`, `!=` and `in`; other
functions, such as `startsWith`, see them in lower case. A key that is absent from `action.context` or `action.parameters`
reads as null, and `has(action.context.x)` tells whether it is there. What then fails, such as `null > 1000` or `!null`, counts as matched
for a rule, and its finding says so; a classification does not apply. `action.type == "refund" && action.parameters.amount > 1000` keeps
out of the way of other actions.
"""
_FLAT = """\
CSTP's rules load as they are, also as a file that is nothing but a list of rules. `condition_<field>` and `requires_<field>` take a value,
a list of values, or a text that starts with `==`, `!=`, `<`, `<=`, `>` or `>=`. They are translated to CEL, so they fail closed too:
`condition_amount: "> 100"` matches an action without an amount.
"""
EXAMPLES: dict[str, str] = {
    "time_zone": "time_zone: Europe/Berlin\n",
    "classification": "classification:\n  - when: action.parameters.amount > 1000\n    stakes: high\n    tags: [large]\n",
    "circuit_breakers": """\
circuit_breakers:
  - scope: "category:tooling"
    failure_threshold: 5
    window_ms: 3600000
    cooldown_ms: 1800000
  - scope: "agent:*"
    failure_threshold: 3
    half_open_probes: 3
    severity_weights: {critical: 10}
    on_open: {effect: confirm}
""",
    "guardrails": """\
guardrails:
  - id: no-production-without-review
    when: action.context.affectsProduction == true
    requires: [codeReviewCompleted]
    action: block
    message: production changes require a completed code review
  - id: no-high-stakes-low-confidence
    condition_stakes: high
    condition_confidence: "< 0.5"
    action: block
""",
    "reviews": "reviews: {self_reported: failures_only}\n",
    "retention": "retention: {decisions_days: 365}\n",
}
"""An example of every section; each is a policy by itself."""
_TABLES: dict[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "classification": (("", ClassificationModel),),
    "circuit_breakers": (("", CircuitModel), ("`severity_weights`", SeverityWeights), ("`on_open`", OnOpen)),
    "guardrails": (("", GuardrailModel),),
    "reviews": (("", ReviewsModel),),
    "retention": (("", RetentionModel),),
}
_NAMES: dict[type, str] = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", dict: "mapping", object: "value"}


def reference() -> str:
    """The whole reference; generated from the models, so that it says what the loader does."""
    parts = [_INTRODUCTION, *(_section(name, field) for name, field in PolicyModel.model_fields.items()), _CONDITIONS, _later()]
    return "\n".join(parts)


def _section(name: str, field: FieldInfo) -> str:
    example = f"```yaml\n{EXAMPLES[name]}```\n"
    lines = [f"## `{name}`\n", f"{_sentence(field.description)}\n", example]
    for title, model in _TABLES.get(name, ()):
        lines += [f"{title}\n"] if title else []
        lines += ["\n".join(_table(model)) + "\n"]
    return "\n".join([*lines, _FLAT] if name == "guardrails" else lines)


def _later() -> str:
    named = ", ".join(f"`{name}`" for name in sorted(LATER_SECTIONS))
    return f"## Not in this version\n\nThe sections {named} are refused: what is not enforced must not look as if it were.\n"


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in model.model_fields.items():
        key = (field.alias or name).replace("*", "<field>")
        yield f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {(field.description or '').replace('|', chr(92) + '|')} |"


def _sentence(text: str | None) -> str:
    return f"{(text or '')[:1].upper()}{(text or '')[1:]}."


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "value"
    if hasattr(annotation, "__metadata__"):
        return _type(arguments[0])
    if arguments:
        return " or ".join(_type(argument) for argument in arguments if argument is not NoneType)
    return _simple(annotation)


def _simple(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return _NAMES[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or isinstance(value, BaseModel | dict) or value == []:
        return ""
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    print(reference(), end="")

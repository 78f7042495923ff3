"""The reference of the policy's format, in Markdown: `python -m cstp_server.policy.reference > docs/policy.md`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cstp_server.dimensions.data_access import INTERNAL
from cstp_server.dimensions.globs import MOST_CROSSINGS, MOST_NAMES
from cstp_server.policy.agent_models import AgentModel, QualityModel
from cstp_server.policy.built_in import BUILT_IN
from cstp_server.policy.circuit_models import CircuitModel, OnOpen, SeverityWeights
from cstp_server.policy.constraint_models import ConstraintsModel
from cstp_server.policy.credentials import CREDENTIALS, PRIVATE_KEY
from cstp_server.policy.fields import FlatValue
from cstp_server.policy.guardrail_models import GuardrailModel
from cstp_server.policy.models import ClassificationModel, PolicyModel, RetentionModel, ReviewsModel
from cstp_server.policy.notification_models import ChannelModel, NotificationsModel
from cstp_server.policy.posture_models import EarnedModel, GuardModel, PosturesModel
from cstp_server.policy.short_form import FORMS
from cstp_server.policy.tripwire_models import AppliesModel, LimitModel, PatternModel, QuotaModel, TripwireModel, TripwiresModel
from cstp_server.policy.trust_models import TrustDomainModel, TrustModel

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
| `action.ctq` | the quality of its reasoning, as the agent gives it, or null |
| `action.tags` | a list of texts |
| `action.parameters`, `action.context` | the agent's own fields |
| `agent.id`, `agent.acl_tier` | who acts, and the agent's tier |
| `user.id`, `user.domain` | for whom |
| `posture`, `trust` | the agent's posture, and the trust in it |

Categories, types and tags are compared without case, and so are the texts that you compare them with by `==`, `!=` and `in`; other
functions, such as `startsWith`, see them in lower case. A key that is absent from `action.context` or `action.parameters`
reads as null, and `has(action.context.x)` tells whether it is there. What then fails, such as `null > 1000` or `!null`, counts as matched
for a rule and trips a tripwire, and the finding says so; a classification does not apply.
`action.type == "refund" && action.parameters.amount > 1000` keeps
out of the way of other actions.
"""
_FLAT = """\
CSTP's rules load as they are, also as a file that is nothing but a list of rules. `condition_<field>` and `requires_<field>` take a value,
a list of values, or a text that starts with `==`, `!=`, `<`, `<=`, `>` or `>=`. They are translated to CEL, so they fail closed too:
`condition_amount: "> 100"` matches an action without an amount.
"""
_SHORT_FORM = """\
`tripwires` may also be a mapping of limits alone, or a list of rules alone. At its limit a value passes; a value that is missing where it
must not be, no number, not finite or negative trips. Numbers are compared and summed as decimals.

| severity | what a hit does | for an agent of tier 3 and above |
| --- | --- | --- |
| `standard` | blocks, and a person may let that one action pass | blocks |
| `critical` | blocks, and people are told | halts: the agent is blocked from then on |
| `severe` | halts, and nothing lifts it | halts |

A limit's name says what its number bounds. \"The amount\" is `action.parameters.amount`; counts and sums are per agent; the words of an
action's type end at `_`, `-`, `.`, a space or a capital letter. A name that is none of these is refused.
"""
_BUILT_IN = """
These are in force without being written. A rule with the name of one, and without `limit`, `quota`, `pattern` and `when`, changes its
severity, mode, message, notification or the actions it applies to.
"""
_SECRETS = """
`secrets` knows credentials by their makers' own forms, in the action's description, type, category, tags, parameters, context and
details, in names and values at any depth:

KINDS.

What only stands in the place of a secret is none: closed brackets such as `<password>`, `{password}` and `${DB_PASSWORD}`, variables in
capitals such as `$TOKEN`, `****` and `xxxx`, the words `password`, `secret` and `token` themselves, and plain words joined to `your-`, or
to `my-`, `some-` or `the-` when they end in such a word (`my-secret-pw`). The examples of the makers' own documentation do count. What is
found is recorded, answered and told as `[redacted: <kind>]`. Where more than 4,096 places look like credentials, placeholders among them,
the action is taken for one as a whole, and all its texts are recorded as `[redacted: credentials]`.
"""
_POSTURES = """
An agent begins with the posture that `agents` gives it, and keeps the one that it was moved to since, whatever the policy says later.

| posture | level | what happens to an action that nothing else objects to |
| --- | --- | --- |
| `full_autonomy` | 5 | allowed |
| `assisted` | 4 | people are told, and may cancel it for `assisted_delay_ms`; then allowed |
| `supervised` | 3 | allowed, with a detailed entry in the record |
| `human_decides` | 2 | waits for an approval |
| `blocked` | 1 | blocked |

Guards are asked in their order, then those of installed packages ([how to write one](extending.md#a-guard-of-transitions)). The first that
refuses decides, and the attempt is on record. Their conditions speak of

| name | what it is |
| --- | --- |
| `request.from_posture`, `request.to_posture` | the names of the postures |
| `request.from_level`, `request.to_level` | their levels |
| `request.transition_type` | `upgrade`, `downgrade` or `maintain` |
| `request.requester`, `request.reason` | who asks, and why |
| `metadata` | what they give besides; a key that is absent reads as null |
| `agent.id`, `agent.acl_tier` | the agent, and its tier |
| `trust.score`, `trust.reviewed` | its trust score, and the number of outcomes that it rests on |

A condition that cannot be evaluated, such as `metadata.approvals > 1` without that key, does not hold: the guard refuses.

The trust score is the lower bound of the 95 % Wilson interval of the share of successes within `score_window_ms`. Tripwire hits count as
failures, `partial` and `abandoned` not at all, so a few good outcomes are not yet a good record: 16 successes in a row give 0.8.
"""
_CONSTRAINTS = """
Bounds stand under the names of dimensions, `global`, by category, and by agent (`agents`). Of several bounds of one dimension the most
restrictive holds: the lower limit, the time that all windows have in common, the paths that match all lists, the hosts that all allow.

| dimension | value | key in `action.context` | what it admits |
| --- | --- | --- | --- |
| `cost_limit` | a number of cents | `cost_used` | up to the limit, which is within |
| `time_window` | `HH:MM-HH:MM` | `current_time`; now, where it is missing or null | from the beginning of the first minute to the end of \
the last, in the policy's time zone; `22:00-06:00` is open over midnight, `09:00-09:00` for one minute |
| `resources` | a list of globs | `resource_requested` | paths that match one, in which upper and lower case differ |
| `rate_limit` | `N`, or `N/second`, `N/minute`, `N/hour`, `N/day` | `requests_in_period`; where it is missing, what the service itself \
has let through | up to the limit, which is within; a day is any 24 hours, a number alone is per minute |
| `data_access` | a mode, or `{mode, allowed_classifications}` | `contains_pii`, `data_classification` | `no_pii`: what has no personal \
data; `internal_only`: the classifications INTERNAL; `allow_all`: everything. A list of classifications, compared without case, narrows \
each |
| `communication` | `none`, `internal_only`, or `{mode: allowed_domains, allowed_domains: […]}` | `communication_target` | nobody; one's \
own hosts; the hosts of the list, where `*.example.org` is what is below `example.org` |

A value that is none of its key's, such as a negative or infinite number, is not admitted. Null says that there is nothing of the kind, and
is admitted by `resources`, `data_access` and `communication`. A dimension of an [installed package](extending.md#a-constraint-dimension)
admits nothing before an admin has approved its version.

In a glob, `*` stands for any part of a name, `?` for one character, `[a-z]` for one of these, and `**` between slashes for any number of
folders; a pattern has at most CROSSINGS of them and at most NAMES names, a list at most 65 536 characters, and a resource at most 256
slashes. A resource with a backslash, NUL, or a `.` or `..` between slashes is not admitted, encoded or not.

A target is a URL, a host, with or without a port, or an e-mail address. Of it the host is compared, and as a whole: in lower case, as IDNA
encodes it, addresses in their usual form (`0x7f.1` is `127.0.0.1`, `::ffff:10.0.0.1` is `10.0.0.1`). What programs read differently, such
as a backslash, a percent sign before the path or a second `@`, is not admitted. One's own are `localhost`, names that end in `.internal`,
`.local` or `.lan`, private addresses (`10/8`, `172.16/12`, `192.168/16`, `127/8`, `fc00::/7`, `::1`; not link-local ones, nor those that
are translated on their way), and `internal_domains`, or where there are none, names with a label `internal` that is not their first.

A number that is used and a limit are a ratio: above 0.95 it is `boundary_pushing`; where 8 of the agent's last 10 evaluations of a
dimension were below 0.1 and above 0, it is `constraint_splitting`. `anti_gaming` says what follows.
"""
_TRUST = """
A user's trust in one domain is a circuit of the scope `user:<id>/<domain>`. A circuit that the policy gives that scope, or `user:*`,
takes its place.

| state | as a circuit | what wants the user's confirmation |
| --- | --- | --- |
| `full_autonomy` | closed | nothing |
| `reduced_autonomy` | open | every action |
| `supervised`: under test | half-open | the actions of high impact, and those that do not say their type |

A damage counts for its weight times its severity, half as much again when the user said so; whole for the first half of the window, and
then less and less until its end. When what counts reaches the threshold, trust is reduced. After the recovery period it is under test:
successes restore it, a damage takes two of them back, and damage of more than `half_open_tolerance` reduces trust again. Domains do not
influence each other. Reviews of decisions for a user count like what is told: a failure is a damage of its `damageType`, times 0.5 (`low`),
1 (`medium`), 2 (`high`) or 5 (`critical`).
"""
_NOTIFICATIONS = """
A channel is told of what happens from then on, once the policy is in force. The variables that it names must be set where the service
runs, or the policy is refused. The policy's version covers their names, and never what they hold.

| event | severity | when |
| --- | --- | --- |
| `circuit.opened` | `warning` | a circuit opened, or opened again; `info` in shadow mode, here and below |
| `circuit.forced` | `critical` | somebody forced a circuit open |
| `circuit.half_opened`, `circuit.closed` | `info` | a circuit lets probes through, or all decisions |
| `circuit.amended` | `warning` or `info` | an amended outcome opened a circuit, or closed it |
| `tripwire.hit` | `critical`, or `warning` for a standard one | an agent ran into a tripwire that has `notify` |
| `decision.pending` | `warning`; `info` for a cancel window | a decision waits for an approval, a confirmation or a cancel window |
| `posture.downgraded` | `warning`; `critical` in an emergency | an agent was lowered, or blocked |
| `enforcement.bypassed` | `critical` | an agent went on though it had not been allowed to |
| `budget.reached` | `info`, `warning`, `critical` | 80, 95 or 100 per cent of a budget are used or reserved |
| `policy.rejected` | `warning` | a new policy was refused |

A circuit with `notify: false` tells nobody, nor does a tripwire with it, neither of hits nor of its budget. Of one subject (a circuit, a
tripwire, an agent, a budget) a channel is told at most once a minute; the next message says how much was held back. What is sent, and
what a receiver should do with it, stands in [the operator's guide](operating.md#alerts).
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
    on_open: {effect: confirm, downgrade_to: human_decides}
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
    "tripwires": """\
tripwires:
  limits: {max_refund: 500, max_discount_percent: 20, daily_action_limit: 100, budget_limit: 10000}
  rules:
    - name: no_customer_export
      severity: severe
      when: action.type == "export_customers"
    - name: mails_per_user
      applies_to: {types: [send_mail]}
      quota: {count: true, per: user, window: hour, max: 20}
      message: this user has had enough mails for now
    - name: no_internal_hosts
      pattern: {fields: [action.description, action.parameters], regex: '(?i)\\b[a-z0-9-]+\\.corp\\.example\\b'}
    - name: production_write          # a built-in tripwire: only reported for a while
      mode: shadow
""",
    "agents": """\
agents:
  "*": {posture: supervised, acl_tier: 2}
  refund-bot:
    posture: assisted
    acl_tier: ACL-3
    tripwires: {max_refund: 200, max_actions_per_minute: 10}
    constraints: {cost_limit: 1000, rate_limit: 20/minute}
""",
    "quality": "quality: {min_ctq: 0.6, action: escalate}\n",
    "postures": """\
postures:
  approval_ttl_ms: 900000
  assisted_delay_ms: 10000
  guards:
    - name: security_team_approval
      when: request.to_level <= 3 || metadata.security_approved == true
      reason: security team approval is required for high autonomy
    - name: a-record-first
      when: request.to_posture != "full_autonomy" || trust.reviewed >= 100 && trust.score >= 0.9
  earned:
    - {to: assisted, min_score: 0.8, min_reviewed: 50}
    - {to: full_autonomy, min_score: 0.95, min_reviewed: 200}
  min_review_coverage: 0.8
""",
    "constraints": """\
constraints:
  anti_gaming: escalate
  internal_domains: [corp.example]
  global:
    cost_limit: 5000
    rate_limit: 100/minute
    communication: {mode: allowed_domains, allowed_domains: [api.example.org, "*.corp.example"]}
  categories:
    maintenance: {time_window: "22:00-06:00", resources: ["data/**", "logs/*.log"]}
    support: {data_access: no_pii}
""",
    "trust": """\
trust:
  domains:
    "*": {damage_threshold: 3, damage_window_hours: 24, recovery_period_hours: 24, supervised_successes_required: 5}
    code_review: {preset: strict}
    documentation: {damage_threshold: 5, severity_weights: {slow_response: 0.1}}
  severity_weights: {repetitive_error: 2.5}
  high_impact_actions: [file_write, file_delete, git_commit, git_push, external_api_call, code_execution, database_write, send_mail]
""",
    "notifications": """\
notifications:
  channels:
    - name: ops
      type: webhook
      url: https://ops.example.org/hooks/cstp
      secret_env: OPS_WEBHOOK_SECRET
      events: ["circuit.*", "tripwire.*", policy.rejected]
      min_severity: warning
    - name: chat
      type: apprise
      url_env: CHAT_URL
      events: [decision.pending, posture.downgraded, enforcement.bypassed, budget.reached]
""",
    "reviews": "reviews: {self_reported: failures_only}\n",
    "retention": "retention: {decisions_days: 365, events_days: 1100}\n",
}
"""An example of every section; each is a policy by itself."""
_TABLES: dict[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "classification": (("", ClassificationModel),),
    "circuit_breakers": (("", CircuitModel), ("`severity_weights`", SeverityWeights), ("`on_open`", OnOpen)),
    "guardrails": (("", GuardrailModel),),
    "tripwires": (
        ("", TripwiresModel),
        ("A rule", TripwireModel),
        ("`applies_to`", AppliesModel),
        ("`limit`", LimitModel),
        ("`quota`", QuotaModel),
        ("`pattern`", PatternModel),
    ),
    "agents": (("", AgentModel),),
    "quality": (("", QualityModel),),
    "postures": (("", PosturesModel), ("`guards`", GuardModel), ("`earned`", EarnedModel)),
    "constraints": (("", ConstraintsModel),),
    "trust": (("", TrustModel), ("A domain", TrustDomainModel)),
    "notifications": (("", NotificationsModel), ("A channel", ChannelModel)),
    "reviews": (("", ReviewsModel),),
    "retention": (("", RetentionModel),),
}
_NAMES: dict[type, str] = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", dict: "mapping", object: "value"}


def reference() -> str:
    """The whole reference; generated from the models, so that it says what the loader does."""
    parts = [_INTRODUCTION, *(_section(name, field) for name, field in PolicyModel.model_fields.items()), _CONDITIONS]
    return "\n".join(parts)


def _section(name: str, field: FieldInfo) -> str:
    example = f"```yaml\n{EXAMPLES[name]}```\n"
    lines = [f"## `{name}`\n", f"{_sentence(field.description)}\n", example]
    for title, model in _TABLES.get(name, ()):
        lines += [f"{title}\n"] if title else []
        lines += ["\n".join(_table(model)) + "\n"]
    more = _MORE.get(name)
    return "\n".join([*lines, more()] if more is not None else lines)


def _tripwires() -> str:
    rows = [f"| {_listed(form.names)} | {form.number.value} | {form.bounds} | {form.applies} |" for form in FORMS]
    built_in = [f"| `{name}` | {tripwire.severity.label} | {tripwire.description} |" for name, tripwire in BUILT_IN.items()]
    return "\n".join(
        [
            _SHORT_FORM,
            "| name | number | bounds | applies to |\n| --- | --- | --- | --- |",
            *rows,
            _BUILT_IN,
            "| name | severity | what trips it |\n| --- | --- | --- |",
            *built_in,
            _SECRETS.replace("KINDS", _credentials()),
        ]
    )


def _constraints() -> str:
    return (
        _CONSTRAINTS.replace("INTERNAL", _listed(sorted(INTERNAL)))
        .replace("CROSSINGS", str(MOST_CROSSINGS))
        .replace("NAMES", str(MOST_NAMES))
    )


def _credentials() -> str:
    return ", ".join(credential.kind for credential in (*CREDENTIALS, PRIVATE_KEY))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


_MORE: Mapping[str, Callable[[], str]] = {
    "guardrails": lambda: _FLAT,
    "tripwires": _tripwires,
    "postures": lambda: _POSTURES,
    "constraints": _constraints,
    "trust": lambda: _TRUST,
    "notifications": lambda: _NOTIFICATIONS,
}


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
        return "mapping" if arguments[1] is not FlatValue else "value"
    if set(arguments) == {int, float}:
        return "number"
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

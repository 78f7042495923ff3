"""`notifications` in the policy: strict, with the names of variables and never what they hold (SPEC 11 and 12)."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from cstp_server.domain.alerts import ALERTING, ChannelType, Level
from cstp_server.domain.events import EventType
from cstp_server.notifiers.channels import problems_of
from cstp_server.policy.checking import check_policy
from cstp_server.policy.problems import BadPolicy
from cstp_server.policy.schema import policy_schema
from cstp_server.policy.watching import PolicyFile
from tests.policy.writing import complaints_about, policy_of, write

SPECIFIED = """
notifications:
  channels:
    - {name: ops, type: webhook, url: "https://ops.example.org/hooks/cstp", secret_env: OPS_WEBHOOK_SECRET,
       events: ["circuit.*", "tripwire.*"], min_severity: warning}
    - {name: chat, type: apprise, url_env: CHAT_URL}
"""
OPS = "name: ops, type: webhook, secret_env: SECRET"
URL = "url: 'https://a.example.org/'"


def one(channel: str) -> str:
    """A policy of one channel."""
    return f"notifications: {{channels: [{{{channel}}}]}}"


def test_the_example_of_the_specification_means_what_it_says(tmp_path: Path) -> None:
    """Types, severity, and where each leads; what is left out has its default."""
    ops, chat = policy_of(tmp_path, SPECIFIED).alerts.channels
    assert (ops.name, ops.type, ops.url, ops.secret_env) == (
        "ops",
        ChannelType.WEBHOOK,
        "https://ops.example.org/hooks/cstp",
        "OPS_WEBHOOK_SECRET",
    )
    assert ops.least is Level.WARNING
    assert ops.types == {
        EventType.CIRCUIT_OPENED,
        EventType.CIRCUIT_FORCED,
        EventType.CIRCUIT_HALF_OPENED,
        EventType.CIRCUIT_CLOSED,
        EventType.CIRCUIT_AMENDED,
        EventType.TRIPWIRE_HIT,
    }
    assert (chat.type, chat.url, chat.url_env, chat.least, chat.types) == (
        ChannelType.APPRISE,
        None,
        "CHAT_URL",
        Level.INFO,
        frozenset(ALERTING),
    )
    assert (chat.allow_private, chat.timeout_ms, chat.tenants) == (False, 10_000, frozenset())


@pytest.mark.parametrize(
    ("channel", "complaint"),
    [
        (f"name: ops, {URL}, secret_env: A", "`notifications.channels[0]` lacks the key `type`"),
        ("type: apprise, url_env: A", "`notifications.channels[0]` lacks the key `name`"),
        (
            f"name: ops, type: webhok, {URL}, secret_env: A",
            "`notifications.channels[0].type` must be one of `webhook`, `apprise`, not `webhok`, did you mean `webhook`?",
        ),
        (OPS, "`notifications.channels[0]` must give either `url` or `url_env`"),
        (f"{OPS}, {URL}, url_env: A", "`notifications.channels[0]` must give either `url` or `url_env`"),
        (
            f"name: ops, type: webhook, {URL}",
            "`notifications.channels[0]` must give `secret_env`, the variable that holds the secret: webhooks are signed",
        ),
        (
            "name: chat, type: apprise, url_env: A, secret_env: B",
            "`notifications.channels[0]` must not give `secret_env`: only webhooks are signed",
        ),
        (
            f"{OPS}, url: 'http://a.example.org/'",
            "`notifications.channels[0].url` must begin with `https://`; `http://` takes `allow_private: true`",
        ),
        (
            f"{OPS}, url: 'ftp://a.example.org/'",
            "`notifications.channels[0].url` is no URL that a webhook can be sent to: use `https://host/path`",
        ),
        (f"{OPS}, url: 'https://'", "`notifications.channels[0].url` is no URL that a webhook can be sent to: use `https://host/path`"),
        (f"{OPS}, url: 'https://a b/'", "`notifications.channels[0].url` is no URL that a webhook can be sent to: use `https://host/path`"),
        (f"{OPS}, url: 'https://[::1'", "`notifications.channels[0].url` is no URL: use `https://host/path`"),
        (
            f"{OPS}, url: 'https://me:word@a.example.org/'",
            "`notifications.channels[0].url` must hold neither a name, nor a password, nor a fragment: the signature says who sends it",
        ),
        (
            f"{OPS}, url: 'https://169.254.169.254/'",
            "`notifications.channels[0].url`: leads to an address that is not public: that takes `allow_private: true`",
        ),
        (
            f"{OPS}, url: 'https://localhost/'",
            "`notifications.channels[0].url`: leads to an address that is not public: that takes `allow_private: true`",
        ),
        (
            "name: chat, type: apprise, url: nonsense",
            "`notifications.channels[0].url` is no URL of Apprise, such as `slack://…` or `mailto://…`",
        ),
        (
            "name: chat, type: apprise, url_env: 'https://chat.example.org/x'",
            "`notifications.channels[0].url_env` must be the name of a variable of the environment: letters, digits and `_`, no value",
        ),
        (
            f"{OPS}, {URL}, events: ['circut.*']",
            "`notifications.channels[0].events[0]`: `circut.*` names no alert, did you mean `circuit.*`?",
        ),
        (f"{OPS}, {URL}, events: []", "`notifications.channels[0].events` must hold at least 1, not a list"),
        (
            f"{OPS}, {URL}, min_severity: warn",
            "`notifications.channels[0].min_severity` must be one of `info`, `warning`, `critical`, not `warn`, did you mean `warning`?",
        ),
        (f"{OPS}, {URL}, timeout_ms: 99", "`notifications.channels[0].timeout_ms` must be at least 100, not `99`"),
        (f"{OPS}, {URL}, timeout_ms: 60001", "`notifications.channels[0].timeout_ms` must be at most 60000, not `60001`"),
        (f"{OPS}, {URL}, allow_private: yes", "`notifications.channels[0].allow_private` must be `true` or `false`, not `yes`"),
        (f"{OPS}, {URL}, secret: x", "unknown key `secret` in `notifications.channels[0]`, did you mean `secret_env`?"),
    ],
)
def test_a_channel_that_is_wrong_is_refused_with_its_key(tmp_path: Path, channel: str, complaint: str) -> None:
    """File, line, key, and what would be right."""
    assert complaints_about(tmp_path, one(channel)) == [f"policy.yaml:1: {complaint}"]


def test_a_name_is_given_once(tmp_path: Path) -> None:
    """Both places are named."""
    text = f"notifications:\n  channels:\n    - {{{OPS}, {URL}}}\n    - {{name: ops, type: apprise, url_env: A}}\n"
    assert complaints_about(tmp_path, text) == ["policy.yaml:4: the channel `ops` is given twice, first in policy.yaml:3"]


def test_what_is_private_may_be_allowed(tmp_path: Path) -> None:
    """By its own key, and then without TLS as well."""
    (ops,) = policy_of(tmp_path, one(f"{OPS}, url: 'http://127.0.0.1:8080/', allow_private: true")).alerts.channels
    assert ops.allow_private


@pytest.mark.parametrize(
    "other",
    [
        one(f"{OPS}, url: 'https://b.example.org/'"),
        one(f"{OPS}, url_env: A"),
        one(f"name: ops, type: webhook, secret_env: OTHER, {URL}"),
        one(f"{OPS}, {URL}, min_severity: warning"),
        one(f"{OPS}, {URL}, events: ['circuit.*']"),
        one(f"{OPS}, {URL}, tenants: [north]"),
        one(f"{OPS}, {URL}, timeout_ms: 500"),
        one(f"{OPS}, {URL}, allow_private: true"),
        "{}",
    ],
)
def test_the_version_covers_all_that_a_channel_says(tmp_path: Path, other: str) -> None:
    """Another word, another version."""
    assert policy_of(tmp_path, one(f"{OPS}, {URL}")).version != policy_of(tmp_path, other).version


def test_the_version_covers_neither_order_nor_defaults(tmp_path: Path) -> None:
    """The same channels, written otherwise."""
    first = f"notifications:\n  channels:\n    - {{{OPS}, {URL}}}\n    - {{name: chat, type: apprise, url_env: A}}\n"
    second = (
        "notifications:\n  channels:\n    - {name: chat, type: apprise, url_env: A, events: ['*']}\n"
        f"    - {{{OPS}, {URL}, min_severity: info}}\n"
    )
    assert policy_of(tmp_path, first).version == policy_of(tmp_path, second).version


def opened(path: Path, **variables: str) -> PolicyFile:
    """The policy as the service reads it, with these variables in its environment."""
    return PolicyFile(path, examine=lambda policy: problems_of(policy.alerts, variables.get))


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_variable_that_is_not_set_refuses_the_policy_where_it_is_named(tmp_path: Path) -> None:
    """Both of them, with their lines."""
    path = write(tmp_path, SPECIFIED)
    with pytest.raises(BadPolicy) as bad:
        opened(path)
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in bad.value.problems] == [
        "policy.yaml:4: channel `ops`: the variable `OPS_WEBHOOK_SECRET` is not set",
        "policy.yaml:6: channel `chat`: the variable `CHAT_URL` is not set",
    ]


def test_what_a_variable_holds_is_never_part_of_the_policy(tmp_path: Path) -> None:
    """Another secret is the same version, and neither stands anywhere in the policy."""
    path = write(tmp_path, one(f"{OPS}, url_env: URL"))
    first = opened(path, SECRET=SECRET, URL="https://hidden.example.org/one").current
    second = opened(path, SECRET=f"{SECRET} {SECRET}", URL="https://hidden.example.org/two").current
    assert first.version == second.version
    assert "hidden" not in repr(first)
    assert SECRET not in repr(first)


def test_a_reload_that_lacks_a_variable_keeps_the_old_policy(tmp_path: Path) -> None:
    """Like any other mistake."""
    path = write(tmp_path, "{}")
    file = opened(path)
    before = file.current
    write(tmp_path, one(f"{OPS}, {URL}"))
    (problem,) = file.reload()
    assert problem.message == "channel `ops`: the variable `SECRET` is not set"
    assert file.current is before


def test_a_look_at_the_policy_elsewhere_only_warns_of_variables(tmp_path: Path) -> None:
    """Where a policy is checked, its secrets need not be."""
    report = check_policy(write(tmp_path, SPECIFIED), {"CHAT_URL": "x"}.get)
    assert report.problems == ()
    assert [warning.message for warning in report.warnings] == [
        "channel `ops`: the variable `OPS_WEBHOOK_SECRET` is not set here: the service refuses the policy where it is not"
    ]


def test_the_schema_takes_what_the_loader_takes(tmp_path: Path) -> None:
    """And refuses a type, a severity and a key that it does not know."""
    schema = policy_schema()
    jsonschema.validate(yaml.safe_load(SPECIFIED), schema)
    for wrong in (f"name: ops, type: fax, {URL}", f"{OPS}, {URL}, min_severity: high", f"{OPS}, {URL}, secret: x"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(one(wrong)), schema)

"""Credentials in what an action says: what counts as one, what does not, and that nothing of it remains (SPEC 7).

No credential stands here in one piece: each is put together, so that this file holds none itself.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.facts import Facts
from cstp_server.policy.secrets import MOST_PLACES, SCANNER, CredentialScanner
from tests.policy.writing import facts

HEX = "0123456789abcdef"
BASE62 = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0eR"
LONG = BASE62 * 4
DIGITS = "1234567890123"
JWT = ".".join(["eyJ" + "hbGciOiJIUzI1NiJ9", "eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0", LONG[:43]])
PEM_BEGIN, PEM_END = "-----BEGIN " + "{}PRIVATE KEY-----", "-----END " + "{}PRIVATE KEY-----"


def pem(kind: str = "", line_end: str = "\n") -> str:
    """A private key in PEM."""
    return line_end.join([PEM_BEGIN.format(kind), LONG[:64], LONG[:64], "abc=", PEM_END.format(kind)])


TRUE = {
    "AWS's documented key": ("AKIA" + "IOSFODNN7EXAMPLE", "AWS access key"),
    "AWS temporary key": ("ASIA" + "Y34FZKBOKMUTVV7A", "AWS access key"),
    "AWS key, in lower case as in a category": ("akia" + "iosfodnn7example", "AWS access key"),
    "AWS secret": ("aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY", "AWS secret key"),
    "AWS secret in JSON": ('{"SecretAccessKey": "' + LONG[:40] + '"}', "AWS secret key"),
    "AWS session": ("AWS_SESSION_TOKEN=" + LONG[:120], "AWS secret key"),
    "Google API key": ("AI" + "za" + LONG[:35], "Google key"),
    "Google client secret": ("GOC" + "SPX-" + LONG[:28], "Google key"),
    "Google access token": ("ya2" + "9.a0" + LONG[:40], "Google key"),
    "Azure storage": ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + LONG[:86] + "==;", "Azure key"),
    "Azure shared access": ("https://x.blob.core.windows.net/c?sv=2020&sig=" + LONG[:43] + "%3D", "Azure key"),
    "Azure service bus": ("SharedAccessKeyName=a;SharedAccessKey=" + LONG[:43] + "=", "Azure key"),
    "Azure client secret": ("abC8" + "Q~" + LONG[:34], "Azure key"),
    **{f"GitHub {kind}": (f"gh{kind}" + "_" + LONG[:36], "GitHub token") for kind in "pousr"},
    "GitHub fine-grained": ("github" + "_pat_" + LONG[:22] + "_" + LONG[:59], "GitHub token"),
    "GitHub in a URL": ("clone https://" + "ghp" + "_" + LONG[:36] + "@github.com/a/b", "GitHub token"),
    "GitLab": ("glp" + "at-" + LONG[:20], "GitLab token"),
    "GitLab deploy": ("gld" + "t-" + LONG[:20], "GitLab token"),
    "Slack bot": ("xo" + f"xb-{DIGITS}-{DIGITS}-" + LONG[:24], "Slack token"),
    "Slack user": ("xo" + f"xp-{DIGITS}-{DIGITS}-{DIGITS}-" + LONG[:32], "Slack token"),
    "Slack app": ("xa" + "pp-1-A01-" + DIGITS + "-" + LONG[:30], "Slack token"),
    "Slack webhook": ("https://hooks.slack.com/" + "services/T00000000/B00000000/" + LONG[:24], "Slack token"),
    "Discord bot": ("M" + LONG[:25] + "." + "Gx1_2-" + "." + LONG[:38], "Discord token"),
    "Discord webhook": ("https://discord.com/api/" + f"webhooks/{DIGITS}56789/" + LONG[:68], "Discord token"),
    "Telegram": (DIGITS[:10] + ":A" + "A" + LONG[:33], "Telegram token"),
    "Stripe secret": ("sk" + "_live_" + LONG[:24], "Stripe key"),
    "Stripe restricted": ("rk" + "_live_" + LONG[:24], "Stripe key"),
    "webhook": ("wh" + "sec_" + LONG[:32], "webhook secret"),
    "OpenAI": ("s" + "k-" + LONG[:48], "language model key"),
    "OpenAI project": ("s" + "k-proj-" + LONG[:20] + "-_" + LONG[:40], "language model key"),
    "Anthropic": ("s" + "k-ant-api03-" + LONG[:90], "language model key"),
    "Hugging Face": ("h" + "f_" + LONG[:34], "language model key"),
    "npm": ("np" + "m_" + LONG[:36], "package registry token"),
    "PyPI": ("py" + "pi-AgEIcHlwaS5vcmc" + LONG[:60], "package registry token"),
    "Docker": ("dckr" + "_pat_" + LONG[:27], "package registry token"),
    "SendGrid": ("S" + "G." + LONG[:22] + "." + LONG[:43], "SendGrid key"),
    "Twilio key": ("S" + "K" + HEX * 2, "Twilio key"),
    "Twilio token": ("TWILIO_AUTH_TOKEN=" + HEX * 2, "Twilio key"),
    "DigitalOcean": ("do" + "p_v1_" + HEX * 4, "cloud platform token"),
    "Vault": ("hv" + "s." + LONG[:24], "cloud platform token"),
    "JWT": (JWT, "signed token"),
    "JWT in prose": (f"the token ({JWT}).", "signed token"),
    "PostgreSQL": ("postgres" + "://app:hunter2@db.example.com:5432/shop", "password in a connection string"),
    "PostgreSQL with a driver": ("postgresql+psycopg" + "://app:p%40ss@db/shop", "password in a connection string"),
    "MySQL": ("mysql" + "://root:root1@127.0.0.1/x", "password in a connection string"),
    "MongoDB": ("mongodb+srv" + "://u:s3cr3t@cluster0.mongodb.net/x", "password in a connection string"),
    "Redis without a user": ("redis" + "://:s3cr3t@cache:6379/0", "password in a connection string"),
    "AMQP": ("amqps" + "://u:s3cr3t@mq/vhost", "password in a connection string"),
    "FTP": ("ftp" + "://u:s3cr3t@files/x", "password in a connection string"),
    "HTTP": ("https" + "://u:s3cr3t@example.com/x?y=z", "password in a connection string"),
    **{
        f"the password {password}": ("postgres" + f"://app:{password}@db/x", "password in a connection string")
        for password in (
            *("mysecretpw", "theHunter", "Some-Pass", "yourfault", "my-dog-spot", "the-cat", "$ummertime", "{Abc123", "<Abc123", "x.x"),
            *("pa/ss", "p@ss", "p#ss", "p?ss", "Password@123", "pa/s@s", "1234", "0000", "passw0rd", "${PW:-Hunter2}", "pä/ß"),
            *("<" + "a" * 300 + ">", "<pw>Hunter2", "Hunter2xxxxxxxxxxxx", "$(Hunter2", "[redacted:x", "(Hunter2)"),
        )
    },
    "a password behind a template": ("http://host:{port}/" + "redis" + "://u:hun/ter2@cache", "password in a connection string"),
    "user with an @": ("postgres" + "://app@server:hunter2@server.example.com/db", "password in a connection string"),
    "no host": ("postgres" + "://app:hunter2@/db?host=/run/db", "password in a connection string"),
    "libpq": ("host=db user=x " + "password=Hunter2 dbname=y", "password in a connection string"),
    "libpq, at the start": ("password" + "=Hunter2 host=db", "password in a connection string"),
    "libpq, at the end": ("host=db user=x " + "password=Hunter2", "password in a connection string"),
    "libpq, quoted": ("host=db " + "password='Hunter 2; x' dbname=y", "password in a connection string"),
    "log line": ("level=info user=bob " + "pwd=Hunter2", "password in a connection string"),
    "options": ("mysql " + "--password=Hunter2 --host=db", "password in a connection string"),
    **{
        f"{kind} before twelve times {filler}": (token + filler * 12, kind)
        for filler in "x-_"
        for kind, token in {
            "GitLab token": "glp" + "at-" + LONG[:20],
            "language model key": "s" + "k-ant-api03-" + LONG[:20],
        }.items()
    },
    "GitHub token before twelve times x": ("gh" + "p_" + LONG[:36] + "x" * 12, "GitHub token"),
    "ADO": ("Server=db;Database=x;User Id=sa;" + "Password=S3cr3t!;Encrypt=true", "password in a connection string"),
    "ADO, abbreviated": ("Data Source=db;UID=sa;" + "PWD=S3cr3t!", "password in a connection string"),
    "ADO, at the start": ("Password" + "=S3cr3t!;Server=db", "password in a connection string"),
    "JDBC": ("jdbc:mysql://db/x?user=a&" + "password=s3cr3t", "password in a connection string"),
    "header": ("Authorization: " + "Bearer " + LONG[:24], "authorization header"),
    "header of curl": ('curl -H "authorization: ' + "bearer " + LONG[:24] + '"', "authorization header"),
    "basic header": ("Authorization: " + "Basic " + "dXNlcjpodW50ZXIyMTIz", "authorization header"),
    "private key": (pem(), "private key"),
    "private key, RSA": (pem("RSA "), "private key"),
    "private key, OpenSSH": (pem("OPENSSH "), "private key"),
    "private key, escaped": (pem(line_end="\\n"), "private key"),
    "private key, PGP": (pem().replace("KEY-----", "KEY BLOCK-----"), "private key"),
}
FALSE = {
    "nothing": "",
    "prose": "Refund order 1142 because the customer got the wrong size",
    "a git commit": "revert 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "a digest": "sha256:" + HEX * 4,
    "a UUID": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "a ULID": "dec_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "an order number": "A-1142-77/2026",
    "a card": "4242 4242 4242 4242",
    "an IBAN": "DE89 3704 0044 0532 0130 00",
    "a library": "pip install sk-learn scikit-learn",
    "a long word after sk-": "sk-learn-contrib-and-other-extensions",
    "a task": "task-0123456789abcdef0123456789abcdef01234567",
    "a risk": "disk-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "the word password": "password: ask your administrator for it",
    "a changed password": "the password = what you chose",
    "a URL": "https://example.com:8443/path?x=1&y=2#z",
    "an e-mail": "mailto:bob@example.com, ssh://git@github.com/a/b.git, git@github.com:a/b.git",
    "a port and an address": "http://localhost:8080/users/bob@example.com",
    "a placeholder in a URL": "postgres://user:password@host/db",
    "another placeholder in a URL": "postgres://user:<password>@host/db",
    "a variable in a URL": "postgres://user:${DB_PASSWORD}@host/db",
    "a shell variable in a URL": "postgres://user:$DB_PASSWORD@host/db",
    "a template in a URL": "postgres://{{user}}:{{password}}@host/db",
    "stars in a URL": "postgres://user:****@host/db",
    "an example in a URL": "postgres://user:your-password@host/db",
    **{
        f"the placeholder {password}": "postgres" + f"://user:{password}@host/db"
        for password in (
            *("pass", "PASSWORD", "secret", "changeme", "change-me", "$password", "x", "xxx", "XXXX", "...", "___", "•••", "%s", "(2)"),
            *(
                "%(pw)s",
                "<your-password>",
                "<>",
                "{pw}",
                "{{pw}}",
                "${{pw}}",
                "${db.password}",
                "$(pw)",
                "%PW%",
                "my-secret-pw",
                "the_password",
            ),
            *("SOME_TOKEN", "your-own-words", "YOUR_PASSWORD_HERE"),
        )
    },
    "a template as a port": "http://{host}:{port}/users/bob@example.com",
    "a query behind a port": "http://localhost:8080?user=bob@example.com",
    "a scope behind a drive": "file://C:/node_modules/@angular/core",
    "templates with spaces": "x;pwd={{ db.password }};pwd=<your password>;pwd=$(cat /run/pw);",
    "a placeholder of libpq": "host=db password=<password> dbname=y",
    "a variable of libpq": "host=db password=$PGPASSWORD dbname=y",
    "a password without neighbours": "use password=abc and nothing else",
    "an assignment of code": "user = input()\npassword = getpass()",
    "a language model key full of x": "sk-" + "ant-api03-" + "x" * 90,
    "an AWS key full of X": "AKIA" + "X" * 16,
    "a template of ADO": "Server=db;Password={password};",
    "stars in ADO": "Server=db;Pwd=********",
    "a short header": "Authorization: Bearer <token>",
    "a variable in a header": "Authorization: Bearer $TOKEN",
    "an example in a header": "Authorization: Bearer YOUR_ACCESS_TOKEN",
    "bearer in prose": "the bearer of good news; bearer authentication",
    "a token full of x": "ghp_" + "x" * 36,
    "an example of Slack": "xoxb-your-token-here",
    "a Stripe test key": "sk_test_" + LONG[:24],
    "a prefix alone": "ghp_ glpat- AKIA npm_ SG. sk-ant- eyJ",
    "a prefix too short": "AKIA1234, ghp_abc, AIzaSy",
    "a public key": "-----BEGIN PUBLIC KEY-----\n" + LONG[:64] + "\n-----END PUBLIC KEY-----",
    "a certificate": "-----BEGIN CERTIFICATE-----\n" + LONG[:64] + "\n-----END CERTIFICATE-----",
    "base64": "eyJ" + "hbGciOiJIUzI1NiJ9",
    "a file name": "Microsoft.Extensions.Logging.Abstractions",
    "a region": "asiapacificnortheast1",
    "a time and a name": "2026-01-01T10:00:00Z:AA",
    "what was redacted": "[redacted: GitHub token] Password=[redacted: password in a connection string];",
}


@pytest.mark.parametrize(("text", "kind"), TRUE.values(), ids=TRUE)
def test_a_credential_is_found_and_taken_out(text: str, kind: str) -> None:
    """By its kind alone; what stands around it stays."""
    before = facts(description=f"first, {text} , last")
    assert [found.split(" ", 1)[1] for found in SCANNER.find(before)] == [kind]
    after = SCANNER.redacted(before)
    assert f"[redacted: {kind}]" in after.description
    assert (after.description[:7], after.description[-6:]) == ("first, ", ", last")
    assert SCANNER.find(after) == ()


@pytest.mark.parametrize("text", FALSE.values(), ids=FALSE)
def test_what_is_no_credential_is_left_alone(text: str) -> None:
    """And the facts stay the very same."""
    before = facts(description=text, parameters={"value": text, text: 1}, context={"list": [text]})
    assert SCANNER.find(before) == ()
    assert SCANNER.redacted(before) is before


TOKEN = "ghp" + "_" + LONG[:36]
MARK = "[redacted: GitHub token]"
NAME = MARK.lower()
PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "description": ({"description": f"a {TOKEN}"}, {"description": f"a {MARK}"}),
    "type": ({"type": TOKEN}, {"type": NAME, "type_words": ("[redacted:", "github", "token]")}),
    "category": ({"category": TOKEN.lower()}, {"category": NAME}),
    "tags": ({"tags": ("a", TOKEN.lower(), TOKEN.lower() + "b")}, {"tags": ("a", NAME)}),
    "a parameter": ({"parameters": {"a": TOKEN, "n": 5}}, {"parameters": {"a": MARK, "n": 5}}),
    "a name": ({"parameters": {TOKEN: {"x": True}}}, {"parameters": {MARK: {"x": True}}}),
    "two names": ({"context": {TOKEN: 1, TOKEN[:-1] + "q": 2}}, {"context": {MARK: 1, f"{MARK} (2)": 2}}),
    "deep down": ({"context": {"a": [{"b": [None, TOKEN]}]}}, {"context": {"a": [{"b": [None, MARK]}]}}),
    "details": ({"details": {"reasons": [{"text": TOKEN}]}}, {"details": {"reasons": [{"text": MARK}]}}),
    "several": ({"description": f"{TOKEN},{TOKEN}", "context": {"x": TOKEN}}, {"description": f"{MARK},{MARK}", "context": {"x": MARK}}),
}


@pytest.mark.parametrize(("given", "expected"), PLACES.values(), ids=PLACES)
def test_every_place_is_looked_at(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """Names and values, at any depth; all else stays as it was, in its order."""
    before = facts(**given)
    assert SCANNER.find(before) == ("a GitHub token",)
    after = SCANNER.redacted(before)
    assert {name: getattr(after, name) for name in expected} == expected
    assert SCANNER.redacted(after) is after


JOINED = {
    "a name gives its value away": ({"aws_secret_access_key": LONG[:40]}, {"aws_secret_access_key": "[redacted: AWS secret key]"}),
    "a header as a field": (
        {"headers": {"Authorization": "Bearer " + LONG[:20]}},
        {"headers": {"Authorization": "Bearer [redacted: authorization header]"}},
    ),
    "a key as a list of lines": (
        {"key": pem().split("\n"), "next": "x"},
        {"key": ["[redacted: private key]"] * 5, "next": "x"},
    ),
    "the name alone": ({"aws_secret_access_key": "in the vault"}, {"aws_secret_access_key": "in the vault"}),
    "a cut key takes nothing else along": (
        {"key": PEM_BEGIN.format("") + LONG[:40], "next": "x"},
        {"key": "[redacted: private key]", "next": "x"},
    ),
}


@pytest.mark.parametrize(("given", "expected"), JOINED.values(), ids=JOINED)
def test_texts_that_belong_together_are_read_together(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """A name and its value, the lines of a list."""
    assert SCANNER.redacted(facts(parameters=given)).parameters == expected


def test_a_key_without_an_end_is_taken_out_as_far_as_it_may_go_on() -> None:
    """A log that was cut off still holds most of it; other fields stay."""
    cut = facts(description="see " + PEM_BEGIN.format("EC ") + "\n" + LONG[:64] + "\n" + LONG[:10], category="next")
    after = SCANNER.redacted(cut)
    assert (after.description, after.category) == ("see [redacted: private key]", "next")


def test_several_kinds_are_told_once_each() -> None:
    """In words that can follow `the action contains`."""
    found = SCANNER.find(facts(description=f"{TOKEN} {TOKEN}", context={"url": "postgres" + "://a:hunter2@db/x", "key": pem()}))
    assert found == ("a GitHub token", "a password in a connection string", "a private key")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


_PIECES = st.one_of(st.sampled_from([text for text, _ in TRUE.values()]), st.sampled_from(list(FALSE.values())), st.text(max_size=8))
_TEXT = st.lists(_PIECES, max_size=3).flatmap(lambda pieces: st.sampled_from(["", " ", "\n", "="]).map(lambda joint: joint.join(pieces)))
_SCALARS = st.one_of(_TEXT, st.none(), st.booleans(), st.integers())
_FREE = st.dictionaries(
    _TEXT,
    st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=6),
    max_size=3,
)
_FACTS = st.builds(
    Facts,
    description=_TEXT,
    agent_id=st.just("agent"),
    type=st.none() | _TEXT,
    category=st.none() | _TEXT,
    tags=st.lists(_TEXT, max_size=2).map(tuple),
    parameters=_FREE,
    context=_FREE,
    details=_FREE,
)


@given(_FACTS)
def test_nothing_is_left_to_find(before: Facts) -> None:
    """However credentials are mixed with other texts; what holds none is the very same, and the structure stays."""
    after = SCANNER.redacted(before)
    assert SCANNER.find(after) == ()
    assert SCANNER.redacted(after) is after
    if SCANNER.find(before) == ():
        assert after is before
    assert [len(value) for value in (after.parameters, after.context, after.details)] == [
        len(value) for value in (before.parameters, before.context, before.details)
    ]


@given(st.sampled_from(sorted(TRUE)), st.text(max_size=20), st.text(max_size=20))
def test_a_credential_is_found_between_other_texts(name: str, before: str, after: str) -> None:
    """Whatever stands before and behind it, at a distance of a space."""
    text, kind = TRUE[name]
    found = SCANNER.find(facts(context={"x": before, "y": f" {text} ", "z": after}))
    assert kind in [each.split(" ", 1)[1] for each in found]


@given(_TEXT)
def test_a_text_and_a_value_are_redacted_as_facts_are(text: str) -> None:
    """Notes of people hold credentials as well."""
    redacted = SCANNER.redacted(facts(description=text)).description
    assert SCANNER.redacted_text(text) == redacted
    assert SCANNER.redacted_value([text, 1, None]) == [redacted, 1, None]


def test_a_value_without_credentials_is_the_very_same() -> None:
    """So are the parts of a value that hold none."""
    kept: dict[str, Any] = {"a": [1, {"b": "c"}], "d": ("e",)}
    assert SCANNER.redacted_value(kept) is kept
    redacted = SCANNER.redacted_value({"kept": kept, "note": TOKEN})
    assert redacted == {"kept": kept, "note": MARK}
    assert redacted["kept"] is kept
    plain: list[Any] = [None, 5, "", [], {}]
    assert [SCANNER.redacted_value(value) for value in plain] == plain


@given(
    st.lists(
        st.sampled_from([TOKEN, TOKEN + "a", MARK, f"{MARK} (2)", f"{MARK} (3)", f"{TOKEN} ;password=", f"{TOKEN}a ;password="]),
        unique=True,
    )
)
def test_names_that_become_the_same_are_told_apart(names: list[str]) -> None:
    """Also from names that look like numbered ones; every value is kept, in its order."""
    redacted = SCANNER.redacted_value({name: place for place, name in enumerate(names)})
    assert list(redacted.values()) == list(range(len(names)))
    assert SCANNER.redacted_value(redacted) is redacted


@pytest.mark.parametrize("separated", [["\x1e" + TOKEN, "a\x1eb"], ["aws_secret_access_key\x1e" + LONG[:40]]])
def test_a_separator_within_a_text_moves_nothing(separated: list[str]) -> None:
    """It is a space then."""
    redacted = SCANNER.redacted_value([*separated, "last"])
    assert [len(redacted), redacted[-1]] == [len(separated) + 1, "last"]
    assert "[redacted: " in redacted[0]


def test_what_comes_together_only_when_redacted_is_looked_at_again() -> None:
    """Tags that have become the same are told once, and the name before one of them then stands before the value behind it."""
    before = facts(tags=(TOKEN, "aws_secret_access_key", TOKEN + "b", LONG[:40].lower()))
    after = SCANNER.redacted(before)
    assert SCANNER.find(after) == ()
    assert LONG[:40].lower() not in after.tags


FEW = CredentialScanner(most_places=3)


def test_as_many_places_as_may_be_are_looked_at() -> None:
    """The last of them as closely as the first."""
    said = facts(description="postgres://user:password@host " * 2 + TOKEN)
    assert FEW.find(said) == ("a GitHub token",)
    assert TOKEN not in FEW.redacted(said).description


@pytest.mark.parametrize("repeated", [f"{TOKEN} ", "password=secret;", "password=a1;", pem() + "\n"])
def test_a_text_full_of_what_looks_like_credentials_is_taken_for_one(repeated: str) -> None:
    """Nothing of the action is kept then, for nobody looked through the rest of it."""
    said = facts(description=repeated * 4, type="pay", category="c", tags=("t", "u"), parameters={"a": "b", "c": [5, "d"]})
    assert FEW.find(said) != ()
    after = FEW.redacted(said)
    mark = "[redacted: credentials]"
    assert (after.description, after.type, after.category, after.tags) == (mark, mark, mark, (mark,))
    assert after.parameters == {mark: mark, f"{mark} (2)": [5, mark]}
    assert FEW.find(after) == ()
    assert FEW.redacted(after) is after


def test_too_many_placeholders_are_told_as_what_they_are() -> None:
    """In words that can follow `the action contains`."""
    assert FEW.find(facts(description="password=secret;" * 4)) == ("more that looks like credentials than can be told apart",)


HOSTILE = {
    "beginnings of keys": (PEM_BEGIN.format("") + "!") * 20_000,
    "beginnings of URLs": "a://" * 100_000,
    "users without end": "a://b:" * 50_000,
    "tokens that never come": "eyJaaaaaaaaa." * 40_000,
    "bots that never come": ("M" + "a" * 25 + ".aaaaaa.") * 10_000,
    "passwords that never come": "password=" * 50_000,
    "names that never come": "aws_secret_access_key " * 20_000,
    "nothing but one letter": "A" * 500_000,
    "real ones": (TOKEN + " ") * 5_000,
    "placeholders": "password=secret;" * 30_000,
    "placeholders within placeholders": "pwd=<" * 100_000 + ">;",
    "passwords with slashes": "a://b:c/" * 50_000 + "@d",
    "bots that start everywhere": "M-" * 200_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_built_to_take_long_is_only_read(text: str) -> None:
    """Half a megabyte of it is done at once, and nothing that was found is left."""
    after = SCANNER.redacted(facts(description=text))
    assert SCANNER.find(after) == ()


MANY: dict[str, Callable[[int], Any]] = {
    "names that become the same": lambda count: {f"password=a{place};": place for place in range(count)},
    "names that look numbered": lambda count: {**{f"{MARK} ({place})": 0 for place in range(count)}, TOKEN: 1, TOKEN + "a": 2},
    "credentials": lambda count: [f"password=a{place};" for place in range(count)],
    "credentials in one text": lambda count: f"{TOKEN} " * count,
    "placeholders": lambda count: "password=secret;" * count,
    "placeholders within placeholders": lambda count: "pwd=<" * count + "a>;",
    "texts in a key": lambda count: [PEM_BEGIN.format(""), *["a"] * count, PEM_END.format("")],
    "keys": lambda count: [pem()] * count,
    "values beside a credential": lambda count: [TOKEN, *[[5, {"a": None}]] * count],
}


def _steps(work: Callable[[Any], object], value: object) -> int:
    """How many functions are called, Python's and C's, and how often generators go on."""
    steps = 0

    def count(_frame: FrameType, event: str, _called: object) -> None:
        nonlocal steps
        steps += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work(value)
    finally:
        sys.setprofile(before)
    return steps


def _found(value: object) -> tuple[str, ...]:
    return SCANNER.find(facts(parameters={"x": value}))


@pytest.mark.parametrize("work", [_found, SCANNER.redacted_value], ids=["find", "redact"])
@pytest.mark.parametrize("many", MANY.values(), ids=MANY)
def test_twice_as_much_takes_twice_the_work(many: Callable[[int], Any], work: Callable[[Any], object]) -> None:
    """Neither looking nor taking out ever takes more than that."""
    assert _steps(work, many(400)) <= 2.1 * _steps(work, many(200))


@pytest.mark.parametrize("work", [_found, SCANNER.redacted_text], ids=["find", "redact"])
def test_beyond_the_bound_more_places_take_no_more_work(work: Callable[[Any], object]) -> None:
    """The rest of a text that is full of them is not looked through."""
    assert _steps(work, "password=secret;" * 4 * MOST_PLACES) == _steps(work, "password=secret;" * 2 * MOST_PLACES)

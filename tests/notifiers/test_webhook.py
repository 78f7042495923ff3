"""Webhooks: signed as Standard Webhooks prescribes, sent nowhere but where they belong, whatever the receiver does (SPEC 11)."""

import asyncio
import base64
import hashlib
import hmac
import shutil
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cstp_server.clock import SystemClock
from cstp_server.domain.alerts import AlertChannel, ChannelType, Level
from cstp_server.notifiers.channel import BadChannel, Message, Undelivered
from cstp_server.notifiers.signing import keys_of, signatures
from cstp_server.notifiers.webhook import MOST_BYTES, Webhook, open_webhook
from tests.notifiers.conftest import MakeReceiver
from tests.notifiers.receiver import Answer, Receiver, endless_head, huge, redirect, reset, rubbish, status
from tests.services.world import HandClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = keys_of(SECRET)
METADATA = "169.254.169.254"


class Names:
    """A resolver that says what it is told to, and remembers what it was asked."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror("no such name")
        return self.names[host]


def message(**data: Any) -> Message:
    return Message("msg_1", Level.WARNING, "a title", "a text", {"type": "circuit.opened", "timestamp": "t", "data": data})


def webhook(url: str, names: Names | None = None, *, allow_private: bool = True, timeout_ms: int = 2_000) -> Webhook:
    more: dict[str, Any] = {} if names is None else {"resolve": names}
    return Webhook(url, KEYS, allow_private=allow_private, timeout_ms=timeout_ms, clock=SystemClock(), **more)


def send(hook: Webhook, sent: Message | None = None) -> None:
    asyncio.run(hook.send(sent if sent is not None else message()))


def refusal(hook: Webhook) -> Undelivered:
    with pytest.raises(Undelivered) as undelivered:
        send(hook)
    return undelivered.value


def verified(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a receiver that follows the specification takes the message for ours."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")


def test_the_signature_is_that_of_the_published_vector() -> None:
    """The secret, id, time and body that the libraries of Standard Webhooks are tested with give the signature that they give."""
    signature = signatures(KEYS, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_both_sign() -> None:
    """While a secret takes another's place, a receiver may know either."""
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    both = signatures(keys_of(f"{other} {SECRET}"), "msg_1", 1, b"{}").split(" ")
    assert both == [signatures(keys_of(other), "msg_1", 1, b"{}"), signatures(KEYS, "msg_1", 1, b"{}")]


@pytest.mark.parametrize("secret", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_short", "whsec_!!!!", "whsec_" + "A" * 100])
def test_what_is_no_secret_is_refused_and_not_quoted(secret: str) -> None:
    """The prefix, base64, and 24 to 64 bytes; the message says so, and holds nothing of it."""
    with pytest.raises(ValueError, match="must hold") as refused:
        keys_of(secret)
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in str(refused.value)


def test_a_message_is_signed_and_posted_as_json(receiver: Receiver) -> None:
    """The receiver can verify it, knows when it was sent, and reads type, timestamp and data."""
    send(webhook(receiver.url), message(what="something"))
    (got,) = receiver.received
    assert got.target == "/hook"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["webhook-id"] == "msg_1"
    assert verified(got.headers, got.body)
    assert not verified(got.headers, got.body + b" ")
    assert abs(int(got.headers["webhook-timestamp"]) - SystemClock().now() // 1000) < 60
    assert got.json == {"type": "circuit.opened", "timestamp": "t", "data": {"what": "something"}}


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_any_answer_of_the_two_hundreds_is_success(receiver: Receiver, code: int) -> None:
    """The message arrived."""
    receiver.answer = status(code)
    send(webhook(receiver.url))


@pytest.mark.parametrize(("code", "lasting"), [(400, False), (401, False), (404, False), (500, False), (503, False), (410, True)])
def test_any_other_is_not(receiver: Receiver, code: int, lasting: bool) -> None:
    """The reason names the status; only 410 is for good."""
    receiver.answer = status(code)
    refused = refusal(webhook(receiver.url))
    assert str(code) in refused.reason
    assert (refused.lasting, refused.retry_after_ms) == (lasting, None)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("120", 120_000),
        ("0", 0),
        ("999999999999", 3_600_000),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60_000),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_a_receiver_that_wants_to_be_left_alone_is(receiver: Receiver, value: str, wanted: int | None) -> None:
    """`Retry-After` in seconds or as a date, at most an hour; what is neither is not heeded."""
    receiver.answer = status(429, f"Retry-After: {value}")
    hook = Webhook(receiver.url, KEYS, allow_private=True, timeout_ms=2_000, clock=HandClock())
    assert refusal(hook).retry_after_ms == wanted


def test_a_redirect_is_not_followed(make_receiver: MakeReceiver) -> None:
    """Where it leads nothing arrives."""
    target, first = make_receiver(), make_receiver()
    first.answer = redirect(target.url)
    assert "redirects are not followed" in refusal(webhook(first.url)).reason
    assert (len(first.received), target.received) == (1, [])


def test_an_answer_that_is_huge_is_not_read(receiver: Receiver) -> None:
    """The head says that it arrived; the quarter of a gigabyte after it is nobody's concern."""
    receiver.answer = huge
    send(webhook(receiver.url))


@pytest.mark.parametrize("answer", [rubbish, reset, endless_head])
def test_a_connection_that_breaks_says_so_without_what_came(receiver: Receiver, answer: Answer) -> None:
    """No HTTP, cut off, or a head without end: not delivered, in a few words."""
    receiver.answer = answer
    refused = refusal(webhook(receiver.url))
    assert refused.reason.startswith("the connection broke before an answer: ")
    assert "\x00" not in refused.reason
    assert "what do you want" not in refused.reason


@pytest.mark.parametrize("way", ["hang", "drip"])
def test_a_receiver_that_takes_too_long_is_given_up(receiver: Receiver, way: str) -> None:
    """One that says nothing, and one that says a byte at a time: both end with the channel's limit."""
    receiver.answer = getattr(receiver, way)
    assert refusal(webhook(receiver.url, timeout_ms=700)).reason == "no answer within 0.7 s"


def test_nobody_there_is_told_in_the_systems_words() -> None:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reason = refusal(webhook(f"http://127.0.0.1:{port}/")).reason
    assert reason.startswith("no connection: ")


@pytest.mark.parametrize("addresses", [[METADATA], ["127.0.0.1"], ["::1", "10.0.0.1"], ["::ffff:169.254.169.254"]])
def test_a_name_that_leads_to_no_public_address_is_not_followed(receiver: Receiver, addresses: Sequence[str]) -> None:
    """What counts is where the name leads, not what it looks like: nothing is connected to."""
    names = Names(hooks_example_org=addresses)
    refused = refusal(webhook(f"http://hooks.example.org:{receiver.port}/", names, allow_private=False))
    assert "allow_private" in refused.reason
    assert receiver.received == []


def test_an_address_in_the_url_is_looked_at_like_any_other(receiver: Receiver) -> None:
    """Loopback, written as a number."""
    assert "allow_private" in refusal(webhook(receiver.url, allow_private=False)).reason
    assert receiver.received == []


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(receiver: Receiver) -> None:
    """The name is resolved once for each message, and never again behind the check's back; the receiver still reads the name."""
    names = Names(hooks_example_org=["127.0.0.1"])
    send(webhook(f"http://hooks.example.org:{receiver.port}/a?b=c", names))
    assert names.asked == ["hooks.example.org"]
    assert receiver.received[0].headers["host"] == f"hooks.example.org:{receiver.port}"
    assert receiver.received[0].target == "/a?b=c"


def test_the_next_address_is_tried_when_one_does_not_answer(receiver: Receiver) -> None:
    """A name with two addresses, of which nobody listens on the first."""
    names = Names(hooks_example_org=["127.0.0.2", "127.0.0.1"])
    send(webhook(f"http://hooks.example.org:{receiver.port}/", names))
    assert len(receiver.received) == 1


def test_an_unknown_name_is_told_as_such() -> None:
    """Not delivered, and may be known later."""
    refused = refusal(webhook("https://nowhere.example.org/", Names()))
    assert refused.reason == "no connection: the host is not known"
    assert not refused.lasting


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `hooks.example.org`, and the certificate that vouches for it."""
    assert shutil.which("openssl") is not None, "this takes the program `openssl`: install the package openssl"
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=hooks.example.org", "-addext", "subjectAltName=DNS:hooks.example.org"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        *subject,
    ]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_tls_is_for_the_name_and_not_for_the_address(
    certified: tuple[ssl.SSLContext, Path], make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver is asked for by its name, and its certificate must be for it."""
    receiver = make_receiver(tls=certified[0])
    names = Names(hooks_example_org=["127.0.0.1"], other_example_org=["127.0.0.1"])
    untrusted = webhook(f"https://hooks.example.org:{receiver.port}/", names)
    assert refusal(untrusted).reason == "no connection: the receiver's certificate is not trusted"
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[1]))
    send(webhook(f"https://hooks.example.org:{receiver.port}/", names))
    assert receiver.server_names[-1] == "hooks.example.org"
    assert refusal(webhook(f"https://other.example.org:{receiver.port}/", names)).reason.endswith("is not trusted")
    assert len(receiver.received) == 1


def test_a_body_is_bounded(receiver: Receiver) -> None:
    """Details that would make it longer are left out, and it can still be verified."""
    send(webhook(receiver.url), message(title="kept", details={"text": "x" * MOST_BYTES}, heldBack=None))
    (got,) = receiver.received
    assert got.json["data"] == {"title": "kept"}
    assert verified(got.headers, got.body)


def channel(**setup: Any) -> AlertChannel:
    return AlertChannel(**{"name": "ops", "type": ChannelType.WEBHOOK, "types": frozenset(), "secret_env": "SECRET", **setup})


@pytest.mark.parametrize(
    ("setup", "variables", "key", "said"),
    [
        ({"url_env": "URL"}, {"SECRET": SECRET}, "url_env", "the variable `URL` is not set"),
        ({"url": "https://a.example.org/"}, {}, "secret_env", "the variable `SECRET` is not set"),
        ({"url": "https://a.example.org/"}, {"SECRET": "hunter2"}, "secret_env", "begins with `whsec_`"),
        ({"url_env": "URL"}, {"URL": "http://hidden.example.org/", "SECRET": SECRET}, "url_env", "`allow_private: true`"),
        ({"url_env": "URL"}, {"URL": "hidden", "SECRET": SECRET}, "url_env", "is no URL"),
        ({"url_env": "URL"}, {"URL": "https://127.0.0.1/hidden", "SECRET": SECRET}, "url_env", "not public"),
        ({"url_env": "URL"}, {"URL": "https://me:hidden@a.example.org/", "SECRET": SECRET}, "url_env", "neither a name, nor a password"),
    ],
)
def test_a_channel_that_cannot_be_opened_says_which_variable_is_wrong_and_not_what_it_holds(
    setup: Mapping[str, Any], variables: Mapping[str, str], key: str, said: str
) -> None:
    """The key of the policy, the name of the variable, and none of its value."""
    with pytest.raises(BadChannel, match=said) as bad:
        open_webhook(channel(**setup), variables.get)
    assert bad.value.key == key
    assert "hidden" not in bad.value.reason
    assert "hunter2" not in bad.value.reason

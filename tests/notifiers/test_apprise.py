"""Whatever Apprise reaches: in its own thread, with a limit, and not on one's own network unless that is wanted (SPEC 11)."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from apprise import Apprise as Library

from cstp_server.domain.alerts import AlertChannel, ChannelType, Level
from cstp_server.notifiers.apprise import AppriseChannel, open_apprise
from cstp_server.notifiers.channel import BadChannel, Message, Undelivered
from tests.notifiers.conftest import MakeReceiver
from tests.notifiers.receiver import Answer, Receiver, redirect, reset, rubbish, status

NOTHING_SET: Mapping[str, str] = {}
MESSAGE = Message("msg_1", Level.CRITICAL, "[critical] a title", "a text\nof two lines <b>& more</b>", {})


def channel(url: str | None = None, **setup: Any) -> AlertChannel:
    return AlertChannel(
        **{
            "name": "chat",
            "type": ChannelType.APPRISE,
            "types": frozenset(),
            "url": url,
            "allow_private": True,
            "timeout_ms": 5_000,
            **setup,
        }
    )


def url_of(receiver: Receiver, scheme: str = "json") -> str:
    return f"{scheme}://127.0.0.1:{receiver.port}/chat"


def send(setup: AlertChannel) -> None:
    asyncio.run(open_apprise(setup, NOTHING_SET.get).send(MESSAGE))


def refusal(setup: AlertChannel) -> str:
    with pytest.raises(Undelivered) as undelivered:
        send(setup)
    return undelivered.value.reason


def test_title_text_and_urgency_arrive(receiver: Receiver) -> None:
    """As they were, lines and signs and all."""
    send(channel(url_of(receiver)))
    (got,) = receiver.received
    assert (got.json["title"], got.json["message"], got.json["type"]) == (MESSAGE.title, MESSAGE.text, "failure")


def test_a_service_that_reads_markup_is_not_given_any(receiver: Receiver) -> None:
    """What agents wrote is text, and stays text where the receiver would take it for HTML."""
    send(channel(url_of(receiver) + "?format=html"))
    assert "&lt;b&gt;" in receiver.received[0].json["message"]


@pytest.mark.parametrize("answer", [status(500), status(404), rubbish, reset])
def test_what_goes_wrong_is_told_in_few_words(receiver: Receiver, answer: Answer) -> None:
    """Not delivered, and no URL in the reason."""
    receiver.answer = answer
    reason = refusal(channel(url_of(receiver)))
    assert reason == "Apprise could not send it: its own lines in the log say why"


def test_a_redirect_is_not_followed(make_receiver: MakeReceiver) -> None:
    """Where it leads nothing arrives."""
    target, first = make_receiver(), make_receiver()
    first.answer = redirect(target.url)
    refusal(channel(url_of(first)))
    assert target.received == []


def test_a_service_that_hangs_is_left_behind_and_not_piled_up(receiver: Receiver) -> None:
    """Each attempt ends with the channel's limit; when three hang, no more are begun, and when they are done, it goes on."""
    receiver.answer = receiver.hang

    async def attempts() -> list[str]:
        opened = open_apprise(channel(url_of(receiver), timeout_ms=300), NOTHING_SET.get)
        reasons = []
        for _ in range(4):
            try:
                await opened.send(MESSAGE)
            except Undelivered as undelivered:
                reasons.append(undelivered.reason)
        return reasons

    started = time.monotonic()
    assert asyncio.run(attempts()) == ["no answer within 0.3 s"] * 3 + ["earlier messages still hang in Apprise"]
    assert time.monotonic() - started < 10
    assert len(receiver.received) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_machine_of_ones_own_takes_a_word(receiver: Receiver, host: str) -> None:
    """Without `allow_private` nothing is sent there, by number or by name."""
    assert "allow_private" in refusal(channel(f"json://{host}:{receiver.port}/", allow_private=False))
    assert receiver.received == []


class Asked:
    """A resolver for which every name is a machine of one's own."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.names.append(host)
        return ["10.0.0.1"]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("json://intranet/x", "intranet"),
        ("gotify://push.example.org/token1234567890a", "push.example.org"),
        ("mailtos://me:word@example.org?smtp=mail.example.org&to=x@example.org", "mail.example.org"),
    ],
)
def test_the_machine_that_is_looked_at_is_the_one_that_is_sent_to(url: str, host: str) -> None:
    """Also where the name has no dot, and where mail goes by another machine than its domain's."""
    asked = Asked()
    library = Library(url)
    with pytest.raises(Undelivered, match="allow_private"):
        asyncio.run(AppriseChannel("chat", library, allow_private=False, timeout_ms=1_000, resolve=asked).send(MESSAGE))
    assert asked.names == [host]


def test_a_part_of_an_account_is_no_machine() -> None:
    """What stands in a URL where others have a host: an account of a service that everybody uses."""
    for url in ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "tgram://123456789:abcdefg_hijklmnop/12315544/"):
        asked = Asked()
        channel = AppriseChannel("chat", Library(url), allow_private=False, timeout_ms=1_000, resolve=asked)
        with contextlib.suppress(Undelivered):  # nobody reaches the outside from here
            asyncio.run(channel.send(MESSAGE))
        assert asked.names == []


@pytest.mark.parametrize(
    ("setup", "variables", "key", "said"),
    [
        ({"url_env": "URL"}, {}, "url_env", "the variable `URL` is not set"),
        ({"url_env": "URL"}, {"URL": "hidden"}, "url_env", "is no URL of Apprise"),
        ({"url_env": "URL"}, {"URL": "nosuchservice://hidden"}, "url_env", "is none that Apprise understands"),
        ({"url_env": "URL"}, {"URL": "slack://hidden"}, "url_env", "is none that Apprise understands"),
        ({"url": "nosuchservice://x"}, {}, "url", "is none that Apprise understands"),
    ],
)
def test_a_url_that_apprise_does_not_understand_is_refused_and_not_quoted(
    setup: Mapping[str, Any], variables: Mapping[str, str], key: str, said: str
) -> None:
    """The variable is named, its value is not."""
    with pytest.raises(BadChannel, match=said) as bad:
        open_apprise(channel(**setup), variables.get)
    assert bad.value.key == key
    assert "hidden" not in bad.value.reason

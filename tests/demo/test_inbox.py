"""The demo's receiver of alerts: what a receiver of webhooks has to see to."""

import json
from collections.abc import Iterator

import httpx
import pytest

from cstp_server.clock import SystemClock
from cstp_server.notifiers.signing import keys_of, signatures
from demo.inbox import Inbox

_OPENED = {"type": "circuit.opened", "data": {"severity": "warning", "title": "Circuit `global` opened", "heldBack": None}}
_BODY = json.dumps(_OPENED).encode()


class Mail:
    """An open inbox, and what it told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.inbox = Inbox(self.told.append)

    def send(self, *, id: str = "msg_1", age: int = 0, secret: str | None = None) -> int:
        """Send a message that was signed so many seconds ago; the HTTP status that it is answered with."""
        variables = self.inbox.variables
        timestamp = SystemClock().now() // 1000 - age
        signed = signatures(keys_of(secret if secret is not None else variables["DEMO_ALERTS_SECRET"]), id, timestamp, _BODY)
        headers = {"Webhook-Id": id, "Webhook-Timestamp": str(timestamp), "Webhook-Signature": signed}
        return httpx.post(variables["DEMO_ALERTS_URL"], content=_BODY, headers=headers, trust_env=False).status_code


@pytest.fixture
def mail() -> Iterator[Mail]:
    mail = Mail()
    with mail.inbox.open():
        yield mail


def test_an_alert_is_told_in_a_line(mail: Mail) -> None:
    """What the service signed is told, and confirmed."""
    assert mail.send() == 204
    assert mail.told == ["alert, warning: Circuit `global` opened"]


def test_an_alert_that_comes_twice_is_told_once(mail: Mail) -> None:
    """At least once is what a sender promises; the id says which message it is."""
    assert [mail.send(), mail.send(), mail.send(id="msg_2")] == [204, 204, 204]
    assert len(mail.told) == 2


def test_what_is_not_signed_or_was_signed_long_ago_is_refused(mail: Mail) -> None:
    """Another secret, or a message of an hour ago that somebody sends again, is told to nobody."""
    assert mail.send(secret="whsec_" + "A" * 32) == 401
    assert mail.send(age=3_600) == 401
    assert httpx.post(mail.inbox.variables["DEMO_ALERTS_URL"], content=_BODY, trust_env=False).status_code == 401
    assert mail.told == []

"""What the dashboard tells of alerts: those that did not arrive at once, those that were sent only where one looks for them."""

from pathlib import Path

from tests.conftest import StartServer
from tests.notifiers.receiver import Receiver, status, wait_for
from tests.server import RunningServer
from tests.web.plain import Plain

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def alerting(start_server: StartServer, tmp_path: Path, receiver: Receiver) -> RunningServer:
    """A service that tells the receiver of everything."""
    path = tmp_path / "alerting.yaml"
    webhook = f"name: pager, type: webhook, url: '{receiver.url}', secret_env: HOOK_SECRET, allow_private: true"
    path.write_text(f"notifications: {{channels: [{{{webhook}}}]}}\ncircuit_breakers: [{{scope: 'category:*', failure_threshold: 1}}]\n")
    return start_server(database_url=f"sqlite:///{tmp_path / 'alerting.db'}", config=path, env={"HOOK_SECRET": SECRET})


def events(visitor: Plain) -> str:
    """What became of alerts."""
    return visitor.get("/events?kind=notification").text


def test_alerts_that_did_not_arrive_are_the_first_thing_on_the_overview(start_server: StartServer, tmp_path: Path) -> None:
    """With their channel, their number, why, and what to do; until they were sent after all."""
    with Receiver(status(410)) as receiver:
        server = alerting(start_server, tmp_path, receiver)
        token = server.token("olivia", "ops")
        server.call("cstp.tripCircuit", {"scope": "category:a", "reason": "incident"}, token=token)
        with Plain(server.url) as visitor:
            visitor.sign_in(token)
            wait_for(lambda: "Alert given up" in events(visitor), "the alert is given up")
            page = visitor.get("/").text
            assert "1 alert did not arrive on channel" in page
            assert page.index("Alerts did not arrive") < page.index("Circuits open")
            assert "the receiver answered 410" in page
            receiver.answer = status(204)
            server.cli("notifications", "retry", "--all")
            wait_for(lambda: "Alert sent" in events(visitor), "the alert is sent")
            assert "did not arrive" not in visitor.get("/").text


def test_a_channel_that_the_policy_has_no_more_is_not_told_of(start_server: StartServer, tmp_path: Path) -> None:
    """Nothing would send these alerts after all: the notice ends with the channel."""
    with Receiver(status(410)) as receiver:
        server = alerting(start_server, tmp_path, receiver)
        token = server.token("olivia", "ops")
        server.call("cstp.tripCircuit", {"scope": "category:a", "reason": "incident"}, token=token)
        with Plain(server.url) as visitor:
            visitor.sign_in(token)
            wait_for(lambda: "did not arrive on channel" in visitor.get("/").text, "the alert is given up")
            (tmp_path / "alerting.yaml").write_text("circuit_breakers: [{scope: 'category:*', failure_threshold: 1}]\n")
            server.call("cstp.reloadPolicy", token=server.token("nora", "admin"))
            assert "did not arrive" not in visitor.get("/").text


def test_alerts_that_were_sent_do_not_drown_what_happened(start_server: StartServer, tmp_path: Path) -> None:
    """They have their place among the events; the overview tells what they told of."""
    with Receiver() as receiver:
        server = alerting(start_server, tmp_path, receiver)
        token = server.token("olivia", "ops")
        for number in range(15):
            server.call("cstp.tripCircuit", {"scope": f"category:c{number}", "reason": "incident"}, token=token)
        with Plain(server.url) as visitor:
            visitor.sign_in(token)
            wait_for(lambda: events(visitor).count("Alert sent") == 15, "all alerts are sent")
            page = visitor.get("/").text
            assert "Alert sent" not in page
            assert page.count("Circuit forced open") >= 11  # of twelve lines; what the service notes of its start may be one of them

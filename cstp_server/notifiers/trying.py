"""A message that says that a channel works: `cstp notifications test`."""

import asyncio

from cstp_server.clock import SystemClock, new_id
from cstp_server.domain.alerts import AlertPolicy
from cstp_server.notifiers.channel import BadChannel
from cstp_server.notifiers.channels import open_channel
from cstp_server.notifiers.templates import Templates
from cstp_server.policy.compiled import Policy
from cstp_server.policy.fields import nearest
from cstp_server.policy.notification_compiling import Variables


def send_test(policy: Policy, name: str, variables: Variables, public_url: str | None) -> None:
    """Send a test message on a channel of the policy, past the outbox. Raises `BadChannel` and `Undelivered`."""
    setup = policy.alerts.named(name)
    if setup is None:
        raise BadChannel("name", f"the policy has no channel of this name{_known(policy.alerts, name)}")
    channel = open_channel(setup, variables)
    message = Templates(policy.time_zone, public_url).test(name, new_id("msg"), SystemClock().now())
    asyncio.run(channel.send(message))


def _known(alerts: AlertPolicy, name: str) -> str:
    names = [channel.name for channel in alerts.channels]
    if not names:
        return ", nor any other: add it under `notifications.channels`"
    return nearest(name, names) or f"; it has {', '.join(f'`{known}`' for known in names)}"

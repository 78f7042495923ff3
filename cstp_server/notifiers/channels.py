"""The kinds of channels."""

from collections.abc import Callable, Iterator, Mapping

from cstp_server.domain.alerts import AlertChannel, AlertPolicy, ChannelType
from cstp_server.notifiers.apprise import open_apprise
from cstp_server.notifiers.channel import BadChannel, Channel
from cstp_server.notifiers.webhook import open_webhook
from cstp_server.policy.fields import Path
from cstp_server.policy.notification_compiling import Variables

Open = Callable[[AlertChannel, Variables], Channel]
"""Makes a channel; connects to nothing yet. Raises `BadChannel`."""

CHANNELS: Mapping[ChannelType, Open] = {
    ChannelType.WEBHOOK: open_webhook,
    ChannelType.APPRISE: open_apprise,
}


def open_channel(channel: AlertChannel, variables: Variables) -> Channel:
    """The channel that the policy describes. Raises `BadChannel`."""
    return CHANNELS[channel.type](channel, variables)


def problems_of(alerts: AlertPolicy, variables: Variables) -> Iterator[tuple[Path, str]]:
    """What keeps channels of a policy from being opened, each with its place in the policy; no message holds a value of a variable."""
    for index, channel in enumerate(alerts.channels):
        try:
            open_channel(channel, variables)
        except BadChannel as bad:
            yield ("notifications", "channels", index, bad.key), f"channel `{channel.name}`: {bad.reason}"

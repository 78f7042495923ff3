"""From the channels as they are written to those that alerts are sent on, and what has to be known of them besides the policy."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cstp_server.domain.alerts import AlertChannel, AlertPolicy, ChannelType, Level, types_like
from cstp_server.domain.events import EventType
from cstp_server.policy.fields import Path
from cstp_server.policy.notification_models import ChannelModel, NotificationsModel

Variables = Callable[[str], str | None]
"""The value of a variable of the environment by its name; none where it is not set or empty."""


def compile_alerts(model: NotificationsModel) -> AlertPolicy:
    """Who is told of what."""
    return AlertPolicy(tuple(map(_channel, model.channels)))


def alerts_document(alerts: AlertPolicy) -> list[dict[str, Any]]:
    """The channels in a canonical form, whatever their order: names of variables, and never what they hold."""
    return sorted((_document(channel) for channel in alerts.channels), key=lambda document: str(document["name"]))


def unset_variables(alerts: AlertPolicy, variables: Variables) -> Iterator[tuple[Path, str]]:
    """The variables that channels need and that are not set, each with its place in the policy."""
    for index, channel in enumerate(alerts.channels):
        for key in ("url_env", "secret_env"):
            name: str | None = getattr(channel, key)
            if name is not None and variables(name) is None:
                place = ("notifications", "channels", index, key)
                yield place, f"channel `{channel.name}`: the variable `{name}` is not set"


def _channel(model: ChannelModel) -> AlertChannel:
    return AlertChannel(
        name=model.name,
        type=ChannelType(model.type),
        types=frozenset[EventType]().union(*map(types_like, model.events)),
        least=Level[model.min_severity.upper()],
        url=model.url,
        url_env=model.url_env,
        secret_env=model.secret_env,
        tenants=frozenset(model.tenants or ()),
        allow_private=model.allow_private,
        timeout_ms=model.timeout_ms,
    )


def _document(channel: AlertChannel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "type": channel.type.value,
        "types": _sorted(kind.value for kind in channel.types),
        "least": channel.least.label,
        "url": channel.url,
        "url_env": channel.url_env,
        "secret_env": channel.secret_env,
        "tenants": _sorted(channel.tenants),
        "allow_private": channel.allow_private,
        "timeout_ms": channel.timeout_ms,
    }


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names)

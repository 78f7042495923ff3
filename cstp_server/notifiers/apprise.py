"""Everything that Apprise can reach: chats, mail, pagers (SPEC 11).

Apprise blocks, so it runs in threads that nobody waits for longer than the channel's limit. One that hangs is left behind; while as many
hang as may, nothing more is tried.
"""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cstp_server.domain.alerts import AlertChannel, Level
from cstp_server.notifiers.addresses import Resolve, is_public, resolve
from cstp_server.notifiers.apart import apart
from cstp_server.notifiers.channel import BadChannel, Message, Undelivered
from cstp_server.policy.notification_compiling import Variables
from cstp_server.policy.notification_models import UnfitUrl, apprise_url

if TYPE_CHECKING:
    from apprise import Apprise as Library

_MOST_HANGING = 3
_KINDS = {Level.INFO: "info", Level.WARNING: "warning", Level.CRITICAL: "failure"}
_loading = threading.Lock()


class AppriseChannel:
    """One URL of Apprise (`notifiers.channel.Channel`)."""

    def __init__(self, name: str, library: "Library", *, allow_private: bool, timeout_ms: int, resolve: Resolve = resolve) -> None:
        self._name = name
        self._library = library
        self._allow_private = allow_private
        self._seconds = timeout_ms / 1000
        self._resolve = resolve
        self._hanging = 0

    async def send(self, message: Message) -> None:
        """Hand the message to the service. Raises `Undelivered`."""
        if self._hanging >= _MOST_HANGING:
            raise Undelivered("earlier messages still hang in Apprise")
        try:
            async with asyncio.timeout(self._seconds):
                await self._check_hosts()
                accepted = await self._notify(message)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._seconds:g} s") from None
        except Undelivered:
            raise
        except Exception as error:  # noqa: BLE001 - what a service's code raises says nothing to people, and may hold its URL
            raise Undelivered(f"Apprise failed: {type(error).__name__}") from None
        if not accepted:
            raise Undelivered("Apprise could not send it: its own lines in the log say why")

    async def _notify(self, message: Message) -> bool:
        self._hanging += 1
        loop = asyncio.get_running_loop()

        def notify() -> bool:
            try:
                return bool(
                    self._library.notify(body=message.text, title=message.title, notify_type=_KINDS[message.level], body_format="text")
                )
            finally:
                with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody counts
                    loop.call_soon_threadsafe(self._ended)

        return await apart(notify, f"apprise {self._name}")

    def _ended(self) -> None:
        self._hanging -= 1

    async def _check_hosts(self) -> None:
        """Refuse a service on a machine whose address is not public. Apprise resolves the name anew.

        So this keeps mistakes out, and not a name whose address changes in between.
        """
        if self._allow_private:
            return
        for host in self._hosts():
            addresses: Sequence[str] = ()
            with suppress(OSError):  # a domain of mail need not be a machine; and what is not known is not reached
                addresses = await self._resolve(host, 0)
            if not all(map(is_public, addresses)):
                raise Undelivered("the host leads to an address that is not public: that takes `allow_private: true`")

    def _hosts(self) -> Sequence[str]:
        """The machines that its URL names: that of many services is no machine, but a part of an account's name."""
        machines = [service for service in self._library if _is_a_machines(service)]
        found = [getattr(service, "smtp_host", None) or getattr(service, "host", None) for service in machines]
        return [host for host in found if isinstance(host, str) and host]


def _is_a_machines(service: Any) -> bool:
    """Whether the form of a service's URL has a host in it."""
    return any("{host}" in form for form in service.templates)


def open_apprise(channel: AlertChannel, variables: Variables) -> AppriseChannel:
    """The channel for a URL of Apprise. Raises `BadChannel`. Takes seconds the first time: Apprise loads all its services."""
    key, text = ("url", channel.url) if channel.url is not None else ("url_env", variables(channel.url_env or ""))
    where = f"the URL in the variable `{channel.url_env}` " if channel.url is None else ""
    if text is None:
        raise BadChannel("url_env", f"the variable `{channel.url_env}` is not set")
    try:
        apprise_url(text)
    except UnfitUrl as unfit:
        raise BadChannel(key, f"{where}{unfit}") from None
    library = _library(text)
    if library is None:
        raise BadChannel(key, f"{where}is none that Apprise understands")
    return AppriseChannel(channel.name, library, allow_private=channel.allow_private, timeout_ms=channel.timeout_ms)


def _library(url: str) -> "Library | None":
    """Apprise with one service; none when it knows no such service. It neither follows redirects nor has threads of its own."""
    # Apprise is large, and only those who have such a channel need it
    from apprise import Apprise as Library  # noqa: PLC0415
    from apprise import AppriseAsset  # noqa: PLC0415

    with _loading:
        asset = AppriseAsset(app_id="cstp", app_desc="cstp", app_url="", async_mode=False, http_redirects=False, service_timeout=0)
        library = Library(asset=asset)
        return library if library.add(url) and len(library) == 1 else None

"""What a channel is: something that takes a message to people, or says why it could not."""

from collections.abc import Mapping
from typing import Any, Protocol

from cstp_server.domain.alerts import Level
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told: a line, a text, and the same for machines. `id` is the same as long as the same message is sent again."""

    id: str
    level: Level
    title: str
    text: str
    payload: Mapping[str, Any]


class Undelivered(Exception):
    """The message did not arrive. The reason is for operators: it holds neither URLs nor secrets, nor what the receiver has answered.

    `retry_after_ms` is how long the receiver wants to be left alone, `lasting` says that it will never take this message.
    """

    def __init__(self, reason: str, *, retry_after_ms: int | None = None, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_ms = retry_after_ms
        self.lasting = lasting


class BadChannel(Exception):
    """A channel that cannot be opened as it is set up. `key` is the key of the policy that is wrong; the message holds no value."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


class Channel(Protocol):
    """One way to people."""

    async def send(self, message: Message) -> None:
        """Take the message to its receiver, in bounded time. Raises `Undelivered`."""
        ...

"""Webhooks, signed as Standard Webhooks prescribes (SPEC 11).

A redirect is not followed, no more of an answer is read than its head, and no proxy is asked: what is sent goes to the address that was
looked at, and to nobody else.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpcore
import httpx
import orjson

from cstp_server import __version__
from cstp_server.clock import Clock, SystemClock
from cstp_server.domain.alerts import AlertChannel
from cstp_server.notifiers.addresses import GuardedBackend, NotPublic, Resolve, resolve
from cstp_server.notifiers.channel import BadChannel, Message, Undelivered
from cstp_server.notifiers.signing import keys_of, signatures
from cstp_server.policy.notification_compiling import Variables
from cstp_server.policy.notification_models import UnfitUrl, webhook_url

MOST_BYTES = 65_536
"""The longest body; a longer one goes without the details."""
_LONGEST_RETRY_MS = 3_600_000
_LEAVE_ALONE = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Webhook:
    """One webhook (`notifiers.channel.Channel`)."""

    def __init__(
        self, url: str, keys: Sequence[bytes], *, allow_private: bool, timeout_ms: int, clock: Clock, resolve: Resolve = resolve
    ) -> None:
        self._url = url
        self._keys = keys
        self._seconds = timeout_ms / 1000
        self._clock = clock
        self._backend = GuardedBackend(allow_private=allow_private, resolve=resolve)
        self._ssl: ssl.SSLContext | None = None

    async def send(self, message: Message) -> None:
        """Post the message. Raises `Undelivered`."""
        body = body_of(message)
        try:
            async with asyncio.timeout(self._seconds):
                status, retry_after = await self._post(message.id, body)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._seconds:g} s") from None
        except NotPublic:
            raise Undelivered("the host leads to no public address: that takes `allow_private: true`") from None
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise Undelivered(f"no connection: {_cause(error)}") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            raise Undelivered(f"the connection broke before an answer: {type(error).__name__}") from None
        self._judge(status, retry_after)

    async def _post(self, id: str, body: bytes) -> tuple[int, bytes | None]:
        """The status of the answer, and how long the receiver wants to be left alone."""
        timestamp = self._clock.now() // 1000
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
            (b"User-Agent", f"cstp-server/{__version__}".encode()),
            (b"Connection", b"close"),
            (b"webhook-id", id.encode()),
            (b"webhook-timestamp", str(timestamp).encode()),
            (b"webhook-signature", signatures(self._keys, id, timestamp, body).encode()),
        ]
        if self._ssl is None and self._url.startswith("https:"):
            self._ssl = await asyncio.to_thread(httpx.create_ssl_context)
        url = httpx.URL(self._url)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers.insert(0, (b"Host", url.netloc))
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._ssl, max_connections=1, network_backend=self._backend) as pool,
            pool.stream("POST", target, headers=headers, content=body, extensions={"timeout": {"connect": self._seconds / 2}}) as answer,
        ):
            return answer.status, next((value for name, value in answer.headers if name.lower() == b"retry-after"), None)

    def _judge(self, status: int, retry_after: bytes | None) -> None:
        """Success is an answer of the two hundreds and nothing else."""
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if status == HTTPStatus.GONE:
            raise Undelivered("the receiver answered 410: it is gone for good", lasting=True)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise Undelivered(f"the receiver answered {status}: redirects are not followed")
        wanted = self._retry_after_ms(retry_after) if status in _LEAVE_ALONE and retry_after is not None else None
        raise Undelivered(f"the receiver answered {status}", retry_after_ms=wanted)

    def _retry_after_ms(self, value: bytes) -> int | None:
        """How long the receiver wants to be left alone, as seconds or as a date; at most an hour."""
        text = value.decode("latin-1").strip()
        wanted: int | None = None
        if text.isascii() and text.isdigit():
            wanted = int(text[:9]) * 1000
        else:
            with suppress(ValueError, TypeError, IndexError, OverflowError):
                wanted = int(parsedate_to_datetime(text).timestamp() * 1000) - self._clock.now()
        return min(max(wanted, 0), _LONGEST_RETRY_MS) if wanted is not None else None


def body_of(message: Message) -> bytes:
    """The message as it is signed and sent."""
    body = orjson.dumps(message.payload)
    if len(body) <= MOST_BYTES:
        return body
    data = {name: value for name, value in message.payload["data"].items() if name not in {"details", "heldBack"}}
    return orjson.dumps({**message.payload, "data": data})


def open_webhook(channel: AlertChannel, variables: Variables) -> Webhook:
    """The webhook that a channel describes. Raises `BadChannel`."""
    key, text = ("url", channel.url) if channel.url is not None else ("url_env", variables(channel.url_env or ""))
    if text is None:
        raise BadChannel("url_env", f"the variable `{channel.url_env}` is not set")
    try:
        webhook_url(text, allow_private=channel.allow_private)
    except UnfitUrl as unfit:
        raise BadChannel(key, str(unfit) if channel.url_env is None else f"the URL in the variable `{channel.url_env}` {unfit}") from None
    secrets = variables(channel.secret_env or "")
    if secrets is None:
        raise BadChannel("secret_env", f"the variable `{channel.secret_env}` is not set")
    try:
        keys = keys_of(secrets)
    except ValueError as error:
        raise BadChannel("secret_env", f"the variable `{channel.secret_env}` {error}") from None
    return Webhook(text, keys, allow_private=channel.allow_private, timeout_ms=channel.timeout_ms, clock=SystemClock())


def _cause(error: Exception) -> str:
    """What the system says of it, which names addresses and no URL."""
    cause = error.__cause__ or error.__context__ or error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "the receiver's certificate is not trusted"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(error).lower() if str(error) and len(str(error)) < 100 else type(cause).__name__

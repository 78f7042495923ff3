"""Tokens in the store, known by their digest alone; creating and revoking one takes effect at once, in every process."""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sqlalchemy import Connection, insert, select, update

from cstp_server.clock import Clock
from cstp_server.domain.callers import CLI_ACTOR, Caller, Role, effective_roles
from cstp_server.domain.events import Event, EventType
from cstp_server.services.tokens import TokenInfo
from cstp_server.storage import tables
from cstp_server.storage.engine import generation_of
from cstp_server.storage.journal import Journal

TOKENS_VERSION = "tokens"
"""The name of the counter that every change of tokens counts up."""
_FRESH_SECONDS = 0.02
_MOST_CACHED = 10_000
_MOST_CHANGES = 1 << 40


class Threads(Protocol):
    """Carries out a read in a thread of its own, on a connection."""

    async def read(self, work: Any, /, *args: Any) -> Any:
        """What `work(connection, *args)` returns."""
        ...


class Tokens:
    """Who holds which token (`services.ports.Authenticator`).

    Known tokens are kept in memory together with the version of the tokens table under which they were read. A call that changes
    something is checked against the version in its own transaction; any other one against a version at most 20 ms old.
    """

    def __init__(self, threads: Threads, clock: Clock) -> None:
        self._threads = threads
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, int | None]] = {}
        self._version = -1
        self._checked_at = float("-inf")
        self._checking: asyncio.Task[None] | None = None
        self._any = False

    async def caller_of(self, digest: bytes) -> Caller | None:
        """Who holds the token of that digest; none when it is unknown, revoked or expired."""
        if self._clock.monotonic() - self._checked_at >= _FRESH_SECONDS:
            await self._refresh()
        known = self._known.get(digest)
        if known is None:
            version = self._version
            found = await self._threads.read(_find, digest)
            if found is None:
                return None
            known = (replace(found[0], token_version=version), found[1])
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            self._known[digest] = known
        caller, expires_at = known
        return caller if expires_at is None or self._clock.now() < expires_at else None

    async def any_tokens(self) -> bool:
        """Whether any token was ever configured: to have revoked all of them does not open the door."""
        if self._clock.monotonic() - self._checked_at >= _FRESH_SECONDS:
            await self._refresh()
        return self._any

    def is_valid_at(self, caller: Caller, version: int, connection: Connection) -> bool:
        """Whether the caller's token still stands, as of this transaction. Called in the transactor's thread."""
        if caller.token_digest is None or caller.token_version == version:
            return True
        return _find(connection, caller.token_digest) is not None

    def follow(self, versions: Mapping[str, int], at: float) -> None:
        """Take note of the versions that somebody has just read, `at` by the monotonic clock. May be called from any thread."""
        if versions[TOKENS_VERSION] == self._version:
            self._checked_at = at

    async def _refresh(self) -> None:
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        await asyncio.shield(self._checking)

    async def _check(self) -> None:
        started = self._clock.monotonic()
        version = await self._threads.read(tokens_version)
        if version != self._version:
            self._known.clear()
            # once closed, the door stays closed, even if another file takes the store's place
            self._any = self._any or await self._threads.read(any_tokens)
            self._version = version
        self._checked_at = started


def tokens_version(connection: Connection) -> int:
    """The counter that every change of tokens counts up."""
    version: int = connection.execute(select(tables.versions.c.value).where(tables.versions.c.name == TOKENS_VERSION)).scalar_one()
    return stamped(version, connection)


def stamped(version: int, connection: Connection) -> int:
    """The version of the tokens, unlike any of another file that was in this one's place before."""
    return generation_of(connection) * _MOST_CHANGES + version


def any_tokens(connection: Connection) -> bool:
    """Whether any token was ever created."""
    return connection.execute(select(tables.tokens.c.id).limit(1)).first() is not None


def create_token(connection: Connection, info: TokenInfo, digest: bytes, journal: Journal) -> bool:
    """Store a token under its digest; false when a token of that name is in use."""
    table = tables.tokens
    in_use = select(table.c.id).where(table.c.name == info.name, table.c.revoked_at.is_(None))
    if connection.execute(in_use).first() is not None:
        return False
    row = {
        "name": info.name,
        "digest": digest,
        "roles": " ".join(sorted(role.value for role in info.roles)),
        "tenant": info.tenant,
        "agent_id": info.agent_id,
        "created_at": info.created_at,
        "expires_at": info.expires_at,
    }
    connection.execute(insert(table).values(row))
    _note(connection, journal, EventType.TOKEN_CREATED, info.name, info.tenant, info.created_at)
    return True


def revoke_token(connection: Connection, name: str, now: int, journal: Journal) -> bool:
    """Revoke the token of that name; false when none is in use."""
    table = tables.tokens
    in_use = (table.c.name == name, table.c.revoked_at.is_(None))
    tenant = connection.execute(select(table.c.tenant).where(*in_use)).scalar_one_or_none()
    if tenant is None:
        return False
    connection.execute(update(table).where(*in_use).values(revoked_at=now))
    _note(connection, journal, EventType.TOKEN_REVOKED, name, tenant, now)
    return True


def list_tokens(connection: Connection) -> Sequence[TokenInfo]:
    """All tokens, revoked ones too, by name."""
    table = tables.tokens
    return [_info(row) for row in connection.execute(select(table).order_by(table.c.name, table.c.id))]


def _note(connection: Connection, journal: Journal, event_type: EventType, name: str, tenant: str, now: int) -> None:
    journal.write_at_once(connection, [Event(event_type, tenant, name, CLI_ACTOR, now, "")], now)
    connection.execute(update(tables.versions).where(tables.versions.c.name == TOKENS_VERSION).values(value=tables.versions.c.value + 1))


def _find(connection: Connection, digest: bytes) -> tuple[Caller, int | None] | None:
    table = tables.tokens
    row = connection.execute(select(table).where(table.c.digest == digest, table.c.revoked_at.is_(None))).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    roles = effective_roles(frozenset(Role(role) for role in row.roles.split()))
    return Caller(row.name, roles, row.tenant, row.agent_id, token_digest=digest), row.expires_at


def _info(row: Any) -> TokenInfo:
    return TokenInfo(
        name=row.name,
        roles=tuple(Role(role) for role in row.roles.split()),
        tenant=row.tenant,
        agent_id=row.agent_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )

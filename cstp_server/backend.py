"""What the command line does on the server's own machine (`cli.backend.Backend`)."""

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cstp_server import logs, serving
from cstp_server.cli.backend import BackendError
from cstp_server.clock import SystemClock
from cstp_server.domain.callers import Role
from cstp_server.policy.problems import BadPolicy
from cstp_server.policy.watching import PolicyFile
from cstp_server.services.tokens import TokenInfo, digest_of, mint
from cstp_server.settings import Settings, overridden, problems_of
from cstp_server.storage import migrating, tokens
from cstp_server.storage.engine import UnsupportedDatabase, database_url, passing_engine
from cstp_server.storage.trouble import advice_for

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class ServerBackend:
    """The server and its database, as the settings name them."""

    def serve(self, *, config: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
        """Run the service until it is told to end."""
        settings = _settings(config=config, host=host, port=port, workers=workers)
        logs.configure(settings.log_format, settings.log_level)
        url = _url(settings)
        if url.get_backend_name() == "sqlite":
            _in_database(url, lambda: migrating.upgrade(url))
        elif _in_database(url, lambda: migrating.current(url)) != migrating.head():
            raise BackendError("the database's schema is not the newest: run `cstp db upgrade` first")
        self._require_token(settings, url)
        self._require_policy(settings)
        serving.serve(settings)

    def upgrade(self) -> str:
        """Bring the database to the newest schema; the revision reached."""
        url = _url(_settings())
        return _in_database(url, lambda: migrating.upgrade(url))

    def current(self) -> tuple[str | None, str]:
        """The revision of the database (none: no schema yet) and the newest one."""
        url = _url(_settings())
        return _in_database(url, lambda: migrating.current(url)), migrating.head()

    def create_token(self, *, name: str, roles: tuple[Role, ...], tenant: str, agent_id: str | None, expires_in_ms: int | None) -> str:
        """Make a token and keep its digest; the token itself is seen here only."""
        settings = _settings()
        token, now = mint(), SystemClock().now()
        expires_at = now + expires_in_ms if expires_in_ms is not None else None
        info = TokenInfo(name, roles, tenant, agent_id, now, expires_at, None)
        digest = digest_of(token, settings.key)
        if not self._with_schema(settings, lambda connection: tokens.create_token(connection, info, digest)):
            raise BackendError(f"a token `{name}` is in use: revoke it first, or take another name")
        return token

    def list_tokens(self) -> Sequence[TokenInfo]:
        """Every token, revoked and expired ones included."""
        return self._with_schema(_settings(), tokens.list_tokens)

    def revoke_token(self, name: str) -> bool:
        """Revoke the token of that name; false when there is none."""
        return self._with_schema(_settings(), lambda connection: tokens.revoke_token(connection, name, SystemClock().now()))

    def _require_token(self, settings: Settings, url: URL) -> None:
        """Without a token every caller from this machine has every role: then nobody else may reach the port."""
        if _in_database(url, lambda: _on(url, tokens.any_tokens)):
            return
        if not _is_loopback(settings.host):
            raise BackendError(
                f"no token is configured, so the service does not listen on `{settings.host}`: "
                "create one with `cstp tokens create NAME --role ops`, or listen on `127.0.0.1`"
            )
        _log.warning("no_token_configured", consequence="every caller from this machine has every role; listening on loopback only")

    def _require_policy(self, settings: Settings) -> None:
        try:
            policy = PolicyFile(settings.config, optional="config" not in settings.model_fields_set)
        except BadPolicy as bad:
            raise BackendError("\n".join(str(problem) for problem in bad.problems)) from bad
        if not settings.config.exists():
            _log.warning("no_policy", path=str(settings.config), consequence="only the built-in tripwires are in force")
        _log.info("policy_loaded", version=policy.current.version)

    def _with_schema(self, settings: Settings, work: Callable[[Connection], T]) -> T:
        url = _url(settings)
        if url.get_backend_name() == "sqlite":
            _in_database(url, lambda: migrating.upgrade(url))
        return _in_database(url, lambda: _on(url, work))


def _settings(**given: object) -> Settings:
    try:
        return overridden(given)
    except ValidationError as error:
        raise BackendError("\n".join(problems_of(error))) from None  # the error holds what was given, and that may be a secret


def _url(settings: Settings) -> URL:
    try:
        return database_url(settings.database_url)
    except UnsupportedDatabase as error:
        raise BackendError(str(error)) from error


def _on(url: URL, work: Callable[[Connection], T]) -> T:
    with passing_engine(url).connect() as connection, connection.begin():
        return work(connection)


def _in_database(url: URL, work: Callable[[], T]) -> T:
    try:
        return work()
    except (SQLAlchemyError, OSError) as error:
        _log.debug("database_error", exc_info=error)
        raise BackendError(advice_for(error, url)) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

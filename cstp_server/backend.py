"""What the command line does on the server's own machine (`cli.backend.Backend`)."""

import importlib
import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cstp_server import logs
from cstp_server.cli.backend import AuditProgress, BackendError
from cstp_server.clock import SystemClock
from cstp_server.domain.anchors import Anchor, AuditKeys
from cstp_server.domain.callers import Role
from cstp_server.notifiers.channel import BadChannel, Undelivered
from cstp_server.notifiers.channels import problems_of as channel_problems
from cstp_server.notifiers.trying import send_test
from cstp_server.policy.compiled import Policy
from cstp_server.policy.fields import Path as Steps
from cstp_server.policy.loading import load_policy
from cstp_server.policy.problems import BadPolicy
from cstp_server.policy.watching import PolicyFile
from cstp_server.services import audit_files, auditing
from cstp_server.services.audit_files import NoExport
from cstp_server.services.audit_reports import AuditReport
from cstp_server.services.notifying import Letter
from cstp_server.services.tokens import TokenInfo, digest_of, mint
from cstp_server.settings import Settings, overridden, problems_of, variable
from cstp_server.storage import anchors, migrating, outbox, tokens
from cstp_server.storage.auditing import StoredRecord, reading_record
from cstp_server.storage.engine import UnsupportedDatabase, database_url, passing_engine
from cstp_server.storage.journal import Journal
from cstp_server.storage.trouble import advice_for

T = TypeVar("T")
_BETWEEN_PAGES_SECONDS = 0.05
"""In which the service writes, where a command has much to write."""
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
        _in_database(url, lambda: _on(url, lambda connection: _require_key(connection, _keys(settings))))
        self._require_policy(settings)
        self._require_telemetry(settings)
        from cstp_server import serving  # noqa: PLC0415 - to import the server takes longer than all that the other commands do

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
        if not self._changing(settings, lambda connection, journal: tokens.create_token(connection, info, digest, journal)):
            raise BackendError(f"a token `{name}` is in use: revoke it first, or take another name")
        return token

    def list_notifications(self, *, dead: bool, limit: int) -> Sequence[Letter]:
        """Alerts that wait to be sent and those that were given up, or with `dead` only the latter."""
        return self._with_schema(_settings(), lambda connection: outbox.letters(connection, dead=dead, limit=limit))

    def retry_notifications(self, id: str | None) -> int:
        """Have an alert sent soon, or with none all that were given up; how many."""
        settings, clock, number = _settings(), SystemClock(), 0
        after: outbox.Key | None = None
        while True:
            page = self._changing(settings, partial(outbox.retry, id=id, clock=clock, after=after))
            number += len(page)
            if len(page) < outbox.RETRIED_AT_ONCE:
                return number
            after = page[-1]
            time.sleep(_BETWEEN_PAGES_SECONDS)

    def test_notification(self, channel: str, *, config: Path | None) -> None:
        """Send a message on a channel of the policy, here and now."""
        settings = _settings(config=config)
        try:
            send_test(load_policy(settings.config), channel, variable, settings.public_url)
        except BadPolicy as bad:
            raise _bad_policy(bad) from bad
        except (BadChannel, Undelivered) as error:
            raise BackendError(f"channel `{channel}`: {error.reason}") from None

    def list_tokens(self) -> Sequence[TokenInfo]:
        """Every token, revoked and expired ones included."""
        return self._with_schema(_settings(), tokens.list_tokens)

    def revoke_token(self, name: str) -> bool:
        """Revoke the token of that name; false when there is none."""
        now = SystemClock().now()
        return self._changing(_settings(), lambda connection, journal: tokens.revoke_token(connection, name, now, journal))

    def verify_audit(self, *, since: int | None, kept: Path | None, progress: AuditProgress) -> AuditReport:
        """Look through the record of events, from `since` (ms since the epoch) on, and hold it against anchors that were kept in a file."""
        settings = _settings()
        keys, elsewhere = _keys(settings), _kept_in(kept) if kept is not None else []

        def look(record: StoredRecord) -> AuditReport:
            progress.begin(record.count() if since is None else None)
            report = auditing.verify(record, keys, progress.advance, since=since)
            auditing.compare_with_kept(record, elsewhere, keys, report)
            return report

        return self._in_record(settings, look)

    def verify_audit_file(self, file: Path, progress: AuditProgress) -> AuditReport:
        """Look through an exported record."""
        keys = _keys(_settings())
        progress.begin(None)
        try:
            with file.open("rb") as lines:
                return audit_files.verify_file(lines, keys, progress.advance)
        except NoExport as error:
            raise BackendError(f"`{file}`: {error}") from error
        except OSError as error:
            raise BackendError(_unreadable(file, error)) from error

    def export_audit(self, *, since: int | None, write: Callable[[bytes], object], progress: AuditProgress) -> AuditReport:
        """Write the record of events with its proofs as JSON lines; how many events that are, and what keeps it from being proven."""
        settings = _settings()
        keys, now = _keys(settings), SystemClock().now()

        def take(record: StoredRecord) -> AuditReport:
            progress.begin(record.count() if since is None else None)
            return audit_files.export(record, keys, write, progress.advance, since=since, at=now)

        return self._in_record(settings, take)

    def newest_anchor(self) -> Anchor | None:
        """The newest anchor of the record of events."""
        return self._in_record(_settings(), lambda record: record.newest_anchor())

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
            policy = PolicyFile(settings.config, optional="config" not in settings.model_fields_set, examine=_examine)
        except BadPolicy as bad:
            raise _bad_policy(bad) from bad
        if not settings.config.exists():
            _log.warning("no_policy", path=str(settings.config), consequence="only the built-in tripwires are in force")
        _log.info("policy_loaded", version=policy.current.version)

    def _changing(self, settings: Settings, work: Callable[[Connection, Journal], T]) -> T:
        """What a command writes is on record like everything else, under the same key."""
        keys = _keys(settings)

        def change(connection: Connection) -> T:
            _require_key(connection, keys)
            return work(connection, Journal(keys))

        return self._with_schema(settings, change)

    def _in_record(self, settings: Settings, work: Callable[[StoredRecord], T]) -> T:
        url = _url(settings)
        if _in_database(url, lambda: migrating.current(url)) != migrating.head():
            raise BackendError("the database's schema is not the newest: run `cstp db upgrade` first")

        def look() -> T:
            with reading_record(url) as record:
                return work(record)

        return _in_database(url, look)

    def _require_telemetry(self, settings: Settings) -> None:
        if settings.otel_endpoint is None:
            return
        try:
            importlib.import_module("cstp_server.telemetry")
        except ModuleNotFoundError as missing:
            if not (missing.name or "").startswith("opentelemetry"):
                raise
            raise BackendError(
                "`CSTP_OTEL_ENDPOINT` takes the extra `otel`: `pip install 'cstp-server[otel]'`, or leave it unset"
            ) from None

    def _with_schema(self, settings: Settings, work: Callable[[Connection], T]) -> T:
        url = _url(settings)
        if url.get_backend_name() == "sqlite":
            _in_database(url, lambda: migrating.upgrade(url))
        return _in_database(url, lambda: _on(url, work))


def _examine(policy: Policy) -> Iterable[tuple[Steps, str]]:
    return channel_problems(policy.alerts, variable)


def _bad_policy(bad: BadPolicy) -> BackendError:
    return BackendError("\n".join(str(problem) for problem in bad.problems))


def _settings(**given: object) -> Settings:
    try:
        return overridden(given)
    except ValidationError as error:
        raise BackendError("\n".join(problems_of(error))) from None  # the error holds what was given, and that may be a secret


def _keys(settings: Settings) -> AuditKeys:
    try:
        return AuditKeys(settings.audit_keys)
    except ValueError as error:
        raise BackendError(str(error)) from error


def _require_key(connection: Connection, keys: AuditKeys) -> None:
    """What has been signed so far must go on being signed: an unsigned line would look like somebody else's."""
    last = anchors.last_line(connection)
    if last is not None and last.key_id is not None and not keys:
        raise BackendError("the record of events is signed: set `CSTP_AUDIT_KEY` or `CSTP_AUDIT_KEY_FILE`, as for the service")


def _kept_in(file: Path) -> Sequence[Anchor]:
    try:
        with file.open("rb") as lines:
            return audit_files.anchors_in(lines)
    except NoExport as error:
        raise BackendError(f"`{file}`: {error}") from error
    except OSError as error:
        raise BackendError(_unreadable(file, error)) from error


def _unreadable(file: Path, error: OSError) -> str:
    return f"`{file}` cannot be read: {(error.strerror or 'the system refuses').lower()}"


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

"""Every setting of the process, from its environment; nothing else reads it."""

import difflib
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "CSTP_"
LONGEST_KEY = 64
SHORTEST_AUDIT_KEY = 32
_LONGEST_QUOTE = 100
_READ_ELSEWHERE = frozenset({"CSTP_URL", "CSTP_TOKEN"})


class Settings(BaseSettings):
    """The settings of a server process; each is an environment variable `CSTP_…` of the same name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", validate_by_name=True, frozen=True)

    database_url: str = Field(
        default="sqlite:///./data/cstp.db",
        validation_alias=AliasChoices("DATABASE_URL", "CSTP_DATABASE_URL"),
        description="The store: a SQLite file (`sqlite:///./data/cstp.db`) or PostgreSQL (`postgresql://user@host/name`).",
    )
    config: Path = Field(default=Path("config/"), description="The policy: a YAML file or a folder of them.")
    host: str = Field(default="127.0.0.1", description="The address to listen on; anything but loopback takes at least one token.")
    port: int = Field(default=8787, ge=0, le=65_535, description="The port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Server processes that share the port and the store.")
    max_body_bytes: int = Field(default=1_048_576, ge=1024, description="The longest request body; a longer one gets HTTP 413.")
    max_nesting: int = Field(default=32, ge=8, le=500, description="The most levels of objects and arrays within one call.")
    max_string_bytes: int = Field(default=65_536, ge=256, description="The longest string or name within a call, in bytes of UTF-8.")
    max_tags: int = Field(default=100, ge=0, description="The most tags of one action.")
    max_batch: int = Field(default=100, ge=1, description="The most calls of one batch.")
    queue_limit: int = Field(default=10_000, ge=1, description="The most calls that wait for the store; more are answered -32013.")
    deadline_ms: int = Field(default=5_000, ge=1, description="How long a call may wait for the store before it is answered -32013.")
    batch_limit: int = Field(default=256, ge=1, description="The most calls that share one transaction.")
    rate_limit_per_second: float = Field(
        default=10_000, ge=0, description="Calls a second that one token may make, in each server process; 0 sets no limit."
    )
    rate_limit_burst: int = Field(default=1_000, ge=1, description="Calls that one token may make at once before the rate counts.")
    token_key: SecretStr | None = Field(
        default=None, description="A secret of at most 64 bytes that keys the digests of tokens; changing it invalidates every token."
    )
    audit_key: SecretStr | None = Field(
        default=None, description="A secret of at least 32 bytes that seals the record of events; every process needs the same one."
    )
    audit_key_file: Path | None = Field(
        default=None, description="A file that holds that secret in its first line, and former ones, which are still known, in the others."
    )
    audit_anchor_interval_ms: int = Field(
        default=10_000, ge=100, le=1_800_000, description="How long events may be on record before the seal covers them."
    )
    public_url: str | None = Field(
        default=None, description="Where people reach the service, such as `https://cstp.example.org`: alerts link to it."
    )
    log_format: Literal["console", "json"] = Field(default="console", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least severe log lines to write.")
    sweep_interval_ms: int = Field(
        default=500, ge=10, description="How often circuits whose cooldown has ended and probes that nobody reviewed are looked for."
    )
    request_timeout_ms: int = Field(
        default=10_000, ge=1, description="How long a request may take to arrive; a slower one gets HTTP 408. Answering it is not counted."
    )
    max_connections: int = Field(
        default=4_096, ge=1, description="The most connections of one server process, idle ones included; one more gets HTTP 503."
    )
    allow_unreviewed_dimensions: bool = Field(
        default=False, description="Whether constraint dimensions of installed packages can be used without an approval; for tests."
    )
    otel_endpoint: str | None = Field(
        default=None,
        description="Where traces are sent to by OTLP over HTTP, such as `http://127.0.0.1:4318`; takes the extra `otel`.",
    )
    otel_service_name: str = Field(
        default="cstp-server",
        validation_alias=AliasChoices("CSTP_OTEL_SERVICE_NAME", "OTEL_SERVICE_NAME"),
        description="What the service is called in traces; `OTEL_SERVICE_NAME` says it too.",
    )
    otel_sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="The share of the traces beginning here that is recorded; others as their callers have it."
    )
    session_idle_ms: int = Field(
        default=1_800_000, ge=1_000, description="How long a session of the dashboard lasts that nobody uses; a page that is open uses it."
    )
    session_max_ms: int = Field(
        default=43_200_000, ge=1_000, description="How long a session of the dashboard lasts at most; then one has to sign in again."
    )
    allowed_hosts: str = Field(
        default="",
        description="The names, separated by commas, under which `/mcp` may be called besides `localhost`: those in its callers' URLs.",
    )
    shutdown_timeout_ms: int = Field(default=10_000, ge=0, description="How long calls in flight may take to finish after SIGTERM.")

    @field_validator("token_key")
    @classmethod
    def _fits_the_digest(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) > LONGEST_KEY:
            raise ValueError(f"must be at most {LONGEST_KEY} bytes long")
        return key

    @field_validator("otel_endpoint")
    @classmethod
    def _leads_to_a_collector(cls, url: str | None) -> str | None:
        if not url:
            return None
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("must be a URL such as `http://127.0.0.1:4318`")
        return url

    @field_validator("public_url")
    @classmethod
    def _leads_somewhere(cls, url: str | None) -> str | None:
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError("must be a URL such as `https://cstp.example.org`")
        return url

    @model_validator(mode="after")
    def _has_one_audit_key(self) -> "Settings":
        if self.audit_key is not None and self.audit_key_file is not None:
            raise ValueError("`CSTP_AUDIT_KEY` and `CSTP_AUDIT_KEY_FILE` say the same: give one of them")
        if self.audit_key is not None and len(self.audit_key.get_secret_value().encode()) < SHORTEST_AUDIT_KEY:
            raise ValueError(f"`CSTP_AUDIT_KEY` must be at least {SHORTEST_AUDIT_KEY} bytes long, such as `openssl rand -hex 32` makes")
        if self.audit_key_file is not None:
            keys_in(self.audit_key_file)
        return self

    @property
    def audit_keys(self) -> tuple[bytes, ...]:
        """The keys of the record of events, the one in use first; none when none is set. Raises `ValueError` for a file without keys."""
        if self.audit_key_file is not None:
            return keys_in(self.audit_key_file)
        return (self.audit_key.get_secret_value().encode(),) if self.audit_key is not None else ()

    @property
    def host_names(self) -> frozenset[str]:
        """The names of this service besides `localhost`, in lower case."""
        return frozenset(name for part in self.allowed_hosts.split(",") if (name := part.strip().lower()))

    @property
    def key(self) -> bytes:
        """The key of the tokens' digests; empty when none is set."""
        return self.token_key.get_secret_value().encode() if self.token_key is not None else b""


def keys_in(file: Path) -> tuple[bytes, ...]:
    """The keys in the lines of a file. Raises `ValueError`, which quotes none of them."""
    try:
        lines = [line.strip() for line in file.read_bytes().splitlines()]
    except OSError as error:
        reason = (error.strerror or "the system refuses").lower()
        raise ValueError(f"`CSTP_AUDIT_KEY_FILE`: `{file}` cannot be read: {reason}") from None
    keys = tuple(line for line in lines if line)
    if not keys:
        raise ValueError(f"`CSTP_AUDIT_KEY_FILE`: `{file}` holds no key")
    if min(len(key) for key in keys) < SHORTEST_AUDIT_KEY:
        raise ValueError(f"`CSTP_AUDIT_KEY_FILE`: every line of `{file}` must be at least {SHORTEST_AUDIT_KEY} bytes long")
    return keys


class SettingInfo(NamedTuple):
    """One setting, for documentation."""

    name: str
    default: str
    description: str


def describe() -> Iterator[SettingInfo]:
    """Every setting, as the environment names it."""
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        yield SettingInfo(_variable(name), default, field.description or "")


def problems_of(error: ValidationError) -> list[str]:
    """What is wrong with each setting, by the name of its variable; a secret is not quoted."""
    return [_problem(problem) for problem in error.errors(include_url=False)]


def variable(name: str) -> str | None:
    """The value of a variable that the policy names, for what must not stand in a file; none where it is not set, or empty."""
    return os.environ.get(name) or None


def unknown_variables(environment: Mapping[str, str] | None = None, named: Container[str] = ()) -> list[str]:
    """A warning for each variable `CSTP_…` that is no setting, with the nearest one that is; the policy's `named` ones are known too."""
    names = {PREFIX + name.upper() for name in Settings.model_fields}
    warnings = []
    for variable in sorted(os.environ if environment is None else environment):
        if variable.startswith(PREFIX) and variable not in names and variable not in _READ_ELSEWHERE and variable not in named:
            nearest = difflib.get_close_matches(variable, names, n=1)
            hint = f": did you mean `{nearest[0]}`?" if nearest else ""
            warnings.append(f"`{variable}` is no setting{hint}")
    return warnings


def metrics_folder() -> Path | None:
    """Where several server processes keep the metrics that they share; none when one process has them to itself."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def publish_metrics_folder(folder: Path) -> None:
    """Name that folder to the server processes that this one starts."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def overridden(given: Mapping[str, object]) -> Settings:
    """The settings with what was given on the command line, which the server processes that this one starts will see as well.

    Raises `pydantic.ValidationError`.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = Settings(**chosen)  # type: ignore[arg-type]
    os.environ.update({PREFIX + name.upper(): str(value) for name, value in chosen.items()})
    return settings


_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
}


def _problem(problem: ErrorDetails) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        return f"`{_variable(name)}` {message}" if name else message
    expected = _EXPECTED.get(problem["type"], "something else").format(**problem.get("ctx", {})).replace("'", "`")
    return f"`{_variable(name)}` must be {expected}, not `{str(problem['input'])[:_LONGEST_QUOTE]}`"


def _variable(name: str) -> str:
    """The variable of a setting, whose name may be that of the variable already."""
    field = Settings.model_fields.get(name)
    if field is None:
        return name
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + name.upper()

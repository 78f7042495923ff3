"""`notifications` in the policy: the channels on which people are told of what happens (SPEC 11 and 12)."""

import ipaddress
import re
from typing import Annotated, Literal, TypeAlias, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, model_validator

from cstp_server.domain.alerts import ALERTING, EVERYTHING, types_like
from cstp_server.policy.fields import Distinct, FieldErrors, Id, Section, Text, nearest, one_of

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
ChannelLabel: TypeAlias = Literal["webhook", "apprise"]
LevelLabel: TypeAlias = Literal["info", "warning", "critical"]
_LONGEST_URL = 2000


def _pattern(text: str) -> str:
    if not types_like(text):
        families = {f"{kind.value.partition('.')[0]}.*" for kind in ALERTING}
        known = sorted({EVERYTHING, *families, *(kind.value for kind in ALERTING)})
        raise ValueError(f"`{text}` names no alert{nearest(text, known) or f': use one of {_listed(known)}'}")
    return text


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of a variable of the environment: letters, digits and `_`, no value")
    return name


class UnfitUrl(ValueError):
    """A URL that a channel cannot use; the message never holds the URL."""


def webhook_url(text: str, *, allow_private: bool) -> SplitResult:
    """The parts of a webhook's URL. Raises `UnfitUrl`."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise UnfitUrl("is no URL: use `https://host/path`") from None
    if url.scheme == "http" and not allow_private:
        raise UnfitUrl("must begin with `https://`; `http://` takes `allow_private: true`")
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0 or not text.isascii() or not text.isprintable() or " " in text:
        raise UnfitUrl("is no URL that a webhook can be sent to: use `https://host/path`")
    if url.username is not None or url.password is not None or url.fragment:
        raise UnfitUrl("must hold neither a name, nor a password, nor a fragment: the signature says who sends it")
    if not allow_private and _is_private(url.hostname):
        raise UnfitUrl("leads to an address that is not public: that takes `allow_private: true`")
    return url


def _is_private(host: str) -> bool:
    """Whether the address that is written in a URL is not public; what a name leads to is looked at when it is sent to."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def apprise_url(text: str) -> str:
    """A URL in the form that Apprise understands, as far as that can be seen from outside. Raises `UnfitUrl`."""
    if len(text) > _LONGEST_URL or not _SCHEME.fullmatch(text):
        raise UnfitUrl("is no URL of Apprise, such as `slack://…` or `mailto://…`")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
Variable = Annotated[str, AfterValidator(_variable)]
ChannelName = Annotated[ChannelLabel, one_of(get_args(ChannelLabel))]
LevelName = Annotated[LevelLabel, one_of(get_args(LevelLabel))]


class ChannelModel(Section):
    """One way to people."""

    name: Id = Field(description="what it is called in `cstp notifications`, in the log and in the metrics")
    type: ChannelName = Field(
        description="`webhook`: signed as Standard Webhooks prescribes; `apprise`: what Apprise knows, mail and chats among it"
    )
    url: Text | None = Field(None, description="where it leads; a URL that is a secret itself belongs into `url_env`")
    url_env: Variable | None = Field(None, description="the variable of the environment that holds the URL; either this or `url`")
    secret_env: Variable | None = Field(
        None, description="the variable that holds the secret that webhooks are signed with, `whsec_` and base64; each webhook has one"
    )
    events: Annotated[list[Pattern], Distinct] = Field(
        [EVERYTHING], min_length=1, description="the alerts that it is told of: types, families such as `circuit.*`, or `*`"
    )
    min_severity: LevelName = Field("info", description="the least urgent that it is told of: `info`, `warning` or `critical`")
    tenants: Annotated[list[Text], Distinct] | None = Field(
        None, min_length=1, description="the tenants whose alerts it is told of; default all"
    )
    allow_private: bool = Field(
        default=False, description="whether it may lead to addresses that are not public (this machine, your network), and use `http://`"
    )
    timeout_ms: int = Field(10_000, ge=100, le=60_000, description="how long one attempt may take, in ms")

    @model_validator(mode="after")
    def _leads_somewhere(self) -> "ChannelModel":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("must give either `url` or `url_env`")
        if self.type == "webhook" and self.secret_env is None:
            raise ValueError("must give `secret_env`, the variable that holds the secret: webhooks are signed")
        if self.type == "apprise" and self.secret_env is not None:
            raise ValueError("must not give `secret_env`: only webhooks are signed")
        if self.url is not None:
            self._check_url(self.url)
        return self

    def _check_url(self, url: str) -> None:
        try:
            if self.type == "webhook":
                webhook_url(url, allow_private=self.allow_private)
            else:
                apprise_url(url)
        except UnfitUrl as unfit:
            raise FieldErrors({"url": str(unfit)}) from None


class NotificationsModel(Section):
    """The channels on which people are told of what happens."""

    channels: list[ChannelModel] = Field(default_factory=list, description="the ways to people; each has a name of its own")

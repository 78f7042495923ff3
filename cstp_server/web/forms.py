"""What people send: plain forms, small and in UTF-8."""

from collections.abc import Mapping
from dataclasses import field
from urllib.parse import parse_qsl

from starlette.requests import Request

from cstp_server.domain.values import dataclass

_LONGEST = 65_536
_MOST_FIELDS = 32
_TYPE = "application/x-www-form-urlencoded"


class BadForm(Exception):
    """A body that is no form of ours; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, by name: what people write and choose. What it is about stands in the address that it goes to."""

    fields: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A field without what stands around it; empty when it is missing."""
        return self.fields.get(name, "").strip()


async def read_form(request: Request) -> Form:
    """The form that a request carries. Raises `BadForm`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _TYPE:
        raise BadForm(415, f"a form must come as `{_TYPE}`")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            raise BadForm(413, f"a form must be at most {_LONGEST} bytes long")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise BadForm(400, "the form is not in UTF-8, or has too many fields") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise BadForm(400, "the form must not contain NUL")
    return Form({name: value.replace("\r\n", "\n") for name, value in pairs})

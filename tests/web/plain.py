"""The dashboard without a browser: a client that keeps cookies and sends forms as a browser would."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import httpx

from cstp_server.web.links import link

_ABOUT = ("id", "scope", "user", "domain")
_FIELD = re.compile(r'name="form_token" value="([0-9a-f]+)"')


class Stream:
    """The stream of what changes, line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self.kind = response.headers.get("content-type", "")
        self.status = response.status_code
        self._lines = response.iter_lines()

    def until(self, start: str) -> list[str]:
        """The next lines up to one that begins so."""
        found = []
        for line in self._lines:
            found.append(line)
            if line.startswith(start):
                return found
        raise AssertionError(f"the stream ended: {found}")

    def rest(self) -> list[str]:
        """All lines up to its end."""
        return list(self._lines)


class Plain:
    """Somebody who speaks HTTP to the dashboard."""

    def __init__(self, url: str, **options: object) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False, follow_redirects=False, **options)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()

    def sign_in(self, token: str, **headers: str) -> httpx.Response:
        """Send the form."""
        return self.send("/sign-in", {"token": token}, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        return self.client.get(path, headers=headers)

    @contextmanager
    def watch(self, **headers: str) -> Iterator[Stream]:
        """The stream of what changes, from its first message on."""
        with self.client.stream("GET", "/live", headers=headers) as response:
            yield Stream(response)

    def form_token(self) -> str:
        """What a form of this session carries."""
        found = _FIELD.search(self.get("/circuits").text)
        assert found is not None
        return found[1]

    def send(self, path: str, fields: dict[str, str], *, headers: dict[str, str] | None = None) -> httpx.Response:
        """A form, from a page of the dashboard unless the headers say otherwise."""
        return self.client.post(path, data=fields, headers={"Origin": self.url} | (headers or {}))

    def act(self, path: str, **fields: str) -> httpx.Response:
        """A form of this session: what it is about stands in its address, as on the pages."""
        about = {name: fields.pop(name) for name in _ABOUT if name in fields}
        return self.send(link(path, **about), {"form_token": self.form_token(), **fields})

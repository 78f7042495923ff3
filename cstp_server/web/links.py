"""Addresses within the dashboard. Ids stand in the query, where nothing in them can be taken for a part of the path."""

from urllib.parse import urlencode, urlsplit


def link(path: str, **parameters: object) -> str:
    """An address with those of the parameters that have a value."""
    given = {name: str(value) for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def own_path(address: str | None) -> str:
    """The address if it is one of this dashboard, else its first page: nobody is sent elsewhere by what a link carries."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")) or any(sign in address for sign in "\\\r\n\t"):
        return "/"
    parts = urlsplit(address)
    return address if not parts.scheme and not parts.netloc else "/"

"""Constraints that are modes, or mappings with a mode."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

_MOST = 1000
_LONGEST = 1024


def mode_of(value: object, modes: Sequence[str], key: str | None = None) -> str:
    """The mode, one of those that there are; `key` is where it stands, in a mapping."""
    if isinstance(value, str) and value in modes:
        return value
    named = ", ".join(f"`{mode}`" for mode in modes)
    hint = _nearest(value, modes) if isinstance(value, str) else ""
    if key is not None:
        raise ValueError(f"must have as `{key}` one of {named}{hint}")
    raise ValueError(f"must be one of {named}, or a mapping with `mode`{hint}")


def check_keys(mapping: Mapping[Any, Any], known: Sequence[str]) -> None:
    """See that it has no other keys."""
    for key in mapping:
        if key not in known:
            raise ValueError(f"must have no key but {', '.join(f'`{name}`' for name in known)}{_nearest(str(key), known)}")


def texts_of(mapping: Mapping[Any, Any], key: str) -> list[str]:
    """The texts under a key, of which there are not too many, none empty or overly long."""
    listed = mapping.get(key)
    if not isinstance(listed, list | tuple) or len(listed) > _MOST or not all(map(_is_text, listed)):
        raise ValueError(f"must have as `{key}` a list of texts, at most {_MOST}")
    return list(listed)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _LONGEST


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:_LONGEST], known, n=1)
    return f", did you mean `{close[0]}`?" if close else ""

"""Paths of the values that tripwires look at: `action.parameters.amount` (SPEC 7)."""

import difflib
from typing import Annotated

from pydantic import AfterValidator

_NUMBERS = ("action.confidence", "action.ctq")
_TEXTS = ("action.description", "action.type", "action.category", "action.stakes", "action.tags", "agent.id", "user.id", "user.domain")
_FREE = ("action.parameters", "action.context")
_LONGEST = 500


def number_path(text: str) -> str:
    """A path at which a number may stand. Raises `ValueError` with the nearest one for any other text."""
    if text in _NUMBERS or _is_below_free(text):
        return text
    if text in _FREE:
        raise ValueError(f"`{text}` is all of them: name one, such as `{text}.amount`")
    raise ValueError(_unknown(text, _NUMBERS, "a number"))


def text_path(text: str) -> str:
    """A path at which, or below which, texts may stand. Raises `ValueError` with the nearest one for any other text."""
    if text in _TEXTS or text in _FREE or _is_below_free(text):
        return text
    raise ValueError(_unknown(text, _TEXTS, "texts"))


def steps_of(path: str) -> tuple[str, ...]:
    """The path as the guards follow it."""
    return tuple(path.split("."))


def _is_below_free(text: str) -> bool:
    steps = text.split(".")
    return ".".join(steps[:2]) in _FREE and len(steps) > 2 and all(step.strip() for step in steps) and len(text) <= _LONGEST


def _unknown(text: str, fixed: tuple[str, ...], holds: str) -> str:
    near = _nearest(text, fixed)
    hint = (
        f"did you mean `{near}`?" if near else f"use {', '.join(f'`{path}`' for path in fixed)}, `{_FREE[0]}.<name>` or `{_FREE[1]}.<name>`"
    )
    return f"`{text}` is no path of {holds}, {hint}"


def _nearest(text: str, fixed: tuple[str, ...]) -> str | None:
    steps = [step for step in text.split(".") if step.strip()]
    if not steps:
        return None
    close = difflib.get_close_matches(text if steps[0] in {"action", "agent", "user"} else f"action.{text}", fixed, n=1, cutoff=0.8)
    if close:
        return close[0]
    roots = [".".join(steps[:2]), f"action.{steps[0]}"]
    for root, rest in zip(roots, (steps[2:], steps[1:]), strict=True):
        group = difflib.get_close_matches(root, _FREE, n=1, cutoff=0.8)
        if group and rest:
            return ".".join([group[0], *rest])
    return (
        ".".join([_FREE[0], *(steps[1:] if steps[0] == "action" and len(steps) > 1 else steps)])
        if steps[0] not in {"agent", "user"}
        else None
    )


NumberPath = Annotated[str, AfterValidator(number_path)]
TextPath = Annotated[str, AfterValidator(text_path)]

"""Wrong usage, told in this command line's own words."""

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from typer.core import TyperGroup

_LONGEST_QUOTE = 100
_EXPECTED = {
    "int_parsing": "must be a whole number, not `{input}`",
    "int_from_float": "must be a whole number, not `{input}`",
    "int_parsing_size": "must be a whole number, not `{input}`",
    "float_parsing": "must be a number, not `{input}`",
    "finite_number": "must be a number, not `{input}`",
    "greater_than_equal": "must be at least {ge}, not `{input}`",
    "less_than_equal": "must be at most {le}, not `{input}`",
}


class Commands(TyperGroup):
    """The commands; what somebody typed that is none of what may be typed is told without the words of the validation behind it."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # the library's own name for the context is not public
        """Carry out the command that was typed."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = "; ".join(_wording(details) for details in error.__cause__.errors(include_url=False))
            raise


def _wording(details: ErrorDetails) -> str:
    """What is wrong with a value.

    >>> _wording({"type": "less_than_equal", "loc": (), "msg": "Input should be …", "input": "2", "ctx": {"le": 1}})
    'must be at most 1, not `2`'
    """
    expected = _EXPECTED.get(details["type"])
    if expected is None:
        return details["msg"].removeprefix("Value error, ").replace("'", "`").rstrip(".")
    return expected.format(**details.get("ctx", {}), input=str(details["input"])[:_LONGEST_QUOTE])

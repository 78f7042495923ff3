"""The language of conditions: CEL (SPEC 6), evaluated by the C++ implementation.

One environment serves all expressions of a language. It, the compiled expressions and the activations are immutable once made, and may be
used by several threads at once. An error at run time comes back from the library as a *value*, a text at that, so nothing but a literal
`True` counts as true.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # the wheel carries stubs without a marker

from cstp_server.domain.expressions import EvaluationFailed, Subject
from cstp_server.domain.values import dataclass
from cstp_server.policy.cel_languages import ACTIONS, Language
from cstp_server.policy.cel_names import texts_compared_with, with_folded_names
from cstp_server.policy.cel_nulls import Rewritten, with_nulls
from cstp_server.policy.cel_tokens import Token, TokenKind, tokens_of

_QUOTED_LENGTH = 200
_WHERE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_NOISE = re.compile(r" \(in container '[^']*'\)| expecting \{.*| \[INVALID_ARGUMENT\]")
_OVERLOAD = re.compile(r"No matching overloads found : ([^\s(]+)(?:\(([\w, ]*)\))?$")
_UNDECLARED = re.compile(r"undeclared reference to '\.?([^'.]+)")
_TYPE_NAMES = {"null_type": "null", "int64": "int", "uint64": "uint"}
_REASONS = (
    ("Key not found", "a key is missing"),
    ("Index error", "an index is out of range"),
    ("divide by zero", "a division by zero"),
    ("modulus by zero", "a division by zero"),
    ("regular expression", "a pattern is no regular expression"),
    ("SELECT", "a field of something that has none"),
    ("overflow", "a number is out of range"),
    ("out of range", "a number is out of range"),
)
_UNFIT = "its values do not fit it"


class BadExpression(ValueError):
    """A text that is no condition; its message quotes the text as it was written."""


@dataclass(frozen=True, slots=True)
class CelPredicate:
    """A compiled condition. Its subjects are those of its own language only.

    `_alone` are the variables that it speaks of, where it is likely to be the only condition that looks at a subject: it is then given
    these, and not what all others might want.
    """

    source: str
    _environment: Any = field(repr=False, compare=False)
    _evaluate: Callable[[Any], Any] = field(repr=False, compare=False)
    _alone: tuple[str, ...] | None = field(default=None, repr=False, compare=False)

    def __call__(self, subject: Subject, /) -> bool | EvaluationFailed:
        """Whether the condition holds; never raises."""
        value: Any = None
        try:
            result = self._evaluate(self._activation(subject))
            value = result.value()
        except Exception as error:  # noqa: BLE001  the library raises what it likes on data that it cannot convert; a guard then counts as matched
            return EvaluationFailed(_reason(str(error)))
        if value is True:
            return True
        if value is False:
            return False
        if result.type() == cel.Type.ERROR:
            return EvaluationFailed(_reason(value))
        return EvaluationFailed("its result is neither true nor false")

    def _activation(self, subject: Subject) -> Any:
        if subject.prepared is not None:
            return subject.prepared
        if self._alone is not None:
            return self._environment.Activation({name: subject.data[name] for name in self._alone})
        subject.prepared = self._environment.Activation(subject.data)
        return subject.prepared


def compile_predicate(source: str, language: Language = ACTIONS, *, alone: bool = False) -> CelPredicate:
    """The condition that `source` describes. Raises `BadExpression` when it does not compile, or cannot give true or false.

    `alone`: it is likely to be the only one that looks at a subject.
    """
    _refuse_unknown_fields(source, language)
    _refuse_unknown_values(source, language)
    rewritten = with_nulls(with_folded_names(source))
    try:
        expression = language.environment.compile(rewritten.source)
    except Exception as error:  # noqa: BLE001  whatever the compiler raises says that this text is no expression
        raise BadExpression(_complaint(source, rewritten, str(error), language)) from None
    kind = expression.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise BadExpression(f"{_quoted(source)} gives `{kind.name().lower()}` where true or false is wanted")
    spoken_of = tuple(variable for variable in language.variables if speaks_of(source, variable)) if alone else None
    return CelPredicate(source, language.environment, expression.eval, spoken_of)


def is_constant(source: str, language: Language = ACTIONS) -> bool:
    """Whether an expression speaks of nothing, so that it gives the same for everything."""
    return not any(token.kind is TokenKind.NAME and token.text in language.variables for token in tokens_of(source))


def speaks_of(source: str, variable: str) -> bool:
    """Whether an expression may depend on a variable."""
    return any(token.is_name(variable) for token in tokens_of(source))


def _refuse_unknown_fields(source: str, language: Language) -> None:
    tokens = [token for token in tokens_of(source) if token.kind is not TokenKind.SPACE]
    ends = [Token(TokenKind.SPACE, "", 0)]
    padded = ends + tokens + ends * 3
    for before, variable, dot, name, behind in zip(padded, padded[1:], padded[2:], padded[3:], padded[4:], strict=False):
        is_variable = variable.kind is TokenKind.NAME and before.text != "." and dot.text == "."
        known = language.fields.get(variable.text) if is_variable else None
        if known is not None and name.kind is TokenKind.NAME and behind.text != "(" and name.text not in known:
            raise BadExpression(
                f"{_quoted(source)} is no valid expression: {_unknown(f'`{variable.text}` has no field', name.text, known)}"
            )


def _refuse_unknown_values(source: str, language: Language) -> None:
    for (variable, name), known in language.values.items():
        for text in texts_compared_with(source, variable, name):
            if text not in known:
                raise BadExpression(f"{_quoted(source)} is no valid expression: {_unknown(f'`{variable}.{name}` is never', text, known)}")


def _quoted(source: str) -> str:
    text = " ".join(source.split())
    return f"`{text}`" if len(text) <= _QUOTED_LENGTH else f"`{text[:_QUOTED_LENGTH]}…`"


def _complaint(source: str, rewritten: Rewritten, error: str, language: Language) -> str:
    """The compiler's first complaint in terms of the source as it was written."""
    where = _WHERE.search(error)
    if where is None or int(where.group(1)) < 1:
        return f"{_quoted(source)} is no valid expression: it is too long or nested too deeply"
    line, column = int(where.group(1)), int(where.group(2))
    before = sum(len(text) + 1 for text in rewritten.source.split("\n")[: line - 1])
    offset = rewritten.original_offset(before + column - 1)
    what = _NOISE.sub("", where.group(3)).strip()
    if "orValue" in what and "orValue" not in source:
        what = "its types do not fit"
    what = what[:1].lower() + what[1:].replace("'<EOF>'", "the end")
    undeclared = _UNDECLARED.match(what)
    if undeclared is not None:
        return f"{_quoted(source)} is no valid expression: {_unknown('there is no', undeclared.group(1), language.variables)}"
    return f"{_quoted(source)} is no valid expression: {what} (at character {min(offset, len(source)) + 1})"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"only {', '.join(f'`{other}`' for other in names)}"
    return f"{what} `{name}`, {hint}"


def _reason(error: str) -> str:
    """A short reason in words of our own: the library's text quotes the agent's data."""
    overload = _OVERLOAD.search(error)
    if overload is not None:
        operation, types = overload.group(1).strip("_"), overload.group(2)
        named = " and ".join(_TYPE_NAMES.get(name, name) for name in types.split(", ")) if types else "these values"
        return f"`{operation}` is not defined for {named}"
    return next((reason for sign, reason in _REASONS if sign in error), _UNFIT)

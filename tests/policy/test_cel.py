"""Conditions: absent keys read as null in every form, errors are never true, and nothing that an agent sends gets out of hand (SPEC 6)."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.expressions import EvaluationFailed
from cstp_server.domain.facts import Stakes
from cstp_server.policy.cel import BadExpression, compile_predicate, is_constant
from cstp_server.policy.cel_nulls import with_nulls
from cstp_server.policy.cel_tokens import TokenKind, tokens_of
from tests.policy.writing import subject

ABSENT = {
    "action.context.x == null": True,
    'action.context["x"] == null': True,
    "action.context['x'] == null": True,
    "action.context[action.description] == null": True,
    "action.context[action.context.x] == null": True,
    "action.parameters.x == null": True,
    'action["context"]["x"] == null': True,
    'action["context"].x == null': True,
    "(action.context).x == null": True,
    "((action).context)['x'] == null": True,
    "action\n  .context // the agent's own\n  . x == null": True,
    "action.context.`x-y` == null": True,
    ".action.context.x == null": True,
    "has(action.context.x)": False,
    "!has(action.context.x)": True,
    '"x" in action.context': False,
    "action.context.exists(key, key == 'x')": False,
    "[1, 2].exists(n, action.context.x == null)": True,
    "action.context.x == true": False,
    "action.context.x != true": True,
    "action.context.x in [1, 'a']": False,
    "action.context.?x.orValue(5) == 5": True,
    "action.context[?'x'].hasValue()": False,
    "action.context.x > 1000": EvaluationFailed,
    "!action.context.x": EvaluationFailed,
    "action.context.x": EvaluationFailed,
    "action.context.x.y == 1": EvaluationFailed,
    "action.context.x + 1 == 1": EvaluationFailed,
    "action.context.x.startsWith('a')": EvaluationFailed,
    "action.type == 'refund' && action.parameters.amount > 1000": False,
    "has(action.parameters.amount) && action.parameters.amount > 1000": False,
    "action.parameters.amount > 1000 || true": True,
}


@pytest.mark.parametrize(("source", "expected"), ABSENT.items(), ids=ABSENT)
def test_an_absent_key_reads_as_null_in_every_form(source: str, expected: object) -> None:
    """On an action without context and parameters: true, false, or a failure that is no truth."""
    result = compile_predicate(source)(subject())
    assert result is expected if isinstance(expected, bool) else isinstance(result, EvaluationFailed)


PRESENT = {
    "action.context.x == 1": {"x": 1},
    "action.context.x == 1.0": {"x": 1},
    "action.context['x'].y[0] == null": {"x": {"y": [None]}},
    "has(action.context.x) && action.context.x == null": {"x": None},
    "action.context.x > 1000": {"x": 1000.5},
    "action.context.x == 18446744073709551615u": {"x": 2**64 - 1},
    "action.context.x < 0": {"x": -(2**63)},
    "action.context.x.exists(n, n == 'a')": {"x": [1, None, "a"]},
    "action.context.action.context.x == 1": {"action": {"context": {"x": 1}}},
    "action.context.x == 'action.context.y'": {"x": "action.context.y"},
}


@pytest.mark.parametrize(("source", "context"), PRESENT.items(), ids=PRESENT)
def test_a_present_key_is_what_the_agent_sent(source: str, context: dict[str, Any]) -> None:
    """Every JSON value reaches the condition."""
    assert compile_predicate(source)(subject(context=context)) is True


def test_the_other_variables_are_there() -> None:
    """Tags, agent, user, posture and stakes can be asked."""
    asked = subject(tags=("a", "b"), agent_id="bot", user_id="ann", user_domain="billing", stakes=Stakes.HIGH, posture="assisted")
    source = "'b' in action.tags && agent.id == 'bot' && user.domain == 'billing' && posture == 'assisted' && action.stakes == 'high'"
    assert compile_predicate(source)(asked) is True


def test_one_subject_serves_many_conditions() -> None:
    """What is prepared for the first condition is right for the second."""
    asked = subject(context={"x": 1}, tags=("a",))
    assert [compile_predicate(f"action.context.x == {n}")(asked) for n in (1, 2)] == [True, False]


REASONS = {
    "action.context.x > 1000": "`>` is not defined for null and int",
    "!action.context.x": "`!` is not defined for these values",
    "action.context.x.y == 1": "a field of something that has none",
    "action.tags[7] == 'a'": "an index is out of range",
    "1 / size(action.tags) == 1": "a division by zero",
    "action.description.matches(agent.id)": "a pattern is no regular expression",
    "action.context.x": "its result is neither true nor false",
    "{'a': 1}[agent.id] == 1": "a key is missing",
}


@pytest.mark.parametrize(("source", "reason"), REASONS.items(), ids=REASONS)
def test_a_failure_says_why_without_the_agents_data(source: str, reason: str) -> None:
    """Reasons are words of our own."""
    assert compile_predicate(source)(subject(agent_id="(")) == EvaluationFailed(reason)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", object(), {1, 2}])
def test_what_cannot_be_converted_is_a_failure(value: object) -> None:
    """Values that the wire refuses anyway neither raise nor count as true, and are not quoted."""
    result = compile_predicate("action.context.x == 1")(subject(context={"x": value}))
    assert isinstance(result, EvaluationFailed)
    assert len(result.reason) < 60


@pytest.mark.parametrize("source", ["1", "'true'", "null", "action.tags.map(tag, tag)", "optional.of(true)", "size(action.tags)"])
def test_what_is_no_condition_is_refused(source: str) -> None:
    """An expression that can never be true or false is an error when the policy is read."""
    with pytest.raises(BadExpression, match="where true or false is wanted"):
        compile_predicate(source)


@pytest.mark.parametrize("source", ["", "(" * 500, "x" * 200_000, "action.context.x +", "action.context[", "`", '"', "\x00"])
def test_what_does_not_compile_is_quoted_as_it_was_written(source: str) -> None:
    """The message shows the author's own text, never the rewritten one."""
    with pytest.raises(BadExpression) as caught:
        compile_predicate(source)
    assert "orValue" not in str(caught.value)
    assert len(str(caught.value)) < 600


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_PROBES = [
    compile_predicate(source)
    for source in (
        "action.context.x == 1",
        "action.context.x > 1000",
        "!action.context.x",
        "action.context.x.y[0] < 'a'",
        "action.context.exists(key, action.context[key] == true)",
        "action.context.x.all(n, n == n)",
        "action.parameters == action.context",
    )
]


@given(st.dictionaries(st.sampled_from(["x", "y", "action"]) | st.text(), _JSON, max_size=5))
def test_whatever_an_agent_sends_gives_an_answer(context: dict[str, Any]) -> None:
    """Every condition gives true, false or a failure for any JSON; it never raises."""
    asked = subject(context=context, parameters=context)
    for predicate in _PROBES:
        assert isinstance(predicate(asked), bool | EvaluationFailed)


def test_deep_nesting_is_carried() -> None:
    """A value nested as deep as the wire lets through is compared."""
    deep: Any = 1
    for _ in range(32):
        deep = {"x": deep}
    assert compile_predicate("action.context == action.parameters")(subject(context=deep, parameters=deep)) is True


_FREE = st.text(alphabet="action.context[]()'\"\\r`?b xhs/\n,{}:&|!=<>0123", max_size=40)


@given(_FREE)
def test_tokens_are_the_whole_source(source: str) -> None:
    """No character is lost or made up."""
    assert "".join(token.text for token in tokens_of(source)) == source


@given(_FREE)
def test_rewriting_only_inserts(source: str) -> None:
    """Taking the insertions out again gives the source, and every offset finds its way back."""
    rewritten = with_nulls(source)
    kept = [
        rewritten.source[offset]
        for offset in range(len(rewritten.source))
        if rewritten.original_offset(offset)
        not in {rewritten.original_offset(after) for after in range(offset + 1, len(rewritten.source) + 1)}
    ]
    assert "".join(kept) == source


@given(
    st.lists(
        st.sampled_from(
            ["action.type", "agent.id", "x.action.context.y", "==", "(", ")", "'action.context.x'", "has(action.context.x)", " ", "&&"]
        )
    )
)
def test_what_reads_no_free_field_stays_as_it_is(parts: list[str]) -> None:
    """Without access to context or parameters outside of texts and `has`, nothing is inserted."""
    source = " ".join(parts)
    assert with_nulls(source).source == source


@given(
    st.sampled_from(["'", '"', "'''", '"""', "r'", 'b"', "br'''"]),
    st.sampled_from(["action.context.x", "action.parameters['x", 'action.context["x']),
)
def test_texts_are_left_alone(opening: str, content: str) -> None:
    """What looks like an access within a text literal is text."""
    quotes = opening.lstrip("rb")
    content = content.replace("'", "").replace('"', "")
    source = f"{opening}{content}{quotes} == action.type"
    assert with_nulls(source).source == source
    assert next(token.kind for token in tokens_of(source)) is TokenKind.TEXT


def test_constants_are_told_from_conditions() -> None:
    """An expression is constant when it speaks of no variable; a variable's name in a text is none."""
    assert [is_constant(source) for source in ("true", "'action' == 'x'", "action.type == 'x'")] == [True, True, False]


def test_conditions_may_be_used_by_many_threads() -> None:
    """Each thread gets the answers for its own subjects, also while others compile."""
    predicate = compile_predicate("action.context.x == true")
    wrong: list[int] = []

    def ask(turn: int) -> None:
        for round_ in range(2_000):
            truth = (turn + round_) % 2 == 0
            if predicate(subject(context={"x": truth})) is not truth:
                wrong.append(round_)
            if round_ % 100 == 0:
                compile_predicate(f"action.context.x == {round_}")(subject())

    threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""How the pages put numbers, names and messages."""

import pytest
from markupsafe import Markup

from cstp_server.web import words


@pytest.mark.parametrize(("count", "thing", "said"), [(0, "hit", "0 hits"), (1, "hit", "1 hit"), (2, "success", "2 successes")])
def test_one_of_a_thing_is_no_plural(count: int, thing: str, said: str) -> None:
    """Nor is none."""
    assert words.many(count, thing) == said


def test_names_in_messages_stand_out() -> None:
    """What is in backticks, escaped; a message with an odd number of them is left as it is."""
    assert words.coded("agent `<b>` is `blocked`") == Markup("agent <code>&lt;b&gt;</code> is <code>blocked</code>")
    assert words.coded("a ` & no other") == Markup("a ` &amp; no other")
    assert words.coded("`a\u202eb`") == Markup(r"<code>a\u202eb</code>")
    assert words.sentence("`reason` is required") == Markup("<code>reason</code> is required")
    assert words.sentence("nothing waits") == Markup("Nothing waits")
    assert words.sentence("") == Markup("")


def test_a_state_is_spelled_as_people_spell_it() -> None:
    """Words of the wire, with blanks."""
    assert [words.plain(name) for name in ("half_open", "human_decides", "circuit.opened")] == [
        "half-open",
        "human decides",
        "circuit opened",
    ]

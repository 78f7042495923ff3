"""How the pages put numbers, names and messages."""

import pytest
from markupsafe import Markup

from cstp_server.web import words
from tests.web.fleet import Fleet
from tests.web.plain import Plain


@pytest.mark.parametrize(("count", "thing", "said"), [(0, "hit", "0 hits"), (1, "hit", "1 hit"), (2, "success", "2 successes")])
def test_one_of_a_thing_is_no_plural(count: int, thing: str, said: str) -> None:
    """Nor is none."""
    assert words.many(count, thing) == said


def test_names_in_messages_stand_out() -> None:
    """What is in backticks, escaped; a message with an odd number of them is left as it is."""
    assert words.coded("agent `<b>` is `blocked`") == Markup("agent <code>&lt;b&gt;</code> is <code>blocked</code>")
    assert words.coded("a ` & no other") == Markup("a ` &amp; no other")
    assert words.coded("`a\u202eb`") == Markup(r"<code>a\u202eb</code>")
    assert words.coded("agent `two  blanks ` is  blocked") == Markup("agent <code>two ␣blanks␣</code> is  blocked")
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


def test_the_chart_of_a_young_service_begins_with_its_first_decision(shared_fleet: Fleet) -> None:
    """It shows what there is, not an hour in which nothing was."""
    shared_fleet.check("chart-bot", "Draw something on the chart")
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        ticks = visitor.get("/").text.partition('class="chart-ticks"')[2].partition("</div>")[0]
    assert ">2m ago<" in ticks
    assert ">1h ago<" not in ticks

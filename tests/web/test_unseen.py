"""Characters that nobody sees, or that turn a line around: pages show them, forms send them back as they are."""

import re
from importlib.resources import files

import pytest

from cstp_server.web import unseen
from cstp_server.web.links import link
from cstp_server.web.rendering import render
from tests.web.fleet import Fleet
from tests.web.plain import Plain

TURNED = "pay-\u202etob-dab"
BLANK = "bot "
_FIELDS = re.compile(r'value="[^"]*"')
_VALUE = re.compile(r'\bvalue="\{\{ (?P<what>[^}]*) \}\}"|<textarea[^>]*>\{\{ (?P<text>[^}]*) \}\}')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, äöü, 日本語, עברית", "plain text, äöü, 日本語, עברית"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("zero\u200bwidth\u200djoined\ufeff", r"zero\u200bwidth\u200djoined\ufeff"),
        ("bell\x07 and \x9b", r"bell\u0007 and \u009b"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("half a pair \ud800", r"half a pair \ud800"),
        ("👩\u200d💻 ❤\ufe0f", "👩\u200d💻 ❤\ufe0f"),
        ("bot\ufe0f", r"bot\ufe0f"),
        ("می\u200cخ ක්\u200dය ന്\u200d", "می\u200cخ ක්\u200dය ന്\u200d"),
        ("\u200cخ\u200c \u200c\u200c خ\u200c\u200cخ", r"\u200cخ\u200c \u200c\u200c خ\u200c\u200cخ"),
        ("b\u200cot خ\u200cb b\u200dخ 1\u200d1", r"b\u200cot خ\u200cb b\u200dخ 1\u200d1"),
    ],
)
def test_what_nobody_sees_is_written_out(text: str, shown: str) -> None:
    """Controls, marks of direction, signs without width; not what belongs to a script or to an emoji."""
    assert unseen.visible(text) == shown


def test_what_a_name_holds_is_shown() -> None:
    """Blanks at its ends and several in a row, ends of lines and tabs, and joiners that are honest in a text."""
    assert unseen.name("bot") == "bot"
    assert unseen.name(" my bot ") == "␣my bot␣"
    assert unseen.name("my\u00a0bot\t") == r"my\u00a0bot\u0009"
    assert unseen.name("my  own   bot") == "my ␣own ␣␣bot"
    assert unseen.name("a\r\nb") == r"a\u000d\u000ab"
    assert unseen.name("می\u200cخ👩\u200d💻") == r"می\u200cخ👩\u200d💻"


def test_no_two_names_look_the_same() -> None:
    """Not even one that is written as another one is shown."""
    signs = ("", " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u200b", "\u200c", "\u200d", "\ufe0f", "\u202e", "\U000e0041", "␣")
    pieces = (*signs, *(unseen.name(sign) for sign in signs if sign), "\\", r"\u005cu000a")
    names = {before + middle + after for before in ("", "bot") for middle in pieces for after in ("", "bot")}
    shown = {unseen.visible(unseen.name(name)) for name in names}
    assert len(shown) == len(names)
    assert not any("  " in str(name) or str(name).strip() != name for name in shown)


def test_names_are_shown_so_wherever_they_stand(fleet: Fleet) -> None:
    """Agents, users, categories and who did something: on the pages that decisions are made on, and in what is said after."""
    agent, user, actor = "two  blanks", "line\nof user", "olivia  ops"
    shown = ("two ␣blanks", r"line\u000aof user", "olivia ␣ops")
    own = fleet.server.token(actor, "ops")
    refund = {"type": "issue_refund", "parameters": {"amount": 900}, "category": "of  orders"}
    answer = fleet.check(agent, "Refund an order in full", user={"id": user, "domain": "in  chat"}, **refund)
    fleet.server.call("cstp.tripCircuit", {"scope": f"agent:{agent}", "reason": "because"}, token=own)
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(own)
        decision = visitor.get(link("/decision", id=answer["decisionId"])).text
        assert all(text in decision for text in (*shown[:2], "in ␣chat", "of ␣orders"))
        assert visitor.act("/agent/move", id=agent, to="human_decides", reason="because").status_code == 303
        pages = {
            link("/agent", id=agent): (shown[0], shown[2], "<code>two ␣blanks</code>"),
            link("/circuit", scope=f"agent:{agent}"): (shown[0], f"by {shown[2]}"),
            "/tripwires": (shown[0],),
            "/agents": (shown[0], f"by {shown[2]}"),
            "/pending": (shown[0], "of ␣orders"),
            "/events": (shown[0], shown[2]),
        }
        for path, texts in pages.items():
            page = _FIELDS.sub("", visitor.get(path).text)
            assert all(text in page for text in texts), path
            assert not any(text in page for text in (agent, user, actor)), path


def test_pages_write_out_what_nobody_sees() -> None:
    """Whatever the template: one place sees to it."""
    assert r"A\u202eb" in render("failure.html", {"status": 400, "message": "a\u202eb", "theme": "system"})


def test_every_field_of_every_form_goes_back_as_it_came() -> None:
    """A value that was written out would name another agent, circuit or user."""
    found = [
        (template.name, match["what"] or match["text"])
        for template in files("cstp_server.web").joinpath("templates").iterdir()
        for match in _VALUE.finditer(template.read_text(encoding="utf-8"))
    ]
    assert len(found) > 15
    assert [field for field in found if not field[1].endswith("|as_sent")] == []


@pytest.mark.parametrize("agent", [TURNED, BLANK])
def test_who_looks_sees_what_is_there_and_acts_on_it(fleet: Fleet, agent: str) -> None:
    """What turns a line around or ends with a blank is shown as such wherever it stands; a block hits that agent and no other."""
    said = "Pay \u202e000,1\u202c to account 7"
    asked = {"type": "issue_refund", "parameters": {"amount": 900, "note": said}, "context": {"a\u200bb": said}}
    id = fleet.check(agent, said, **asked)["decisionId"]
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        own = (link("/agent", id=agent), link("/agent/block", id=agent), link("/decision", id=id))
        for path in ("/", "/pending", "/decisions", "/agents", "/events", *own):
            page = visitor.get(path)
            assert page.status_code == 200, path
            assert not re.search("[\u202e\u202c\u200b]", _FIELDS.sub("", page.text)), path
            assert unseen.name(agent) in page.text, path
        assert r"\u202e000,1\u202c" in visitor.get(own[-1]).text
        assert visitor.act("/agent/block", id=agent, reason="it hides something").status_code == 303
    assert posture(fleet, agent) == "blocked"
    assert posture(fleet, "bot") == posture(fleet, "pay-tob-dab") == "supervised"


def posture(fleet: Fleet, agent: str) -> str:
    """How freely an agent acts."""
    return str(fleet.server.call("cstp.getPosture", {"agentId": agent}, token=fleet.ops)["posture"])

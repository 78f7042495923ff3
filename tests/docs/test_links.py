"""The documents point to what is there."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.test_examples import DOCUMENTS

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
_OUTSIDE = ("http://", "https://", "mailto:")


def _prose(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchor_of(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return kept.replace(" ", "-")


def _anchors(document: Path) -> set[str]:
    return {_anchor_of(heading) for heading in re.findall(r"^#+\s+(.+)$", _prose(document), re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link to a file of the project names one that exists, and an anchor in it that exists."""
    broken = []
    for target in _LINK.findall(_prose(document)):
        if target.startswith(_OUTSIDE):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_document_is_linked_from_the_readme() -> None:
    """A reader who starts at the README can get to every page."""
    linked = {
        (ROOT / target.partition("#")[0]).resolve() for target in _LINK.findall((ROOT / "README.md").read_text()) if "://" not in target
    }
    assert [document.name for document in DOCUMENTS if document.name != "README.md" and document.resolve() not in linked] == []

"""Writes the parts of the documents that follow from the code: `make docs`, or `--check` to see whether they are up to date.

A generated part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; the references are generated as a whole.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cstp_server.domain.circuit_state import TRANSITIONS, State
from cstp_server.metrics import describe as describe_metrics
from cstp_server.policy.reference import reference as policy_reference
from cstp_server.rpc.reference import reference as rpc_reference
from cstp_server.settings import SettingInfo, describe

ROOT = Path(__file__).resolve().parent.parent
_PART = re.compile(r"(?P<opening><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<closing><!-- /generated -->)", re.DOTALL)
_FIRST_SETTINGS = ("DATABASE_URL", "CSTP_CONFIG", "CSTP_HOST", "CSTP_PORT", "CSTP_WORKERS", "CSTP_TOKEN_KEY", "CSTP_LOG_FORMAT")


def breaker_diagram() -> str:
    """The breaker's transition table as a picture."""
    arrows = [f"    {start} --> {end}: {cause}" for (start, cause), end in TRANSITIONS.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {State.CLOSED}", *arrows, "```"])


def settings_table() -> str:
    """Every setting."""
    return _table(describe())


def first_settings_table() -> str:
    """The settings that a first installation looks at."""
    return _table(setting for setting in describe() if setting.name in _FIRST_SETTINGS)


def _table(settings: Iterable[SettingInfo]) -> str:
    rows = [
        f"| `{setting.name}` | {f'`{setting.default}`' if setting.default else 'none'} | {setting.description} |" for setting in settings
    ]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def metrics_table() -> str:
    """Every metric."""
    rows = [f"| `{metric.name}` | {metric.type} | {metric.description} |" for metric in describe_metrics()]
    return "\n".join(["| metric | type | says |", "| --- | --- | --- |", *rows])


PARTS: Mapping[str, Callable[[], str]] = {
    "breaker": breaker_diagram,
    "settings": settings_table,
    "first-settings": first_settings_table,
    "metrics": metrics_table,
}


WHOLE: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs" / "policy.md": policy_reference,
    ROOT / "docs" / "rpc.md": rpc_reference,
}


def as_it_should_be(path: Path) -> str:
    """A document with what is generated of it. Raises `KeyError` for a part that nothing makes."""
    if path in WHOLE:
        return WHOLE[path]()
    return _PART.sub(lambda part: f"{part['opening']}\n{PARTS[part['name']]()}\n\n{part['closing']}", path.read_text())


def documents() -> list[Path]:
    """Every document of the project."""
    return sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *WHOLE})


def main(arguments: list[str]) -> int:
    """Write the outdated documents, or with `--check` name them and end with 1."""
    checking = "--check" in arguments
    wanted = {path: as_it_should_be(path) for path in documents()}
    outdated = {path: text for path, text in wanted.items() if not path.exists() or text != path.read_text()}
    for path, text in outdated.items():
        if not checking:
            path.write_text(text)
        print(f"{'outdated' if checking else 'written'}: {path.relative_to(ROOT)}")
    return 1 if outdated and checking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Taking credentials out of what is written to places that others read: the log, and traces."""

import re

from cstp_server.policy.secrets import SCANNER
from cstp_server.services.tokens import PREFIX

HIDDEN = "[hidden]"
_OWN_TOKEN = re.compile(rf"\b{PREFIX}[A-Za-z0-9_-]{{40,}}")
_PASSWORD_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/:=-]{8,}")


def redacted(text: str) -> str:
    """The text without tokens of this service, without what looks like any other credential, and without passwords in URLs."""
    text = SCANNER.redacted_text(_BEARER.sub(rf"\1 {HIDDEN}", _OWN_TOKEN.sub(HIDDEN, text)))
    return _PASSWORD_IN_URL.sub(rf"\1{HIDDEN}@", text)

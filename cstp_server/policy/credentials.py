"""What credentials look like: the ones that really leak, by their makers' own prefixes and forms (SPEC 7).

A pattern's group, where it has one, is the secret itself; without a group it is the whole match. The patterns are RE2's, over UTF-8
bytes. `JOINT` stands between two texts, such as a name and its value, so a name may be the context of a value. A counted repetition never
holds many beginnings of its own pattern: RE2 would have to keep track of all of them at once, and slow down.
"""

from cstp_server.domain.values import dataclass

JOINT = "\x1e"
_AFTER_NAME = r"""[\x1e"'\s:=>]{1,8}"""
_END = r"(?:[^A-Za-z0-9/+=]|$)"
_WORDS = "[A-Za-z0-9_ .:|-]*"
_TEMPLATE = (
    rf"(?:<{_WORDS}>|\$?\{{\{{{_WORDS}\}}\}}|\{{{_WORDS}\}}|\$\{{[A-Za-z0-9_.]*\}}|\$\([A-Za-z0-9_ ./-]*\)|\$[A-Z_][A-Z0-9_]*"
    r"|%\([A-Za-z0-9_]*\)s?|%[A-Z0-9_]+%|\[redacted: [A-Za-z ]*\])"
)
_SPACED = r"(?i:password|passwd|pwd)\s*=\s*"
_TIGHT = r"(?i:password|passwd|pwd)="
_VALUE = rf"""({_TEMPLATE}|[^;\s&"'\x1e]+)"""
_OF_URL = r"""[A-Za-z0-9]://[^\s/:?#"'<>\x1e]*:"""
_HOST = r"[A-Za-z0-9\[/{$]"


@dataclass(frozen=True, slots=True)
class Credential:
    """One kind of credential: its name with its article, for messages, and how it looks."""

    article: str
    kind: str
    patterns: tuple[str, ...]


CREDENTIALS: tuple[Credential, ...] = (
    Credential("an", "AWS access key", (r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}\b", r"\bakia[a-z2-7]{16}\b")),
    Credential(
        "an",
        "AWS secret key",
        (
            rf"(?i:aws[_\-. ]?secret(?:[_\-. ]?access)?(?:[_\-. ]?key)?|secret[_\-. ]?access[_\-. ]?key)(?: is)?{_AFTER_NAME}"
            rf"([A-Za-z0-9/+]{{40}}){_END}",
            rf"(?i:aws[_\-. ]?session[_\-. ]?token){_AFTER_NAME}([A-Za-z0-9/+]{{100,}}=*)",
        ),
    ),
    Credential("a", "Google key", (r"AIza[0-9A-Za-z_-]{35}", r"GOCSPX-[A-Za-z0-9_-]{24,}", r"\bya29\.[A-Za-z0-9_-]{20,}")),
    Credential(
        "an",
        "Azure key",
        (
            r"(?i:AccountKey|SharedAccessKey)\s*=\s*([A-Za-z0-9+/]{40,}={1,2})",
            r"[?&]sig=([A-Za-z0-9%/+]{40,}(?:%3[dD]|=))",
            r"\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
        ),
    ),
    Credential("a", "GitHub token", (r"gh[pousr]_[A-Za-z0-9]{36,}", r"github_pat_[A-Za-z0-9_]{36,}")),
    Credential("a", "GitLab token", (r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas)-[A-Za-z0-9_-]{20,}",)),
    Credential(
        "a",
        "Slack token",
        (
            r"\bxox[a-z]-[0-9][A-Za-z0-9-]{9,}",
            r"\bxapp-[0-9]-[A-Za-z0-9-]{20,}",
            r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/]{20,})",
        ),
    ),
    Credential(
        "a",
        "Discord token",
        (
            r"\b[MNO][A-Za-z0-9]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
            r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/([A-Za-z0-9_-]{60,})",
        ),
    ),
    Credential("a", "Telegram token", (r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",)),
    Credential("a", "Stripe key", (r"\b[rs]k_live_[A-Za-z0-9]{16,}",)),
    Credential("a", "webhook secret", (r"\bwhsec_[A-Za-z0-9+/]{24,}",)),
    Credential(
        "a",
        "language model key",
        (r"\bsk-(?:ant|proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,}", r"\bsk-[A-Za-z0-9]{32,}", r"\bhf_[A-Za-z0-9]{34,}"),
    ),
    Credential(
        "a", "package registry token", (r"\bnpm_[A-Za-z0-9]{36}", r"\bpypi-AgE[A-Za-z0-9_-]{40,}", r"\bdckr_pat_[A-Za-z0-9_-]{20,}")
    ),
    Credential("a", "SendGrid key", (r"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}",)),
    Credential(
        "a", "Twilio key", (r"\bSK[0-9a-f]{32}\b", rf"(?i:twilio[a-z_\-. ]{{0,20}}token){_AFTER_NAME}([0-9a-f]{{32}})(?:[^0-9a-f]|$)")
    ),
    Credential(
        "a",
        "cloud platform token",
        (
            r"\bdo[opr]_v1_[a-f0-9]{64}",
            r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
            r"\bhvs\.[A-Za-z0-9_-]{24,}",
            r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}",
        ),
    ),
    Credential("a", "signed token", (r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{10,}",)),
    Credential(
        "a",
        "password in a connection string",
        (
            rf"""{_OF_URL}([^\s/?#"'\x1e]+)@{_HOST}""",
            rf"""{_OF_URL}((?:[0-9]*[^\s/?#@0-9"'\x1e][^\s/?#@"'\x1e]*[/?#]|[0-9]*#)[^\s@"'\x1e]*(?:@[^\s/?#"'\x1e]*)?)@{_HOST}""",
            rf"""[;?&]\s*{_SPACED}{_VALUE}(?:[;\s&"'\x1e]|$)""",
            rf"""\b{_SPACED}{_VALUE};""",
            rf"""[A-Za-z0-9_]=[^\s\x1e]+[ \t]+{_TIGHT}{_VALUE}(?:[;\s&"'\x1e]|$)""",
            rf"""\b{_TIGHT}{_VALUE}[ \t]+[A-Za-z_-]+=""",
            rf"""[A-Za-z0-9_]=[^\s\x1e]+[ \t]+{_TIGHT}'([^'\x1e]+)'""",
            rf"""\b{_TIGHT}'([^'\x1e]+)'[ \t]+[A-Za-z_-]+=""",
        ),
    ),
    Credential(
        "an",
        "authorization header",
        (r"""(?i:\bauthorization["'\s:=\x1e]{1,8}(?:bearer|basic|token|bot)\s+)([A-Za-z0-9._~+/=-]{16,})""",),
    ),
)
PRIVATE_KEY = Credential("a", "private key", (r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",))
"""Its pattern is the first line only: the block goes on to the line of `PRIVATE_KEY_END`, or as far as `PRIVATE_KEY_BODY` does."""
PRIVATE_KEY_END = r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
PRIVATE_KEY_BODY = r"[A-Za-z0-9+/=,:.()\\\s-]*"
_CREDENTIAL_WORD = r"pass|passw(?:or)?d|pwd|pw|secret|token"
_PHRASE = rf"your(?:[-_][a-z]+)+|(?:my|some|the)(?:[-_][a-z]+)*[-_](?:{_CREDENTIAL_WORD}|key|credentials?|here)"
PLACEHOLDER = (
    rf"{_TEMPLATE}(?:[/?#].*)?|.|%[sv]|\(\d+\)|[xX]+|\*+|\.+|#+|_+|-+|(?:\xe2\x80\xa2)+"
    rf"|\$?(?i:{_CREDENTIAL_WORD}|change[-_]?me)|{_PHRASE}|{_PHRASE.upper()}"
)
"""What stands where a secret would, in documentation and templates, and is none."""

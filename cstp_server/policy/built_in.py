"""The tripwires that are there without being written (SPEC 7)."""

from collections.abc import Mapping

from cstp_server.domain.tripwire_rules import Flag, Secrets
from cstp_server.domain.tripwires import Tripwire, TripwireSeverity
from cstp_server.policy.secrets import SCANNER

_CRITICAL, _SEVERE = TripwireSeverity.CRITICAL, TripwireSeverity.SEVERE
_TRIPWIRES = (
    Tripwire(
        "secrets",
        Secrets(SCANNER),
        _CRITICAL,
        description="credentials in what the action says of itself",
        suggestion="take the credential out, and replace it where it is in use: it has been sent",
        notify=True,
    ),
    Tripwire(
        "production_write",
        Flag("production_write"),
        _CRITICAL,
        description="an action that says in its context that it writes to production",
        notify=True,
    ),
    Tripwire(
        "data_exfiltration",
        Flag("data_exfiltration"),
        _SEVERE,
        description="an action that says in its context that it carries data out",
        notify=True,
    ),
    Tripwire(
        "collusion_detected",
        Flag("collusion_detected"),
        _SEVERE,
        description="an action that says in its context that agents collude",
        notify=True,
    ),
)
BUILT_IN: Mapping[str, Tripwire] = {tripwire.name: tripwire for tripwire in _TRIPWIRES}

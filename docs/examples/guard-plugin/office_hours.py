"""A guard of transitions: agents get more autonomy while people are there to watch them."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from cstp_server.clock import Clock, SystemClock
from cstp_server.domain.posture_guards import TransitionRequest
from cstp_server.domain.postures import Posture, TransitionType

_SATURDAY = 5


class OfficeHours:
    """Upgrades above `supervised` happen on working days, from nine to five."""

    name = "office_hours"
    applies_to = frozenset({TransitionType.UPGRADE})
    zone = ZoneInfo("Europe/Berlin")
    opens, closes = time(9), time(17)
    clock: Clock = SystemClock()

    def check(self, request: TransitionRequest) -> str | None:
        """Why the agent must not get this posture now; none when it may."""
        if request.to_posture <= Posture.SUPERVISED or self._is_open():
            return None
        hours = f"{self.opens:%H:%M} to {self.closes:%H:%M} ({self.zone})"
        return f"agents are raised to `{request.to_posture.label}` in office hours only, {hours}"

    def _is_open(self) -> bool:
        now = datetime.fromtimestamp(self.clock.now() / 1000, UTC).astimezone(self.zone)
        return now.weekday() < _SATURDAY and self.opens <= now.time() < self.closes

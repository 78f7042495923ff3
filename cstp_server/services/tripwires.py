"""How often tripwires were run into, and by whom (SPEC 7)."""

from collections.abc import Iterable
from itertools import groupby

from cstp_server.domain.callers import Caller
from cstp_server.domain.tripwires import TripwireSeverity
from cstp_server.services.ports import HitCount, Reader
from cstp_server.services.requests import TripwireStats


async def stats(reader: Reader, caller: Caller, *, since: int | None, agent: str | None) -> tuple[TripwireStats, ...]:
    """Every tripwire that was run into, the most often first; since a time (ms since the epoch), by one agent, where they are given."""
    return stats_of(await reader.hits(caller.tenant, since=since, agent=agent))


def stats_of(counts: Iterable[HitCount]) -> tuple[TripwireStats, ...]:
    """As `stats`, of what was counted."""
    by_tripwire = groupby(sorted(counts, key=lambda count: count.tripwire), key=lambda count: count.tripwire)
    found = [_stats(name, list(of_tripwire)) for name, of_tripwire in by_tripwire]
    return tuple(sorted(found, key=lambda stat: (-stat.hits, stat.name)))


def _stats(name: str, counts: list[HitCount]) -> TripwireStats:
    gravest = max(TripwireSeverity[count.severity.upper()] for count in counts)
    agents = {count.agent_id: count.hits for count in sorted(counts, key=lambda count: (-count.hits, count.agent_id)) if count.hits}
    return TripwireStats(
        name=name,
        severity=gravest.label,
        hits=sum(count.hits for count in counts),
        shadow_hits=sum(count.shadowed for count in counts),
        last_hit=max(count.last_at for count in counts),
        agents=agents,
    )

"""`cstp.getTripwireStats` (SPEC 7)."""

from pydantic import Field

from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import Name, Params, Result, Time, TimeParam
from cstp_server.services import tripwires


class TripwireStatsParams(Params):
    """Which hits to count."""

    since: TimeParam | None = Field(default=None, description="only hits from this time on")
    agent: Name | None = Field(default=None, description="only hits of this agent")


class TripwireResult(Result):
    """How often actions ran into one tripwire. `shadowHits` had no effect, and are not among `hits`; `agents` are those of `hits`."""

    name: str
    severity: str
    hits: int
    shadow_hits: int
    last_hit: Time | None
    agents: dict[str, int]


class TripwireStatsResult(Result):
    """Every tripwire that was run into, the most often first; `total` is the sum of their `hits`."""

    total: int
    tripwires: list[TripwireResult]


async def stats(context: Context, params: TripwireStatsParams) -> TripwireStatsResult:
    """How often tripwires were run into, and by whom."""
    found = await tripwires.stats(context.services.reader, context.caller, since=params.since, agent=params.agent)
    return TripwireStatsResult(
        total=sum(stat.hits for stat in found),
        tripwires=[
            TripwireResult(
                name=stat.name,
                severity=stat.severity,
                hits=stat.hits,
                shadow_hits=stat.shadow_hits,
                last_hit=stat.last_hit,
                agents=dict(stat.agents),
            )
            for stat in found
        ],
    )

"""The client's `metrics`."""

import asyncio

from cstp_server.client import AsyncClient, Client
from tests.cli.test_metrics import MEASURES, METHOD, NOTHING
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import ScriptedServer


def test_the_measures_are_typed(server: ScriptedServer, client: Client) -> None:
    """Each under its name; what was not measured is none, and `since` goes along as it was given."""
    server.usual[METHOD] = lambda params: MEASURES if "since" in params else NOTHING
    found = client.metrics(since="2026-02-01T00:00:00Z")
    assert (found.average_posture_level, found.posture_distribution["blocked"], found.circuit_breaker_opens) == (3, 1, 4)
    assert (found.transitions_by_type["emergency_downgrade"], found.emergency_downgrades) == (2, 2)
    assert (found.evaluations_total, found.evaluations_passed, found.pass_rate) == (40, 38, 0.95)
    assert (found.dimension_failures, found.anti_gaming_flags) == ({"cost_limit": 1, "rate_limit": 2}, {"boundary_pushing": 3})
    nothing = client.metrics()
    assert (nothing.average_posture_level, nothing.pass_rate, nothing.average_evaluation_time_ms) == (None, None, None)
    assert server.params(METHOD) == [{"since": "2026-02-01T00:00:00Z"}, {}]


def test_the_async_client_does_the_same(server: ScriptedServer, sleeper: Sleeper) -> None:
    """Awaited."""
    server.usual[METHOD] = lambda params: MEASURES

    async def story(client: AsyncClient) -> None:
        async with client:
            assert (await client.metrics()).evaluations_total == 40

    asyncio.run(story(async_client(server, sleeper)))

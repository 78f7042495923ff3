"""The background work of a process: what it does while there is nothing that it could do."""

import asyncio
from pathlib import Path

from cstp_server.appraising import Appraising
from cstp_server.guardians import InstalledGuardians
from cstp_server.housekeeping import Housekeeping
from cstp_server.services.earning import Appraisal
from cstp_server.storage.engine import database_url
from cstp_server.storage.migrating import upgrade
from cstp_server.worker import Worker
from tests.services.world import World, policy_of

PATIENCE = 20.0
TASKS = {"sweep", "appraise", "stop", "upkeep", "anchor"}


def worker_of(world: World, told: list[tuple[str, str]]) -> Worker:
    """A worker on the world's store; `told` is what became of its rounds."""
    store, clock = world.store, world.clock
    appraisal = Appraisal(store.transactor, store.reader, InstalledGuardians(()), clock)
    appraising = Appraising(store, store.duties, store.reader, appraisal, lambda: world.policy, clock, "process")
    housekeeping = Housekeeping(store, store.duties, store.transactor, lambda: world.policy, clock, lambda *_task: None)
    return Worker(
        store,
        store.transactor,
        lambda: world.policy,
        clock,
        lambda _versions: None,
        appraising,
        housekeeping,
        200,
        lambda *end: told.append(end),
    )


def test_no_task_spins_while_the_store_is_away(tmp_path: Path) -> None:
    """Each is tried about once a second at the most, also the one that else waits until somebody is blocked."""
    file, told = tmp_path / "cstp.db", list[tuple[str, str]]()
    url = f"sqlite:///{file}"
    upgrade(database_url(url))
    world = World(url, policy_of())

    async def work() -> None:
        worker = worker_of(world, told)
        file.rename(tmp_path / "elsewhere.db")
        worker.start()
        try:
            async with asyncio.timeout(PATIENCE):
                while ("stop", "waited") not in told or ("sweep", "waited") not in told:  # noqa: ASYNC110 - what is waited for is no event
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.6)
        finally:
            (tmp_path / "elsewhere.db").rename(file)
            await worker.stop()

    world.do(work())
    world.close()
    waited = [task for task, result in told if result == "waited"]
    assert all(waited.count(task) <= 2 for task in TASKS), told[:20]

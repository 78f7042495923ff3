"""`python -m demo`: start the service and the fleet, and run until Ctrl-C."""

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

from cstp_server.client import AsyncClient
from demo.agents import JOBS, warm_up, work
from demo.inbox import Inbox
from demo.narrator import greeting, narrate
from demo.pace import Pace
from demo.people import complain, forgive, operate
from demo.policy import write_policy
from demo.rogue import misbehave
from demo.service import Ended, Service, service
from demo.stage import Stage

_CANCEL_AGAIN_SECONDS = 1.0
_BEFORE = 4
"""Decisions that each agent has behind it when the story begins."""


def main() -> None:
    """Run the demo."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="cstp-demo-") as folder:
        policy = write_policy(Path(folder) / "policy.yaml", options.speed)
        pace = Pace(options.speed)
        inbox = Inbox(partial(_tell, pace))
        try:
            with service(Path(folder), policy, options.port, inbox.variables) as running, suppress(KeyboardInterrupt):
                for line in greeting(running.url, running.operator):
                    _say(line)
                pace.begin()
                with inbox.open():
                    asyncio.run(_play(running, options, pace))
        except Ended as error:
            sys.exit(f"the service does not run; the end of its log:\n{error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8787, help="the service's port; a free one if somebody has it")
    parser.add_argument("--speed", type=_positive, default=1.0, help="how many times as fast as real time; 1 when left out")
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with; the same one brings the same story")
    parser.add_argument("--seconds", type=_positive, default=None, help="end after so many real seconds; none runs until Ctrl-C")
    return parser.parse_args()


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1_000_000:
        raise argparse.ArgumentTypeError(f"`{text}` should be above 0")
    return number


async def _play(running: Service, options: argparse.Namespace, pace: Pace) -> None:
    async with AsyncExitStack() as stack:
        agents, pipeline, operator = [
            await stack.enter_async_context(AsyncClient(running.url, token))
            for token in (running.agents, running.pipeline, running.operator)
        ]
        stage = Stage(agents, pipeline, operator, pace, options.seed, partial(_tell, pace))
        playing, watching = asyncio.ensure_future(_story(stage)), asyncio.ensure_future(running.watch())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
        await _first_of(playing, watching, seconds=options.seconds)


async def _first_of(*tasks: "asyncio.Task[None]", seconds: float | None) -> None:
    """Wait until one of them has ended, or the time is up, and end the others; raises what it raised."""
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(*tasks)
    for task in done:
        if not task.cancelled():
            task.result()


async def _end(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks until they have ended: what they await may take no notice the first time, when it is just over."""
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)  # what they raised is seen, too


async def _story(stage: Stage) -> None:
    await warm_up(stage, _BEFORE)
    actors = [work(stage, job) for job in JOBS]
    await asyncio.gather(*actors, misbehave(stage), operate(stage), forgive(stage), complain(stage), narrate(stage))


def _tell(pace: Pace, line: str) -> None:
    _say(f"{pace.elapsed:6.0f} s  {line}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()

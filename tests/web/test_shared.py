"""Fragments that many ask for at once are made once, and are never old."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.responses import Response

from cstp_server.web.shared import SharedFragments
from tests.services.world import HandClock
from tests.web.loops import run_aside


class Maker:
    """Makes fragments, each with its number in it."""

    def __init__(self) -> None:
        self.made = 0
        self.fails = False

    async def make(self) -> Response:
        """The next one."""
        await asyncio.sleep(0)
        self.made += 1
        if self.fails:
            raise ValueError
        return Response(str(self.made))


def with_fragments(work: Callable[[SharedFragments, Maker, HandClock], Awaitable[None]]) -> None:
    """Carry out a test."""

    async def run() -> None:
        clock = HandClock()
        await work(SharedFragments(clock), Maker(), clock)

    run_aside(run())


def test_those_who_ask_at_the_same_moment_get_one_fragment() -> None:
    """Of the same key; another key is another one."""

    async def work(shared: SharedFragments, maker: Maker, _clock: HandClock) -> None:
        answers = await asyncio.gather(*(shared.get("one", maker.make) for _ in range(50)))
        assert {bytes(answer.body) for answer in answers} == {b"1"}
        assert (await shared.get("other", maker.make)).body == b"2"

    with_fragments(work)


def test_a_fragment_is_made_anew_though_nothing_was_told() -> None:
    """After a second: what it says of the time would be wrong."""

    async def work(shared: SharedFragments, maker: Maker, clock: HandClock) -> None:
        await shared.get("one", maker.make)
        clock.advance(999)
        assert (await shared.get("one", maker.make)).body == b"1"
        clock.advance(1)
        assert (await shared.get("one", maker.make)).body == b"2"
        clock.advance(600_000)
        assert (await shared.get("one", maker.make)).body == b"3"

    with_fragments(work)


def test_a_page_that_shows_something_newer_gets_a_newer_one() -> None:
    """And so do those who ask after it."""

    async def work(shared: SharedFragments, maker: Maker, clock: HandClock) -> None:
        await shared.get("one", maker.make)
        before = clock.now()
        clock.advance(200)
        assert (await shared.get("one", maker.make, before)).body == b"1"
        assert (await shared.get("one", maker.make, clock.now())).body == b"2"
        assert (await shared.get("one", maker.make, before)).body == b"2"

    with_fragments(work)


def test_what_could_not_be_made_is_tried_again() -> None:
    """By the next who asks."""

    async def work(shared: SharedFragments, maker: Maker, _clock: HandClock) -> None:
        maker.fails = True
        with pytest.raises(ValueError, match=r"^$"):
            await shared.get("one", maker.make)
        maker.fails = False
        assert (await shared.get("one", maker.make)).body == b"2"

    with_fragments(work)

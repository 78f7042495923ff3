"""Calls on their way to the transactor's thread and back."""

import asyncio
import weakref

from cstp_server.clock import SystemClock
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Decided, Needs, View
from cstp_server.storage.calls import Calls, Limits


class Question:
    """A use case that is handed over, and not carried out."""

    tenant = "default"
    caller = None

    def needs(self, policy: Policy, view: View) -> Needs:
        """Nothing."""
        return Needs()

    def decide(self, policy: Policy, view: View, now: int) -> Decided[str]:
        """Nothing."""
        return Decided("nothing")


def test_what_a_call_was_about_is_let_go_of_as_soon_as_it_is_answered() -> None:
    """Neither the queue nor the watch for deadlines keeps a use case or its answer beyond the answer itself."""

    async def ask() -> None:
        calls = Calls(SystemClock(), Limits(), lambda _depth: None)
        calls.open()
        question = Question()
        seen = weakref.ref(question)
        answer = calls.offer(question)
        asked = asyncio.ensure_future(answer)
        del question, answer
        await asyncio.sleep(0)
        calls.close()
        jobs = calls.begin(calls.take()[0])
        jobs[0].result = "certainly"
        calls.answer(jobs)
        del jobs
        assert await asked == "certainly"
        assert seen() is None

    asyncio.run(ask())


def test_a_fault_reaches_whoever_asked() -> None:
    """What the thread has put in the answer's place is raised."""

    async def ask() -> type[BaseException]:
        calls = Calls(SystemClock(), Limits(), lambda _depth: None)
        calls.open()
        answer = calls.offer(Question())
        asked = asyncio.ensure_future(answer)
        await asyncio.sleep(0)
        calls.close()
        jobs = calls.begin(calls.take()[0])
        jobs[0].result = StoreUnavailable()
        calls.answer(jobs)
        try:
            await asked
        except StoreUnavailable as fault:
            return type(fault)
        raise AssertionError("it was answered")

    assert asyncio.run(ask()) is StoreUnavailable

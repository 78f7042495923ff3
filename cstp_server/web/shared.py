"""Fragments that many pages ask for at the same moment, made once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from starlette.responses import Response

_MOST = 128


class SharedFragments:
    """Makes a fragment for the first who asks, and gives it to all who ask for the same of the same edition."""

    def __init__(self) -> None:
        self._making: OrderedDict[Hashable, asyncio.Task[Response]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Response]]) -> Response:
        """The fragment of that key. What could not be made is not kept."""
        task = self._making.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.ensure_future(_made(make))
            self._making[key] = task
            if len(self._making) > _MOST:
                self._making.popitem(last=False)
        return await asyncio.shield(task)


async def _made(make: Callable[[], Awaitable[Response]]) -> Response:
    return await make()

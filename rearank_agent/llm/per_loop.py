"""Something with connections, once for each event loop that uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar
from weakref import WeakMethod

__all__ = ["PerLoop"]

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class PerLoop(Generic[T]):
    """Makes one for each event loop, opens it there, and closes it when the loop ends.

    Args:
        make: makes one; called once at once, since making one finds what is not set.

    Attributes:
        first: the one that the first event loop uses.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.first = make()
        self._unused = iter([self.first])  # making one takes 30 ms
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        self._open: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def get(self) -> T:
        """The one of this event loop, open."""
        loop = asyncio.get_running_loop()
        if (made := self._made.get(loop)) is None:
            made = self._made[loop] = next(self._unused, None) or self._make()
            self._open[loop] = _kept_open(made, WeakMethod(self._forget), loop)
            await anext(self._open[loop])
        return made

    async def close(self) -> None:
        """Close the one of this event loop now; it is made again when needed."""
        if opened := self._open.get(asyncio.get_running_loop()):
            await opened.aclose()

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._made.pop(loop, None)
        self._open.pop(loop, None)


async def _kept_open(
    made: AbstractAsyncContextManager[Any],
    forget: WeakMethod[Callable[[asyncio.AbstractEventLoop], None]],
    loop: asyncio.AbstractEventLoop,
) -> AsyncGenerator[None, None]:
    """Keep it open: a loop that ends closes the generators begun on it."""
    try:
        async with made:
            yield
    finally:
        if method := forget():
            method(loop)

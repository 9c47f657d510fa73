"""Requests without pause while something happens, and what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.e2e.probes import answered_by
from tests.sandbox.dataplane.world import Answer, MeshWorld
from tests.waiting import eventually

_CALLERS: Final = 2
_PAUSE: Final = 0.05


class Load:
    """The answers to the requests so far, in the order of time."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    @property
    def failed(self) -> list[str]:
        """What became of those that were not answered."""
        return [f"{one.status} {one.error or one.body}" for one in self.answers if one.error or not answered_by(one)]

    @property
    def by_mesh(self) -> Counter[str]:
        """How many each mesh answered."""
        return Counter(map(answered_by, self.answers))

    async def more(self, count: int = 10) -> list[Answer]:
        """The next ``count`` answers; who waits for them knows that requests went on meanwhile."""
        begun = len(self.answers) + _CALLERS  # those under way began before
        await eventually(lambda: len(self.answers) >= begun + count, what=f"{count} more answers")
        return self.answers[begun : begun + count]


@asynccontextmanager
async def load(mesh: MeshWorld, url: str, *, caller: str = "caller") -> AsyncIterator[Load]:
    """Call ``url`` from ``caller`` without pause while the context lasts; every request is one of its own."""
    found = Load()

    async def call() -> None:
        while True:
            found.answers.append(await mesh.request(url, from_=caller))
            await asyncio.sleep(_PAUSE)

    tasks = [asyncio.create_task(call()) for _ in range(_CALLERS)]
    try:
        await found.more(1)
        yield found
        await found.more(1)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

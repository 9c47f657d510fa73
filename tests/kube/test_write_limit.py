"""How many writes are under way at once, in virtual time: where the server has room, is slow, or has too much."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from meshfed.kube import KubeError, TransportError, WorkQueue
from meshfed.kube.errors import TooManyRequests
from meshfed.kube.queue import EVENTS, FIRST, LEAST, MOST, OBJECTS, STATUSES, WriteLimit
from tests.kube.memory import failure
from tests.waiting import meanwhile

pytestmark = pytest.mark.looptime


class Server:
    """Works on ``room`` writes at a time, each of which takes ``seconds``; the others wait.

    It refuses what is more than ``bears``, for ``retry_after`` seconds, or all that it ``fails``.
    """

    def __init__(self, limit: WriteLimit, *, room: int = 1000, seconds: float = 0.1) -> None:
        self.limit = limit
        self.slots = asyncio.Semaphore(room)
        self.seconds = seconds
        self.bears = 10**6
        self.retry_after: float | None = 1.0
        self.fails: KubeError | None = None
        self.under_way = self.most = self.refused = 0
        self.asked: list[float] = []
        self.done: list[int] = []

    async def write(self, number: int) -> bool:
        loop = asyncio.get_running_loop()
        begun, error = loop.time(), None
        self.asked.append(begun)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.fails is not None:
                await asyncio.sleep(self.seconds)
                error = self.fails
            elif self.under_way > self.bears:
                self.refused += 1
                error = TooManyRequests(429, "TooManyRequests", "too many", retry_after=self.retry_after)
            else:
                async with self.slots:
                    await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        self.limit.answered(begun, error)
        if error is None:
            self.done.append(number)
        return error is None


@contextlib.asynccontextmanager
async def loaded(server: Server, keys: int = 100_000) -> AsyncIterator[WorkQueue[int]]:
    """A queue that has more to write than it ever can in this test."""
    queue = WorkQueue[int](limit=server.limit)

    async def work(key: int) -> None:
        if not await server.write(key):
            queue.retry(key)

    for key in range(keys):
        queue.add(key)
    async with meanwhile(queue.run(work, workers=MOST)):
        yield queue


async def test_where_the_server_has_room_there_are_more_up_to_a_bound() -> None:
    server = Server(WriteLimit())
    async with loaded(server):
        await asyncio.sleep(0.05)
        assert server.under_way == FIRST
        await asyncio.sleep(5)
        assert server.limit.allowed == server.under_way == MOST


async def test_with_nothing_to_do_it_tries_no_more() -> None:
    limit = WriteLimit()
    server = Server(limit)
    for number in range(200):
        async with limit.slot(OBJECTS):
            await server.write(number)
    assert limit.allowed == FIRST


@pytest.mark.parametrize("room", [1, 4, 10])
async def test_of_more_than_the_server_has_room_for_few_wait(room: int) -> None:
    server = Server(WriteLimit(), room=room)
    async with loaded(server):
        await asyncio.sleep(15)
        assert room <= server.limit.allowed <= room + 16, "it never does nothing, and few wait"
        before, now = len(server.done), asyncio.get_running_loop().time()
        await asyncio.sleep(5)
        passed = asyncio.get_running_loop().time() - now
        assert len(server.done) - before == pytest.approx(passed * room / server.seconds, rel=0.05)


async def test_a_server_that_gets_slow_is_asked_as_much_as_before_and_gets_all_again() -> None:
    server = Server(WriteLimit())
    async with loaded(server):
        await asyncio.sleep(5)
        assert server.limit.allowed == MOST
        server.seconds = 2.0
        await asyncio.sleep(120)
        assert FIRST <= server.limit.allowed <= MOST
        server.seconds = 0.1
        await asyncio.sleep(25)
        assert server.limit.allowed == MOST


async def test_a_server_that_refuses_is_left_alone_for_as_long_as_it_wants() -> None:
    server = Server(WriteLimit())
    async with loaded(server):
        await asyncio.sleep(5)
        server.bears, server.retry_after = 0, 5.0
        await asyncio.sleep(0.2)
        server.asked.clear()
        await asyncio.sleep(4.5)
        assert not server.asked
        await asyncio.sleep(60)
        assert server.limit.allowed == LEAST
        assert len(server.asked) <= (60 / 5 + 1) * MOST / 2, "what is refused is asked ever less"
        await asyncio.sleep(60)
        server.asked.clear()
        await asyncio.sleep(60)
        assert len(server.asked) <= (60 / 5 + 1) * LEAST
        # and it recovers
        server.bears = 10**6
        server.done.clear()
        await asyncio.sleep(10)
        assert len(server.done) > 50
        assert server.limit.allowed > FIRST


async def test_what_a_server_bears_is_found() -> None:
    server = Server(WriteLimit())
    server.bears, server.retry_after = 12, None
    async with loaded(server):
        await asyncio.sleep(60)
        assert 3 <= server.limit.allowed <= 13
        server.refused = 0
        server.done.clear()
        await asyncio.sleep(60)
        assert server.refused / len(server.done) < 0.02
        assert len(server.done) > 60 / 0.1 * 12 / 2, "more than half of what could be done"


async def test_no_wait_is_longer_than_half_a_minute_whatever_the_server_wants() -> None:
    server = Server(WriteLimit())
    server.bears, server.retry_after = 0, 300.0
    async with loaded(server):
        await asyncio.sleep(1)
        server.bears = 10**6
        await asyncio.sleep(31)
        assert server.done


@pytest.mark.parametrize("error", [TransportError("reset"), failure(500)], ids=["transport", "failure"])
async def test_failures_which_may_be_of_few_objects_alone_take_it_to_what_it_began_with_and_no_lower(
    error: KubeError,
) -> None:
    server = Server(WriteLimit())
    async with loaded(server):
        await asyncio.sleep(5)
        server.fails = error
        await asyncio.sleep(10)
        assert server.limit.allowed == FIRST
        server.fails = None
        await asyncio.sleep(40)
        assert server.limit.allowed == MOST


async def test_a_failure_does_not_undo_what_the_server_asked_for() -> None:
    limit = WriteLimit()
    for number in range(5):
        await asyncio.sleep(1)
        limit.answered(float(number), TooManyRequests(429, "TooManyRequests", "too many"))
    assert limit.allowed == LEAST
    await asyncio.sleep(1)
    limit.answered(6.0, failure(500))
    assert limit.allowed == LEAST


async def test_what_was_under_way_when_it_was_too_much_counts_once() -> None:
    limit = WriteLimit()
    limit.allowed = MOST
    await asyncio.sleep(10)
    for _ in range(MOST):
        limit.answered(9.0, TooManyRequests(429, "TooManyRequests", "too many"))
    assert limit.allowed == MOST // 2


async def test_objects_come_before_statuses_and_all_come_to_an_end() -> None:
    limit = WriteLimit()
    server = Server(limit)
    written: Counter[int] = Counter()

    async def write(rank: int) -> None:
        while True:
            async with limit.slot(rank):
                await server.write(0)
                written[rank] += 1

    tasks = [asyncio.create_task(write(rank)) for rank in (EVENTS, STATUSES, OBJECTS) for _ in range(MOST)]
    await asyncio.sleep(100)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert written[OBJECTS] == pytest.approx(15 * written[EVENTS], rel=0.05)
    assert limit.under_way == 0


async def test_who_gives_up_takes_no_slot_along() -> None:
    limit = WriteLimit()
    for _ in range(FIRST):
        await limit.begin(OBJECTS)
    waiting = [asyncio.create_task(limit.begin(OBJECTS)) for _ in range(2)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    await asyncio.sleep(0)
    limit.end()
    await asyncio.sleep(0)
    assert waiting[1].done()
    again = asyncio.create_task(limit.begin(OBJECTS))
    await asyncio.sleep(1)
    limit.end()
    again.cancel()  # it was let begin in this very moment
    await asyncio.sleep(0)
    assert limit.under_way == FIRST - 1


async def test_a_key_is_taken_once_it_may_be_written_and_not_before() -> None:
    """So that it is the flows that take turns, and not the workers."""
    server = Server(WriteLimit(), seconds=1.0)
    queue = WorkQueue[int](flow=lambda key: key % 2, limit=server.limit)

    async def work(key: int) -> None:
        await server.write(key)

    for key in range(0, 2000, 2):
        queue.add(key)
    async with meanwhile(queue.run(work, workers=MOST)):
        await asyncio.sleep(0.5)
        queue.add(1)
        await asyncio.sleep(1.6)
        assert 1 in server.done[: 2 * FIRST]

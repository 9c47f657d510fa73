"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from meshfed.kube import QueueStatistics, WorkQueue
from tests.waiting import meanwhile

pytestmark = pytest.mark.looptime


@contextlib.asynccontextmanager
async def working(
    queue: WorkQueue[str], work: Callable[[str], Awaitable[None]], workers: int = 1
) -> AsyncIterator[None]:
    async with meanwhile(queue.run(work, workers=workers)):
        yield


async def test_a_key_waits_once_in_the_order_it_came() -> None:
    queue = WorkQueue[str]()
    for key in "abca":
        queue.add(key)
    assert queue.statistics() == QueueStatistics(ready=3, processing=0, delayed=0, handed_out=0)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]


async def test_a_key_is_never_worked_out_twice_at_a_time_and_comes_round_again() -> None:
    queue = WorkQueue[str]()
    running: list[str] = []
    log: list[str] = []

    async def work(key: str) -> None:
        assert key not in running
        running.append(key)
        log.append(key)
        if log == ["a"]:
            queue.add("a")
            queue.add("a")
            queue.add("b")
        await asyncio.sleep(1)
        running.remove(key)

    async with working(queue, work, workers=3):
        queue.add("a")
        await queue.idle()
        assert log == ["a", "b", "a"]
        assert queue.statistics() == QueueStatistics(ready=0, processing=0, delayed=0, handed_out=3)


async def test_workers_are_bounded() -> None:
    queue = WorkQueue[str]()
    now = most = 0

    async def work(_: str) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(1)
        now -= 1

    async with working(queue, work, workers=4):
        for number in range(40):
            queue.add(str(number))
        await queue.idle()
        assert most == 4
        assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)


async def test_where_one_flow_has_all_workers_the_next_free_one_is_anothers() -> None:
    queue = WorkQueue[str](flow=lambda key: key.partition("-")[0])
    log: list[str] = []

    async def work(key: str) -> None:
        log.append(key)
        await asyncio.sleep(1)

    async with working(queue, work, workers=8):
        for number in range(1000):
            queue.add(f"west-{number}")
        await asyncio.sleep(9.5)
        begun = len(log)
        queue.add("east-0")
        queue.add_after("south-0", 2)
        queue.add("west-0")
        await asyncio.sleep(3)
        assert log[begun] == "east-0"
        assert log.index("south-0") <= begun + 2 * 8 + 8
        assert "west-0" not in log[begun:], "in its own flow it comes last"
    assert all(log.count(key) == 1 for key in log)


async def test_what_is_tried_again_waits_in_its_flow_too() -> None:
    queue = WorkQueue[str](flow=lambda key: key[0], base=1, cap=1, rng=lambda: 1.0)
    for number in range(100):
        queue.add(f"w{number}")
    queue.add("e")
    assert [await queue.get(), await queue.get()] == ["w0", "e"]
    queue.retry("e")
    queue.done("e")
    await asyncio.sleep(2)
    assert [await queue.get() for _ in range(2)] == ["w1", "e"]
    queue.close()


async def test_the_earliest_time_counts() -> None:
    queue = WorkQueue[str]()
    loop = asyncio.get_running_loop()
    log: list[tuple[str, float]] = []

    async def work(key: str) -> None:
        log.append((key, round(loop.time(), 1)))

    async with working(queue, work):
        queue.add_after("late", 10)
        queue.add_after("late", 20)
        queue.add_after("early", 10)
        queue.add_after("early", 5)
        queue.add_after("now", 30)
        queue.add("now")
        queue.add_after("zero", 0)
        assert queue.statistics() == QueueStatistics(ready=2, processing=0, delayed=2, handed_out=0)
        await asyncio.sleep(100)
    assert log == [("now", 0.0), ("zero", 0.0), ("early", 5.0), ("late", 10.0)]


async def test_retries_wait_longer_each_time_until_it_goes_well() -> None:
    queue = WorkQueue[str](base=1, cap=10, rng=lambda: 1.0)
    assert [queue.retry("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert queue.retry("b") == 1
    assert queue.retry("b", at_least=60) == 60

    async def work(key: str) -> None:
        if key == "b":
            queue.retry(key)

    async with working(queue, work):
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(0.1)
        assert (queue.retry("a"), queue.retry("b")) == (1, 8)


async def test_a_bug_that_one_key_brings_out_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    queue = WorkQueue[str](rng=lambda: 1.0)
    log: list[str] = []

    async def work(key: str) -> None:
        log.append(key)
        if log == ["bad"]:
            raise RuntimeError("a bug")

    async with working(queue, work):
        queue.add("bad")
        queue.add("good")
        await asyncio.sleep(0.1)
        assert log == ["bad", "good"]
        await asyncio.sleep(0.2)
        assert log == ["bad", "good", "bad"]
    assert "working out bad failed; it is tried again" in caplog.text


async def test_nothing_is_left_when_it_ends() -> None:
    queue = WorkQueue[str]()

    async def work(_: str) -> None:
        await asyncio.sleep(1000)

    async with working(queue, work, workers=2):
        queue.add("a")
        queue.add_after("b", 5)
        await asyncio.sleep(1)
    assert queue.statistics() == QueueStatistics(ready=0, processing=0, delayed=0, handed_out=1)

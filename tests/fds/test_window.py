"""How long changes are gathered: nothing after quiet, longer under load, and back again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from meshfed.fds import ExportSet
from meshfed.fds.exports import FEW, Window
from tests.builders import host, offer

from .support import ready
from .test_incremental import World, world

LEAST, MOST = 0.05, 0.4


def sent(window: Window, *changes: tuple[float, int]) -> list[float]:
    """Send so many changes at each of the times; returns how long the window is after each."""
    lengths = []
    for now, number in changes:
        window.sent(now, number)
        lengths.append(window.length)
    return lengths


def under_load(window: Window, times: int) -> Iterator[float]:
    now = 0.0
    for _ in range(times):
        window.sent(now, FEW + 1)
        yield window.length
        now += window.left(now)


def test_after_quiet_nothing_waits() -> None:
    window = Window(LEAST, MOST)
    assert window.left(100.0) == 0
    window.sent(100.0, 1)
    assert window.left(100.0) == pytest.approx(LEAST)
    assert window.left(100.0 + LEAST) == 0


def test_it_grows_under_load_up_to_its_bound() -> None:
    assert list(under_load(Window(LEAST, MOST), 6)) == [0.1, 0.2, 0.4, 0.4, 0.4, 0.4]


def test_a_few_changes_do_not_make_it_longer() -> None:
    assert sent(Window(LEAST, MOST), (0.0, FEW), (0.05, FEW), (0.1, FEW)) == [LEAST] * 3


def test_it_shrinks_by_half_with_each_message_of_few() -> None:
    window = Window(LEAST, MOST)
    assert list(under_load(window, 3))[-1] == MOST  # until 0.7
    assert sent(window, (0.7, 1), (0.9, 1), (1.0, 1)) == [0.2, 0.1, LEAST]


def test_it_shrinks_by_half_with_each_that_passes_without_any() -> None:
    window = Window(LEAST, MOST)
    list(under_load(window, 3))  # its window ends at 0.7
    assert sent(window, (0.7 + 0.41, 1)) == [0.1], "one passed, and this one was of few"
    window = Window(LEAST, MOST)
    list(under_load(window, 3))
    assert sent(window, (3600.0, 1000)) == [2 * LEAST], "what was an hour ago counts for nothing"


@pytest.mark.parametrize("least", [0.0, LEAST])
def test_it_takes_any_time(least: float) -> None:
    window = Window(least, MOST)
    for now in (1e9, 1e-9, 0.0):
        window.sent(now, 1)
        window.sent(now, 1)
        assert least <= window.length <= MOST


# --- on a stream


async def churn(exports: ExportSet, seconds: float, *, every: float) -> int:
    """Change a service every so many seconds."""
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while loop.time() < begun + seconds:
        exports.set(offer(f"s{number % 100}", labels={"n": str(number)}), None)
        number += 1
        await asyncio.sleep(every)
    return number


async def pushes(w: World, seconds: float, *, every: float) -> tuple[int, int]:
    """How many messages so many changes are."""
    before = len(w.responses)
    number = await churn(w.exports, seconds, every=every)
    await asyncio.sleep(1.0)
    return len(w.responses) - before, number


@pytest.mark.looptime
async def test_the_first_change_after_quiet_is_told_at_once() -> None:
    exports = ready(offer("a"))
    async with world(exports) as w:
        await w.sink.until_offered("a")
        await asyncio.sleep(5)
        begun = asyncio.get_running_loop().time()
        exports.set(offer("b"), None)
        await w.sink.until_offered("a", "b")
        assert asyncio.get_running_loop().time() - begun < 0.001
        exports.set(offer("c"), None)
        await w.sink.until_offered("a", "b", "c")
        passed = asyncio.get_running_loop().time() - begun
        assert passed == pytest.approx(LEAST, abs=0.001), "what follows is gathered"


@pytest.mark.looptime
@pytest.mark.parametrize("dialect", ["delta", "sotw"])
@pytest.mark.parametrize("before", [None, 0.001, 0.049])
async def test_withdrawals_are_told_together_however_long_it_was_quiet(before: float | None, dialect: Any) -> None:
    """So that a withdrawal of much is seen as one, and can be held: the first of it does not slip through."""
    names = [f"s{number}" for number in range(24)]
    exports = ready(*(offer(name) for name in names), offer("other"))
    async with world(exports, dialect=dialect) as w:
        await w.sink.until_offered(*names, "other")
        await asyncio.sleep(5)
        if before is not None:  # something else was told a moment ago
            exports.set(offer("other", labels={"n": "1"}), None)
            await asyncio.sleep(before)
        updates = len(w.sink.updates)
        for name in names:
            exports.remove(host(name))
            await asyncio.sleep(0.0005)
        await w.sink.until_offered("other")
        taking = [one for one in w.sink.updates[updates:] if one.removals or one.complete]
        assert len(taking) == 1


@pytest.mark.looptime
async def test_what_changes_without_end_is_a_few_messages_a_second() -> None:
    exports = ready(offer("a"))
    async with world(exports) as w:
        await w.sink.until_offered("a")
        await asyncio.sleep(5)
        messages, changes = await pushes(w, 10, every=0.001)
        assert changes > 9000
        assert messages <= 10 / MOST + 5
        await asyncio.sleep(5)
        begun = asyncio.get_running_loop().time()
        exports.set(offer("b"), None)
        await w.sink.until_offered("b", *{one.host.split(".")[0] for one in w.sink.offers.values()})
        assert asyncio.get_running_loop().time() - begun < 0.001, "and then it is quiet again"


@pytest.mark.looptime
@pytest.mark.parametrize(("every", "most"), [(0.2, 51), (0.05, 202), (0.02, 202), (0.01, 110)])
async def test_there_are_never_more_messages_than_one_a_least_window(every: float, most: int) -> None:
    exports = ready(offer("a"))
    async with world(exports) as w:
        await w.sink.until_offered("a")
        await asyncio.sleep(5)
        messages, _ = await pushes(w, 10, every=every)
        assert messages <= most


@pytest.mark.looptime
async def test_what_comes_while_a_message_is_sent_is_gathered() -> None:
    """A subscriber that takes its messages slowly is sent fewer, and not one for each change that came meanwhile."""
    exports = ready(offer("a"))
    async with world(exports) as w:
        await w.sink.until_offered("a")
        await asyncio.sleep(5)
        call = w.call
        send = call.send

        async def slowly(message: bytes) -> None:
            await asyncio.sleep(0.03)
            await send(message)

        call.send = slowly  # type: ignore[method-assign]
        messages, changes = await pushes(w, 5, every=0.01)
        assert changes > 400
        assert messages < 60

"""DNS for remotes given by name: errors, empty answers and the order of answers change nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshfed.controller.remotes.resolver import PERIOD, Lookup, Resolver, system_lookup

pytestmark = pytest.mark.looptime


class Names:
    """A name server under the test's control, and what the resolver made of it."""

    def __init__(self) -> None:
        self.wanted = frozenset({"gw.west.example"})
        self.answers: dict[str, tuple[str, ...] | Exception] = {"gw.west.example": ("192.0.2.1",)}
        self.asked: list[str] = []
        self.changes: list[tuple[str, tuple[str, ...]]] = []

    async def lookup(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def changed(self, name: str, addresses: tuple[str, ...]) -> None:
        self.changes.append((name, addresses))


@asynccontextmanager
async def resolving(names: Names, *, lookup: Lookup | None = None) -> AsyncIterator[Resolver]:
    resolver = Resolver(lambda: names.wanted, names.changed, lookup=lookup or names.lookup)
    task = asyncio.create_task(resolver.run())
    await asyncio.sleep(0.01)
    yield resolver
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_name_is_resolved_at_once_and_again_each_period() -> None:
    names = Names()
    async with resolving(names):
        assert names.changes == [("gw.west.example", ("192.0.2.1",))]
        await asyncio.sleep(3 * PERIOD)
        assert len(names.asked) == 4
        assert len(names.changes) == 1, "the same answer is no news"


async def test_a_new_answer_is_reported_and_trouble_is_not() -> None:
    names = Names()
    async with resolving(names):
        for answer in (OSError("no such host"), TimeoutError(), ()):
            names.answers["gw.west.example"] = answer
            await asyncio.sleep(PERIOD)
        assert len(names.changes) == 1
        names.answers["gw.west.example"] = ("192.0.2.1", "192.0.2.2")
        await asyncio.sleep(PERIOD)
        assert names.changes[1:] == [("gw.west.example", ("192.0.2.1", "192.0.2.2"))]


async def test_the_order_of_answers_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [("192.0.2.2", 0), ("192.0.2.1", 0), ("2001:db8::1", 0, 0, 0)]
    asked = 0

    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        nonlocal asked
        asked += 1
        answers.reverse()
        return [(0, 0, 0, "", address) for address in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    names = Names()
    async with resolving(names, lookup=system_lookup):
        await asyncio.sleep(3 * PERIOD)
    assert asked > 3
    assert names.changes == [("gw.west.example", ("192.0.2.1", "192.0.2.2", "2001:db8::1"))]


async def test_a_name_that_is_newly_wanted_does_not_wait_for_the_next_turn() -> None:
    names = Names()
    async with resolving(names) as resolver:
        names.answers["gw.north.example"] = ("192.0.2.9",)
        names.wanted = frozenset({"gw.north.example"})
        resolver.poke()
        await asyncio.sleep(0.1)
        assert names.changes[-1] == ("gw.north.example", ("192.0.2.9",))
        asked = len(names.asked)
        await asyncio.sleep(PERIOD)
        assert names.asked[asked:] == ["gw.north.example"], "a name that is wanted no more is asked for no more"


async def test_a_name_server_that_never_answers_holds_up_no_other_name() -> None:
    names = Names()
    names.wanted = frozenset({"gw.west.example", "silent.example"})
    silent = asyncio.Event()

    async def lookup(name: str) -> tuple[str, ...]:
        if name == "silent.example":
            await silent.wait()
        return await Names.lookup(names, name)

    resolver = Resolver(lambda: names.wanted, names.changed, lookup=lookup)
    task = asyncio.create_task(resolver.run())
    await asyncio.sleep(0.1)
    assert names.changes == [("gw.west.example", ("192.0.2.1",))]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

"""What a remote is told of its own offers, from a leading controller in virtual time: what is in place, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshfed.fds.messages import version_of
from meshfed.kube import KubeError, ServerFailure
from meshfed.model.offers import Port
from meshfed.plan.import_objects import ImportObjects
from tests.builders import HTTP, SYSTEM, host, mesh_federation, namespace, offer, remote_mesh
from tests.controller.in_memory import Remote, World

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch, *offered: str, **import_: Any
) -> AsyncIterator[tuple[World, Remote]]:
    """A mesh that imports from west, which offers this from the start, once all of that was done."""
    west = Remote()
    west.offer(*map(offer, offered))
    world = World(monkeypatch, west=west)
    world.put(namespace("default"), namespace(SYSTEM), mesh_federation("east"), remote_mesh("west", import_=import_))
    await world.start()
    await asyncio.sleep(10)
    yield world, west
    await world.stop()


def in_place(*names: str) -> dict[str, str]:
    return {host(name): version_of(offer(name)) for name in names}


def set_import(world: World, **fields: Any) -> None:
    world.edit("RemoteMesh", "west", lambda one: one["spec"]["import"].update(fields), namespace=SYSTEM)


async def test_what_is_in_place_is_told_and_what_a_rule_keeps_out_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [{"action": "Deny", "hosts": ["secret*"]}, {"action": "Import"}]
    async with running(monkeypatch, "ratings", "secret", rules=rules) as (world, west):
        assert (west.imported, west.told_all) == (in_place("ratings"), True)
        west.offer(offer("reviews"), offer("secret-2"))
        await asyncio.sleep(10)
        assert west.imported == in_place("ratings", "reviews")
        set_import(world, rules=[{"action": "Deny", "hosts": ["ratings*"]}, {"action": "Import"}])
        await asyncio.sleep(10)
        assert west.imported == in_place("reviews", "secret", "secret-2")
        west.withdraw(host("reviews"))
        await asyncio.sleep(10)
        assert west.imported == in_place("secret", "secret-2")


async def test_what_cannot_be_written_is_told_once_it_is_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, "ratings") as (world, west):
        failing: list[KubeError] = [ServerFailure(503, "ServiceUnavailable", "etcd has no leader")]

        def refuse(verb: str, name: str) -> KubeError | None:
            return failing[0] if failing and verb in {"create", "update"} and not name.endswith(".west") else None

        world.cluster.refuse = refuse
        changed = offer("ratings", ports=(HTTP, ADMIN))
        west.offer(changed, offer("reviews"))
        await asyncio.sleep(300)
        assert west.imported == in_place("ratings"), "that it changed there is not in place here yet"
        failing.clear()
        await asyncio.sleep(600)
        assert west.imported == in_place("reviews") | {host("ratings"): version_of(changed)}


ADMIN = Port(number=81, name="http-2", protocol="HTTP")


async def test_a_change_that_changes_no_object_is_in_place_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, "ratings") as (_, west):
        changed = offer("ratings", locality="r/z")
        west.offer(changed)
        await asyncio.sleep(10)
        assert west.imported == {host("ratings"): version_of(changed)}


async def test_an_announcement_that_cannot_be_used_is_in_place_under_no_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch, "ratings") as (_, west):
        west.offer(offer("ratings", ports=()))
        await asyncio.sleep(10)
        assert west.imported == {host("ratings"): ""}
        west.offer(offer("ratings"))
        await asyncio.sleep(10)
        assert west.imported == in_place("ratings")


async def test_nothing_is_told_where_it_is_not_to_be_and_that_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, "ratings", confirm=False) as (world, west):
        west.offer(offer("reviews"))
        await asyncio.sleep(60)
        assert (west.imported, west.requests) == ({}, 0)
        set_import(world, confirm=True)
        await asyncio.sleep(10)
        assert (west.imported, west.told_all) == (in_place("ratings", "reviews"), True)
        set_import(world, confirm=False)
        await asyncio.sleep(10)
        assert (west.imported, west.told_all) == ({}, False)
        west.offer(offer("details"))
        await asyncio.sleep(60)
        assert west.imported == {}


async def test_after_an_outage_or_a_restart_all_is_told_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, "ratings", "reviews") as (world, west):
        west.away = True
        west.tell()
        await asyncio.sleep(10)
        assert west.imported == {}
        west.away = False
        west.tell()
        await asyncio.sleep(10)
        assert (west.imported, west.told_all) == (in_place("ratings", "reviews"), True)
        await world.stop()
        west.forget()
        await world.start()
        await asyncio.sleep(20)
        assert (west.imported, west.told_all) == (in_place("ratings", "reviews"), True)


async def test_another_session_tells_what_its_predecessor_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, "ratings") as (world, west):
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update(addresses=["192.0.2.77"]), namespace=SYSTEM)
        await asyncio.sleep(20)
        assert (west.imported, west.told_all) == (in_place("ratings"), True)


async def test_what_is_held_is_in_place_still(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{number}" for number in range(30)]
    async with running(monkeypatch, *names) as (_, west):
        for name in names[:25]:
            del west.offers[host(name)]
        west.tell()
        await asyncio.sleep(60)
        assert west.imported == in_place(*names)
        await asyncio.sleep(600)
        assert west.imported == in_place(*names[25:])


async def test_where_nothing_changes_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch, "ratings", "reviews") as (_, west):
        before = west.requests
        assert before <= 3
        await asyncio.sleep(3600)
        assert west.requests == before


async def test_as_long_as_our_code_fails_on_a_host_what_was_told_of_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:

    async with running(monkeypatch, "ratings", "reviews") as (_, west):
        reconcile, failing = ImportObjects.reconcile, [True]

        def broken(self: ImportObjects, name: str) -> Any:
            if failing and name == host("ratings"):
                raise ValueError("a fault")
            return reconcile(self, name)

        monkeypatch.setattr(ImportObjects, "reconcile", broken)
        changed = [offer(name, ports=(HTTP, ADMIN)) for name in ("ratings", "reviews")]
        west.offer(*changed)
        await asyncio.sleep(60)
        assert west.imported == in_place("ratings") | {host("reviews"): version_of(changed[1])}
        failing.clear()
        await asyncio.sleep(600)
        assert west.imported == {one.host: version_of(one) for one in changed}

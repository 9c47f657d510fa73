"""No exception of ours takes anything away: each function of the deciding rooms is made to raise, one at a time.

It raises for one object: the first that it is given of those whose name has ``poison`` in it, or, where it is given
none, at its first call. The controller is restarted with it while the remotes are away, and the objects change with it
while it runs.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import looptime
import pytest

import meshfed.controller
import meshfed.federation
import meshfed.istio
import meshfed.plan
from meshfed.controller import faults
from meshfed.kube import Manifest
from tests.controller.in_memory import Remote, World, errors
from tests.controller.meshes import federation, namespace, pod, remote, service
from tests.controller.remotes import HTTP, host, offer


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle hour is virtual, but has thousands of timers all the same."""
    monkeypatch.setattr(faults, "LAST_RETRY", 16.0)
    monkeypatch.setattr(faults, "ASIDE_LAST", 60.0)


ROOMS = (meshfed.federation, meshfed.plan, meshfed.istio)


class Function(NamedTuple):
    """Where a function is defined, and under which names it stands."""

    name: str
    places: tuple[tuple[Any, str], ...]


def functions() -> Iterator[Function]:
    """Every function and method of the deciding rooms."""
    modules = [
        importlib.import_module(found.name)
        for room in (*ROOMS, meshfed.controller)
        for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
    ]
    names: dict[Any, list[tuple[Any, str]]] = {}
    for module in (*modules, *ROOMS):
        for name, value in vars(module).items():
            if inspect.isfunction(value):
                names.setdefault(value, []).append((module, name))
            elif inspect.isclass(value) and value.__module__ == module.__name__:
                for attribute, member in vars(value).items():
                    if inspect.isfunction(member) and not attribute.startswith("__"):
                        names.setdefault(member, []).append((value, attribute))
    for function, places in names.items():
        if function.__module__.startswith(tuple(room.__name__ for room in ROOMS)):
            yield Function(f"{function.__module__}.{function.__qualname__}", tuple(places))


class Boom(Exception):
    """What is raised."""


class Raising:
    """Makes a function raise for one object while it is armed."""

    def __init__(self, function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed = False
        self.times = 0
        self._poison = ""
        for place, name in function.places:
            monkeypatch.setattr(place, name, self._wrapped(inspect.getattr_static(place, name)))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self.armed and self._hits(repr((args, kwargs))):
                self.times += 1
                raise Boom(original.__qualname__)
            return original(*args, **kwargs)

        return wrapper

    def _hits(self, given: str) -> bool:
        if not self._poison:
            self._poison = next((name for name in POISON if name in given), "")
        return self._poison in given if self._poison else not self.times


POISON = ("poison-export", "poison-offer", "poison-beside", "poison-remote")


def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A mesh that exports, imports from two remotes, and merges."""
    west, north = Remote(), Remote()
    found = World(monkeypatch, west=west, **{"poison-remote": north})
    found.put(namespace("istio-system"), namespace("default"), federation("east"))
    for name in ("details", "poison-export"):
        found.put(service(name, exported=True), pod(f"{name}-1", name))
    found.put(service("reviews"), service("poison-beside"))
    west.offer(*(offer(name) for name in ("ratings", "poison-offer", "reviews", "poison-beside")))
    north.offer(*(offer(name) for name in ("ratings", "stock")))
    for name in found.remotes:
        found.put(remote_mesh(name))
    return found


def remote_mesh(name: str) -> Manifest:
    class Named:
        discovery_port = 1

    Named.name = name  # type: ignore[attr-defined]
    if name == "west":
        return remote(Named(), addresses=["gw.example"], discovery={})  # type: ignore[arg-type]
    return remote(Named(), addresses=["192.0.2.9"])  # type: ignore[arg-type]


def changes(found: World) -> None:
    """Change every kind of object a little, so that nothing of it takes anything away."""
    for name in ("details", "poison-export"):
        found.edit("Service", name, lambda one: one["spec"]["ports"].append({"name": "admin", "port": 9090}))
    for name in ("reviews", "poison-beside"):
        found.edit("Service", name, lambda one: one["metadata"]["labels"].update(team="books"))
    found.put(pod("details-2", "details", account="other"), pod("poison-export-2", "poison-export", account="other"))
    for one in found.remotes.values():
        one.offer(*(offer(name, ports=(HTTP,), labels={"app": name, "v": "2"}) for name in list_of(one)))
    for name in found.remotes:
        found.edit("RemoteMesh", name, lambda one: one["spec"].update(priority=3), namespace="istio-system")
    found.edit(
        "MeshFederation",
        "east",
        lambda one: one["spec"]["ingress"]["gateway"].update(portConfig={"number": 15444}),
        namespace="istio-system",
    )


def list_of(one: Remote) -> list[str]:
    return [name.partition(".")[0] for name in one.offers]


async def sound(found: World) -> dict[str, Any]:
    """A while later, everything there is to see."""
    await asyncio.sleep(20)
    return {"written": found.written(), "offered": found.offered(), "said": found.said()}


def lost(before: dict[str, Any], found: World) -> list[str]:
    """What was there ``before`` and is no more: objects, hosts of Gateways, endpoints, and what subscribers are told."""
    now = found.written()
    gone = [f"{kind} {name}" for kind, name in before["written"].keys() - now.keys()]
    for (kind, name), spec in before["written"].items():
        after = now.get((kind, name), {})
        for path in ("servers", "endpoints", "hosts", "rules", "ports"):
            if len(str(after.get(path, ""))) < len(str(spec.get(path, ""))):
                gone.append(f"{path} of {kind} {name}: {spec.get(path)} is {after.get(path)}")
    assert found.publisher is not None
    # Subscribers who are told nothing at all keep what they have.
    return gone + (sorted(before["offered"] - found.offered()) if found.publisher._exports.ready else [])


async def unseen(found: World) -> list[str]:
    """Let a minute pass, and return where a fault was never to be seen."""
    missing = {"/readyz", "the metric", "the log"}
    with errors() as said:
        for _ in range(120):
            await asyncio.sleep(0.5)
            assert found.controller is not None
            if "Boom" in (found.controller.trouble or ""):
                missing.discard("/readyz")
            if any(True for metric in found.metrics.faults.collect() for _ in metric.samples):
                missing.discard("the metric")
    if any("Boom" in one for one in said):
        missing.discard("the log")
    return sorted(missing)


async def at_a_restart(function: Function, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    found = world(monkeypatch)
    raising = Raising(function, monkeypatch)
    await found.start()
    before = await sound(found)
    assert len(before["written"]) == 15, sorted(before["written"])
    await found.stop()
    for one in found.remotes.values():
        one.away = True
    raising.armed = True
    await found.start()
    missing = await unseen(found)
    wrong = lost(before, found) + (missing if raising.times else [])
    raising.armed = False
    for one in found.remotes.values():
        one.away = False
        one.tell()
    await asyncio.sleep(300)
    wrong += lost(before, found)
    after = await sound(found)
    assert found.controller is not None
    if after != before or found.controller.trouble:
        wrong.append(f"not as before: {found.controller.trouble} {difference(before, after)}")
    await found.stop()
    return raising.times, wrong


async def while_it_runs(function: Function, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    found = world(monkeypatch)
    raising = Raising(function, monkeypatch)
    await found.start()
    before = await sound(found)
    raising.armed = True
    changes(found)
    missing = await unseen(found)
    wrong = lost(before, found) + (missing if raising.times else [])
    raising.armed = False
    await asyncio.sleep(300)
    wrong += lost(before, found)
    after = await sound(found)
    await found.stop()
    await found.start()
    anew = await sound(found)
    if after != anew:
        wrong.append(f"not as worked out anew: {difference(anew, after)}")
    await found.stop()
    return raising.times, wrong


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    return "; ".join(
        f"{key}: {before[part].get(key) if isinstance(before[part], dict) else key in before[part]} is now "
        f"{after[part].get(key) if isinstance(after[part], dict) else key in after[part]}"
        for part in before
        for key in {*before[part], *after[part]}
        if (before[part].get(key) if isinstance(before[part], dict) else key in before[part])
        != (after[part].get(key) if isinstance(after[part], dict) else key in after[part])
    )


@pytest.mark.parametrize("room", [room.__name__.rpartition(".")[2] for room in ROOMS])
@pytest.mark.parametrize("moment", [at_a_restart, while_it_runs])
def test_a_function_that_raises_for_one_object_takes_nothing_away(moment: Any, room: str) -> None:
    raised, wrong = 0, dict[str, list[str]]()
    for function in functions():
        if not function.name.startswith(f"meshfed.{room}."):
            continue
        with (
            pytest.MonkeyPatch.context() as monkeypatch,
            asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0)) as runner,
        ):
            times, found = runner.run(moment(function, monkeypatch))
        raised += times > 0
        if found:
            wrong[function.name] = found
    assert not wrong, "\n".join(f"{name}: {found}" for name, found in wrong.items())
    assert raised > 20, "hardly any function was made to raise"

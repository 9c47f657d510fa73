"""No exception of ours takes anything away: each function of the deciding rooms is made to raise, one at a time.

It raises for one object: the first that it is given of those whose name has ``poison`` in it, or, where it is given
none, at its first call. The objects change with it while the controller runs, and then that is restarted with it while
the remotes are away.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import meshfed.controller
import meshfed.federation
import meshfed.istio
import meshfed.plan
from meshfed.api.core import Service
from meshfed.controller import faults
from meshfed.derive import Input
from meshfed.kube import Manifest
from meshfed.telemetry.metrics import Metrics
from tests.builders import HTTP, mesh_federation, namespace, offer, pod, service
from tests.controller.in_memory import Remote, World, errors
from tests.controller.meshes import remote_mesh_at
from tests.virtual import virtual_loop


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle hour is virtual, but has thousands of timers all the same."""
    monkeypatch.setattr(faults, "LAST_RETRY", 8.0)
    monkeypatch.setattr(faults, "ASIDE_FIRST", 5.0)
    monkeypatch.setattr(faults, "ASIDE_LAST", 20.0)


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


class Trap:
    """Makes a function raise for one object while it is armed; or where there is none, notes which are called."""

    def __init__(self, function: Function | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed = False
        self.times = 0
        self.called: set[str] = set()
        self._poison = ""
        for one in [function] if function is not None else functions():
            for place, name in one.places:
                original = inspect.getattr_static(place, name)
                monkeypatch.setattr(
                    place, name, self._noting(one, original) if function is None else self._raising(original)
                )

    def _noting(self, function: Function, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self.armed:
                self.called.add(function.name)
            return original(*args, **kwargs)

        return wrapper

    def _raising(self, original: Callable[..., Any]) -> Callable[..., Any]:
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
    found.put(namespace("istio-system"), namespace("default"), mesh_federation("east"))
    for name in ("details", "poison-export"):
        found.put(service(name, exported=True), pod(f"{name}-1", name))
    found.put(service("reviews"), service("poison-beside"))
    west.offer(*(offer(name) for name in ("ratings", "poison-offer", "reviews", "poison-beside")))
    north.offer(*(offer(name) for name in ("ratings", "stock")))
    for name in found.remotes:
        found.put(remote_mesh(name))
    return found


def remote_mesh(name: str) -> Manifest:
    if name == "west":
        return remote_mesh_at(name, 1, addresses=["gw.example"], discovery={})
    return remote_mesh_at(name, 1, addresses=["192.0.2.9"])


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
    assert found.controller is not None
    return {
        "written": found.written(),
        "offered": found.offered(),
        "said": found.said(),
        "trouble": found.controller.trouble,
    }


def lost(before: dict[str, Any], found: World) -> list[str]:
    """What was there ``before`` and is no more: objects, hosts, endpoints, callers, and what subscribers are told."""
    now = found.written()
    gone = [
        f"{part} of {key}: {spec[part]} is {now.get(key, {}).get(part)}"
        for key, spec in before["written"].items()
        for part in spec.keys() & {"servers", "endpoints", "hosts", "rules", "ports", "host", "address", "mtls"}
        if len(str(now.get(key, {}).get(part, ""))) < len(str(spec[part]))
    ]
    assert found.publisher is not None
    # Subscribers who are told nothing at all keep what they have.
    return gone + (sorted(before["offered"] - found.offered()) if found.publisher._exports.ready else [])


async def unseen(found: World, trap: Trap) -> list[str]:
    """Let a while pass, and return where a fault was never to be seen that should have been."""
    missing = {"/readyz", "the metric", "the log"}
    with errors() as said:
        for _ in range(40):
            await asyncio.sleep(0.5)
            assert found.controller is not None
            if "Boom" in (found.controller.trouble or ""):
                missing.discard("/readyz")
            if any(True for metric in found.metrics.faults.collect() for _ in metric.samples):
                missing.discard("the metric")
    if any("Boom" in one for one in said):
        missing.discard("the log")
    if trap.times < 3:
        missing -= {"/readyz", "the metric"}  # it was over before anybody could look
    return sorted(missing) if trap.times else []


async def through_change_and_restart(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Objects change while the controller runs; then it is restarted with the remotes away; then it is over."""
    found = world(monkeypatch)
    await found.start()
    before = await sound(found)
    assert len(before["written"]) == 15, sorted(before["written"])
    trap.armed = True
    changes(found)
    wrong = [*await unseen(found, trap), *lost(before, found)]
    await found.stop()
    for one in found.remotes.values():
        one.away = True
    trap.times = 0
    await found.start()
    wrong += [*await unseen(found, trap), *lost(before, found)]
    trap.armed = False
    for one in found.remotes.values():
        one.away = False
        one.tell()
    await asyncio.sleep(60)
    wrong += lost(before, found)
    after = await sound(found)
    await found.stop()
    await found.start()
    anew = await sound(found)
    await found.stop()
    return wrong + difference(anew, after)


def tried(function: Function | None) -> tuple[Trap, list[str]]:
    """Go through all that with a function that raises, or with none."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        asyncio.Runner(loop_factory=virtual_loop) as runner,
    ):
        trap = Trap(function, monkeypatch)
        return trap, runner.run(through_change_and_restart(trap, monkeypatch))


def difference(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is to be seen otherwise than expected."""
    wrong = [] if found["trouble"] is None else [found["trouble"]]
    wrong += [f"{host} is offered, or not" for host in expected["offered"] ^ found["offered"]]
    for part in ("written", "said"):
        wrong += [
            f"{key}: {expected[part].get(key)} is {found[part].get(key)}"
            for key in {*expected[part], *found[part]}
            if expected[part].get(key) != found[part].get(key)
        ]
    return wrong


def test_what_fails_is_tried_again_for_ever_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []

    async def run() -> None:
        standing = faults.Faults(Metrics())
        loop = asyncio.get_running_loop()

        def work() -> None:
            tries.append(loop.time())
            if len(tries) < 3000:
                raise Boom("again")
            standing.over("it")

        standing.caught("it", Boom("again"), work)
        await asyncio.sleep(30_000)
        assert not standing

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(run())
    assert len(tries) == 3000
    assert max(later - sooner for sooner, later in itertools.pairwise(tries)) < 9  # LAST_RETRY, above
    assert [one.getMessage() for one in caplog.records if one.exc_info] == [
        "it failed, which is a fault of Meshfed: please report it. What it led to stays as it is"
    ]


async def test_where_hundreds_fail_the_log_and_the_metric_stay_readable(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    standing = faults.Faults(metrics)
    for number in range(300):
        standing.caught(f"key {number}", Boom(f"on\n{number}"))
    assert len([one for one in caplog.records if one.exc_info]) == 50
    series = {sample.labels["what"]: sample.value for one in metrics.faults.collect() for sample in one.samples}
    assert len(series) == 51
    assert series["others"] == 250
    assert standing.said == (
        "key 0 failed (Boom: on 0), and 299 more: a fault of Meshfed, please report it; what it led to stays as it is"
    )
    for number in range(300):
        standing.over(f"key {number}")
    assert not standing
    assert not [sample for one in metrics.faults.collect() for sample in one.samples]


async def test_an_object_that_can_be_taken_in_and_not_judged_is_a_fault_all_the_same() -> None:
    standing, ref = faults.Faults(Metrics()), ("Service", "a", "b")
    standing.set_aside(ref, "one", Boom("taking in"))
    standing.derived(ref, Boom("judging"), lambda: None)
    assert dict(standing.unknown()) == {ref: "a fault of Meshfed's own: Boom: judging; please report it"}
    standing.taken_in(ref)
    assert not dict(standing.unknown()), "what was derived of it knows for itself"
    assert "Boom: judging" in str(standing.said)
    standing.derived(ref, None, lambda: None)
    assert not standing
    assert not dict(standing.unknown())


def many_fail(number: int) -> tuple[int, float]:
    """Have so many Services fail for ever; returns how many terms that takes in two hours, and when the last began."""
    terms: list[float] = []

    async def run(monkeypatch: pytest.MonkeyPatch) -> None:
        found = world(monkeypatch)
        found.put(namespace("elsewhere"))
        for one in range(number):
            # In the namespace of an import, who else selects its endpoints would be unknown.
            found.put(service(f"bad-{one}.elsewhere", exported=True))
        original, begin = Input.put, faults.Faults.begin

        def put(self: Input[Any, Any], key: Any, *given: Any, **named: Any) -> None:
            if self.name == "Service" and key[1].startswith("bad-") and isinstance(given[0], Service):
                raise Boom(key[1])
            original(self, key, *given, **named)

        def begun(self: faults.Faults) -> None:
            terms.append(asyncio.get_running_loop().time())
            begin(self)

        monkeypatch.setattr(Input, "put", put)
        monkeypatch.setattr(faults.Faults, "begin", begun)
        await found.start()
        await asyncio.sleep(7200)
        assert len(found.imported()) == 5, "the others are imported all the same"
        await found.stop()

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        monkeypatch.setattr(faults, "ASIDE_FIRST", 30.0)
        monkeypatch.setattr(faults, "ASIDE_LAST", 1800.0)
        runner.run(run(monkeypatch))
    return len(terms), terms[number]


def test_objects_that_fail_for_ever_cost_hardly_more_terms_than_there_are() -> None:
    terms, settled = many_fail(12)
    assert terms < 12 + 7200 / 1800 + 15
    assert settled < 60


PARTS = 6
"""Of the functions, so that several processes can share them."""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_function_that_raises_for_one_object_takes_nothing_away(part: int) -> None:
    trap, wrong = tried(None)
    assert not wrong, wrong
    called = [function for function in functions() if function.name in trap.called]
    assert len(called) > 200, f"only {len(called)} functions are called at all"
    raised, failed = 0, dict[str, list[str]]()
    mine = called[part::PARTS]
    for function in mine:
        armed, wrong = tried(function)
        raised += armed.times > 0
        if wrong:
            failed[function.name] = wrong
    assert not failed, "\n".join(f"{name}: {wrong}" for name, wrong in failed.items())
    assert raised > 0.8 * len(mine), f"only {raised} of {len(mine)} functions were made to raise"

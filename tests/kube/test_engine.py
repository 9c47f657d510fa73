"""The engine's promises, in virtual time against a cluster in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Hashable
from random import Random
from typing import Any

import pytest

from meshfed.kube import Manifest, ObjectKey, ObjectState, Outcome, Resource
from tests.builders import manifest
from tests.kube.memory import Cluster, MemoryClient, failure
from tests.kube.owned import OwnedEngine
from tests.waiting import meanwhile

pytestmark = pytest.mark.looptime

GATEWAYS = Resource("networking.istio.io", "v1", "gateways", "Gateway")
ENTRIES = Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry")
OLD_ENTRIES = Resource("networking.istio.io", "v1beta1", "serviceentries", "ServiceEntry")
OWNER = {"mesh.example/owner": "east"}
APPLIED = ObjectState(Outcome.APPLIED)


def entry(name: str, *, kind: str = "ServiceEntry", labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    return manifest(kind, name, spec, labels=labels)


def gateway(name: str, **spec: Any) -> Manifest:
    return entry(name, kind="Gateway", **spec)


def key(name: str, kind: str = "ServiceEntry") -> ObjectKey:
    return ObjectKey("networking.istio.io", kind, "istio-system", name)


def owned(name: str, **spec: Any) -> Manifest:
    """As a predecessor of this process would have left it."""
    return entry(name, labels=OWNER, **spec)


class Running:
    def __init__(self, cluster: Cluster, engine: OwnedEngine) -> None:
        self.cluster = cluster
        self.engine = engine
        self.heard: list[Hashable] = []
        engine.subscribe(self.heard.append)

    def specs(self) -> dict[str, Any]:
        return {place[2]: manifest.get("spec") for place, manifest in self.cluster.objects.items()}

    def live(self, name: str) -> Manifest:
        return next(manifest for place, manifest in self.cluster.objects.items() if place[2] == name)

    def edit(self, name: str, change: Callable[[Manifest], object]) -> None:
        place = next(place for place in self.cluster.objects if place[2] == name)
        self.cluster.edit(*place, change)

    async def idle(self) -> None:
        await asyncio.sleep(0.1)
        await self.engine.idle()


@contextlib.asynccontextmanager
async def running(cluster: Cluster | None = None, **arguments: Any) -> AsyncIterator[Running]:
    cluster = cluster or Cluster(served={GATEWAYS, ENTRIES})
    engine = OwnedEngine(
        MemoryClient(cluster), [GATEWAYS, OLD_ENTRIES, ENTRIES], owner=OWNER, rng=Random(7).random, **arguments
    )
    async with meanwhile(engine.run()):
        yield Running(cluster, engine)
    assert cluster.open_watches == 0


async def test_creates_replaces_deletes_and_is_then_still() -> None:
    async with running() as found:
        found.engine.allow_deletes()
        found.engine.want("reviews", [entry("a", port=1), entry("b", port=2)])
        found.engine.want("ratings", [entry("c", port=3)])
        await found.idle()
        assert found.specs() == {"a": {"port": 1}, "b": {"port": 2}, "c": {"port": 3}}
        assert found.live("a")["metadata"]["labels"] == OWNER
        found.cluster.calls.clear()
        found.engine.want("reviews", [entry("a", port=9)])
        await found.idle()
        assert found.specs() == {"a": {"port": 9}, "c": {"port": 3}}
        assert found.cluster.calls == [("update", "a"), ("delete", "b")]
        assert found.engine.source_state("reviews").objects == {key("a"): APPLIED}
        assert found.engine.state(key("b")) == ObjectState(Outcome.ABSENT)
        found.cluster.calls.clear()
        found.engine.want("reviews", [entry("a", port=9)])
        await asyncio.sleep(3600)
        assert found.cluster.writes == []


async def test_a_new_process_writes_nothing_where_all_is_in_place() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    for n in range(20):
        cluster.put(ENTRIES, owned(f"s{n}", port=n))
    async with running(cluster) as found:
        found.engine.want("all", [entry(f"s{n}", port=n) for n in range(20)])
        await found.idle()
        assert found.engine.statistics().outcomes == {Outcome.APPLIED: 20}
        assert cluster.writes == []


async def test_nothing_is_deleted_before_it_is_allowed() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.put(ENTRIES, owned("old"))
    cluster.put(ENTRIES, entry("others"))
    async with running(cluster) as found:
        found.engine.want("x", [entry("a"), entry("b")])
        await found.idle()
        found.engine.want("x", [entry("a")])
        await found.idle()
        assert set(found.specs()) == {"old", "others", "a", "b"}
        found.engine.allow_deletes()
        await found.idle()
        assert set(found.specs()) == {"others", "a"}


async def test_drift_is_put_back_and_edits_elsewhere_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "meshfed.kube.engine")
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    async with running(cluster) as found:
        found.engine.want("x", [entry("a", port=1), entry("b", port=1)])
        await found.idle()
        assert caplog.messages == []

        def vandalise(live: Manifest) -> None:
            live["spec"] = {"port": 2, "extra": True}
            live["status"] = {"ok": True}
            live["metadata"]["labels"] |= {"team": "blue", "mesh.example/stale": "x"}
            live["metadata"]["annotations"] = {"note": "mine"}
            live["metadata"]["finalizers"] = ["team/hold"]

        found.edit("a", vandalise)
        cluster.remove(ENTRIES, "istio-system", "b")
        await found.idle()
        live = found.live("a")
        assert live["spec"] == {"port": 1}
        assert live["status"] == {"ok": True}
        assert live["metadata"]["labels"] == {**OWNER, "team": "blue"}
        assert live["metadata"]["annotations"] == {"note": "mine"}
        assert live["metadata"]["finalizers"] == ["team/hold"]
        assert found.live("b")["spec"] == {"port": 1}
        assert found.engine.source_state("x").objects == {key("a"): APPLIED, key("b"): APPLIED}
        assert set(caplog.messages) == {
            f"{key('a')} was changed by somebody else, and put back",
            f"{key('b')} was deleted by somebody else, and put back",
        }


async def test_our_label_that_somebody_removed_is_put_back() -> None:
    async with running() as found:
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        found.edit("a", lambda live: live["metadata"].pop("labels"))
        await found.idle()
        assert found.live("a")["metadata"]["labels"] == OWNER
        assert found.engine.state(key("a")) == APPLIED


async def test_what_the_server_makes_of_it_is_not_drift() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES}, mutate=lambda new: new["spec"].setdefault("weight", 1))
    async with running(cluster) as found:
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        await asyncio.sleep(1000)
        assert cluster.writes == [("create", "a")]
        assert found.engine.state(key("a")).outcome is Outcome.APPLIED
        found.edit("a", lambda live: live["spec"].update(weight=5))
        await found.idle()
        assert found.specs() == {"a": {"port": 1, "weight": 1}}


async def test_somebody_elses_object_is_not_touched_until_it_is_gone() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.put(ENTRIES, entry("a", port=7))
    async with running(cluster) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        assert found.engine.state(key("a")).outcome is Outcome.NOT_OWNED
        assert "lacks mesh.example/owner=east" in found.engine.state(key("a")).message
        cluster.calls.clear()
        await asyncio.sleep(1000)
        assert (cluster.writes, found.specs()) == ([], {"a": {"port": 7}})
        cluster.remove(ENTRIES, "istio-system", "a")
        await asyncio.sleep(61)
        assert found.specs() == {"a": {"port": 1}}
        assert found.engine.state(key("a")) == APPLIED


async def test_somebody_elses_object_stays_when_it_is_not_wanted_any_more() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.put(ENTRIES, entry("a", port=7))
    async with running(cluster) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        found.engine.want("x", [])
        await asyncio.sleep(1000)
        assert found.specs() == {"a": {"port": 7}}
        assert found.engine.state(key("a")).outcome is Outcome.ABSENT


async def test_adoption_takes_over_what_it_says_yes_to() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.put(ENTRIES, entry("a", labels={"peer": "todo"}, port=7))
    cluster.put(ENTRIES, entry("b", port=7))
    adopt = lambda live: live if "peer" in (live["metadata"].get("labels") or {}) else None  # noqa: E731 - a table's cell
    async with running(cluster, adopt=adopt) as found:
        found.engine.want("x", [entry("a", port=1), entry("b", port=1)])
        await found.idle()
        assert found.specs() == {"a": {"port": 1}, "b": {"port": 7}}
        assert found.live("a")["metadata"]["labels"] == {**OWNER, "peer": "todo"}


async def test_one_failing_object_holds_up_no_other() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.refuse = lambda verb, name: failure(500) if (verb, name) == ("create", "bad") else None
    async with running(cluster, workers=1) as found:
        found.engine.want("x", [entry("bad"), entry("a")])
        found.engine.want("y", [entry("b")])
        await found.idle()
        assert set(found.specs()) == {"a", "b"}
        assert found.engine.state(key("bad")).outcome is Outcome.FAILED
        await asyncio.sleep(600)
        assert 20 < cluster.writes.count(("create", "bad")) < 80
        cluster.refuse = lambda _verb, _name: None
        await asyncio.sleep(31)
        assert set(found.specs()) == {"a", "b", "bad"}


async def test_what_one_flow_wants_does_not_wait_for_the_thousands_of_another() -> None:
    async with running(Cluster(served={GATEWAYS, ENTRIES}, latency=0.1)) as found:
        found.engine.allow_deletes()
        for number in range(2000):
            found.engine.want(("west", number), [entry(f"west-{number}", port=1)], flow="west")
        found.engine.want("shared", [entry("shared", port=1)], flow="west")
        await asyncio.sleep(2)
        for port, flow in ((1, "east"), (2, "east"), (0, "east")):
            before = len(found.cluster.writes)
            found.engine.want("mine", [entry("mine", port=port)] if port else [], flow=flow)
            found.engine.want("shared", [entry("shared", port=1 + port)], flow=flow)
            await asyncio.sleep(0.5)
            done = [name for _, name in found.cluster.writes[before:]]
            turns = 3 * found.engine._client.write_limit.allowed
            assert {"mine", "shared"} <= set(done[:turns]), "each worker finishes what it has, and then takes turns"
        assert found.engine.pending > 500, "the other flow had all that time enough to do"


@pytest.mark.parametrize(
    ("status", "outcome", "at_most"),
    [(422, Outcome.INVALID, 20), (400, Outcome.INVALID, 20), (403, Outcome.FAILED, 60), (404, Outcome.FAILED, 60)],
)
async def test_what_only_a_person_can_mend_is_tried_seldom(status: int, outcome: Outcome, at_most: int) -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.refuse = lambda verb, _: failure(status) if verb == "create" else None
    async with running(cluster) as found:
        found.engine.want("x", [entry("a", port="x")])
        await found.idle()
        assert found.engine.state(key("a")).outcome is outcome
        assert "broken on purpose" in found.engine.state(key("a")).message
        await asyncio.sleep(1000)
        assert 4 < len(cluster.writes) < at_most
        cluster.refuse = lambda _verb, _name: None
        found.engine.want("x", [entry("a", port=1)])  # a change is tried at once
        await found.idle()
        assert found.specs() == {"a": {"port": 1}}


async def test_an_outage_at_the_start_and_in_operation() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES}, down=True)
    async with running(cluster) as found:
        found.engine.want("x", [entry("a", port=1)])
        await asyncio.sleep(100)
        cluster.down = False
        await asyncio.sleep(60)
        await found.idle()
        assert found.specs() == {"a": {"port": 1}}
        cluster.down = True
        cluster.cut()
        found.engine.want("x", [entry("a", port=2)])
        await asyncio.sleep(1000)
        cluster.down = False
        await asyncio.sleep(60)
        assert found.specs() == {"a": {"port": 2}}


async def test_apply_before_delete() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.refuse = lambda verb, name: failure(500) if (verb, name) == ("create", "new") else None
    async with running(cluster) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("old")])
        await found.idle()
        found.engine.want("x", [entry("new")])
        await asyncio.sleep(300)
        assert set(found.specs()) == {"old"}
        assert found.engine.source_state("x").deleting == {key("old")}
        cluster.refuse = lambda _verb, _name: None
        await asyncio.sleep(31)
        assert set(found.specs()) == {"new"}
        assert cluster.writes[-2:] == [("create", "new"), ("delete", "old")]


async def test_a_deletion_does_not_wait_for_what_cannot_be_applied() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.refuse = lambda verb, name: failure(422) if (verb, name) == ("create", "new") else None
    async with running(cluster) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("old")])
        await found.idle()
        found.engine.want("x", [entry("new")])
        await found.idle()
        assert set(found.specs()) == set()


async def test_after_a_restart_what_nobody_dropped_goes_last() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES}, latency=0.1)
    cluster.put(ENTRIES, owned("old"))
    async with running(cluster, workers=4) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("new")])
        await asyncio.sleep(5)
        assert cluster.writes == [("create", "new"), ("delete", "old")]


async def test_sources_that_come_after_others() -> None:
    """A gateway shrinks before another grows: no host stands in both."""
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    async with running(cluster) as found:
        found.engine.want("one", [gateway("g1", hosts=["a", "b"])])
        found.engine.want("two", [gateway("g2", hosts=["c"])])
        await found.idle()
        cluster.refuse = lambda verb, name: failure(503) if (verb, name) == ("update", "g1") else None
        found.engine.want("one", [gateway("g1", hosts=["a"])])
        found.engine.want("two", [gateway("g2", hosts=["b", "c"])], after=["one"])
        await asyncio.sleep(100)
        assert found.specs() == {"g1": {"hosts": ["a", "b"]}, "g2": {"hosts": ["c"]}}
        assert found.engine.state(key("g2", "Gateway")) == ObjectState(
            Outcome.PENDING, "waits until what 'one' wants is in place"
        )
        cluster.refuse = lambda _verb, _name: None
        await asyncio.sleep(31)
        assert found.specs() == {"g1": {"hosts": ["a"]}, "g2": {"hosts": ["b", "c"]}}


async def test_after_waits_for_writes_and_deletions() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    async with running(cluster) as found:
        found.engine.allow_deletes()
        found.engine.want("one", [gateway("g1", hosts=["a", "b"]), gateway("g9")])
        await found.idle()
        cluster.calls.clear()
        found.engine.want("one", [gateway("g1", hosts=["a"])])
        found.engine.want("two", [gateway("g2", hosts=["b"])], after=["one"])
        await found.idle()
        assert cluster.writes == [("update", "g1"), ("delete", "g9"), ("create", "g2")]


async def test_sources_that_would_wait_for_each_other(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as found:
        found.engine.want("one", [gateway("g1")], after=["two"])
        found.engine.want("two", [gateway("g2")], after=["one"])
        await found.idle()
        assert set(found.specs()) == {"g1", "g2"}
        assert "cannot come after" in caplog.text


async def test_an_object_that_two_sources_want(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1)])
        found.engine.want("y", [entry("a", port=2), entry("b")])
        await found.idle()
        assert found.specs() == {"a": {"port": 1}, "b": {}}
        assert found.engine.source_state("y").objects == {
            key("a"): ObjectState(Outcome.FAILED, "'x' wants this object already"),
            key("b"): APPLIED,
        }
        assert "is wanted by 'x' and by 'y'" in caplog.text
        found.engine.want("x", [])
        await found.idle()
        assert found.specs() == {"a": {"port": 2}, "b": {}}
        assert found.cluster.writes.count(("delete", "a")) == 0


async def test_an_object_that_moves_between_sources_is_not_deleted_in_between() -> None:
    async with running() as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        found.engine.want("x", [])
        found.engine.want("y", [entry("a", port=1)])
        await asyncio.sleep(100)
        assert found.cluster.writes == [("create", "a")]
        assert found.engine.source_state("x").deleting == frozenset()


async def test_something_that_keeps_changing_it_back() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    async with running(cluster) as found:
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        fighting = True

        async def fight() -> None:
            while fighting:
                if found.specs() == {"a": {"port": 1}}:
                    found.edit("a", lambda live: live["spec"].update(port=2))
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fight())
            await asyncio.sleep(3600)
            assert found.engine.state(key("a")).outcome is Outcome.DRIFT_CONFLICT
            assert 10 < len(cluster.writes) < 120
            fighting = False
        await asyncio.sleep(600)
        assert found.specs() == {"a": {"port": 1}}
        assert found.engine.state(key("a")) == APPLIED


async def test_a_paused_object_is_left_alone() -> None:
    paused = lambda metadata: "pause" in (metadata.get("annotations") or {})  # noqa: E731 - a table's cell
    async with running(paused=paused) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1), entry("b", port=1)])
        await found.idle()
        for name in ("a", "b"):
            found.edit(name, lambda live: live["metadata"].update(annotations={"pause": ""}))
        found.edit("a", lambda live: live["spec"].update(port=5))
        await found.idle()
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        assert found.specs() == {"a": {"port": 5}, "b": {"port": 1}}
        assert found.engine.state(key("a")).outcome is Outcome.PAUSED
        for name in ("a", "b"):
            found.edit(name, lambda live: live["metadata"].pop("annotations"))
        await found.idle()
        assert found.specs() == {"a": {"port": 1}}


async def test_what_is_refused_is_in_place_and_says_why_until_it_is_not(caplog: pytest.LogCaptureFixture) -> None:
    def refused(live: Manifest) -> str:
        return str(live.get("status", {}).get("refused", ""))

    async with running(refused=refused) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1), entry("b", port=1)])
        await found.idle()
        found.cluster.calls.clear()
        found.heard.clear()
        found.edit("a", lambda live: live.update(status={"refused": "taken"}))
        await found.idle()
        assert found.engine.source_state("x").objects == {
            key("a"): ObjectState(Outcome.APPLIED, refused="taken"),
            key("b"): APPLIED,
        }
        assert found.heard == ["x"]
        assert caplog.messages == [f"{key('a')} is in place and refused: taken"]
        found.edit("a", lambda live: live["metadata"].update(annotations={"n": "m"}))
        await asyncio.sleep(3600)
        assert found.heard == ["x"]
        assert found.cluster.writes == []

        found.engine.want("x", [entry("a", port=2)])
        await found.idle()
        assert found.specs() == {"a": {"port": 2}}
        assert found.engine.state(key("a")) == ObjectState(Outcome.APPLIED, refused="taken")
        found.edit("a", lambda live: live.update(status={}))
        await found.idle()
        assert found.engine.state(key("a")) == APPLIED


async def test_an_object_that_others_hold_with_a_finalizer() -> None:
    async with running() as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        found.edit("a", lambda live: live["metadata"].update(finalizers=["hold"]))
        await found.idle()
        found.engine.want("x", [])
        await found.idle()
        found.engine.want("x", [entry("a", port=2)])
        await found.idle()
        assert found.engine.state(key("a")).outcome is Outcome.FAILED
        found.edit("a", lambda live: live["metadata"].pop("finalizers"))
        await found.idle()
        assert found.specs() == {"a": {"port": 2}}


async def test_a_kind_that_is_not_served_is_written_once_it_is() -> None:
    cluster = Cluster(served={GATEWAYS})
    async with running(cluster) as found:
        found.engine.want("x", [entry("a", port=1), gateway("g")])
        await found.idle()
        assert set(found.specs()) == {"g"}
        assert found.engine.state(key("a")) == ObjectState(
            Outcome.FAILED, "the API does not serve serviceentries.networking.istio.io; install its CRD"
        )
        cluster.served.add(OLD_ENTRIES)
        await asyncio.sleep(46)
        assert found.live("a")["apiVersion"] == "networking.istio.io/v1beta1"


async def test_a_change_under_way_is_not_reported_as_in_place() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES}, latency=1.0)
    async with running(cluster) as found:
        found.engine.allow_deletes()
        found.engine.want("x", [entry("a", port=1), entry("old")])
        await asyncio.sleep(10)
        found.engine.want("x", [entry("a", port=2), entry("old")])
        await asyncio.sleep(0.5)
        found.engine.want("x", [entry("a", port=3)])  # while the first update is on its way
        await asyncio.sleep(30)
        assert cluster.writes[-3:] == [("update", "a"), ("update", "a"), ("delete", "old")]
        assert found.specs() == {"a": {"port": 3}}


async def test_answers_are_believed_before_the_watch_says_so() -> None:
    """A watch that lags must not make it write again, nor think that what it created is missing."""
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    async with running(cluster) as found:
        found.engine.allow_deletes()
        await found.idle()
        cluster.silent = True
        found.engine.want("x", [entry("a", port=1)])
        await found.idle()
        found.engine.want("x", [entry("a", port=2)])
        await found.idle()
        assert cluster.writes == [("create", "a"), ("update", "a")]
        found.engine.want("x", [entry("a", port=2), entry("b")])
        await found.idle()
        assert found.engine.source_state("x").objects == {key("a"): APPLIED, key("b"): APPLIED}


async def test_the_answer_to_a_create_that_got_lost() -> None:
    cluster = Cluster(served={GATEWAYS, ENTRIES})
    cluster.put(ENTRIES, owned("a", port=1))
    cluster.silent = True
    async with running(cluster) as found:
        await found.idle()
        cluster.put(ENTRIES, owned("b", port=1))  # it was created, and we never heard
        found.engine.want("x", [entry("b", port=1)])
        await found.idle()
        assert found.engine.state(key("b")) == APPLIED
        assert cluster.writes == [("create", "b")]


async def test_listeners_hear_of_their_source_alone() -> None:
    async with running() as found:
        found.engine.want("x", [entry("a")])
        found.engine.want("y", [entry("b")])
        await found.idle()
        assert set(found.heard) == {"x", "y"}
        found.heard.clear()
        found.engine.want("x", [entry("a", port=2)])
        await found.idle()
        assert found.heard == ["x", "x"]
        found.heard.clear()
        found.engine.want("x", [entry("a", port=2)])
        await asyncio.sleep(100)
        assert found.heard == []


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        ([{"kind": "ServiceEntry", "metadata": {"name": "a"}}], "has no 'apiVersion'"),
        ([entry("a") | {"kind": "Pod"}], "its kind is not watched"),
        ([entry("a"), entry("a")], "is wanted twice"),
        ([{**entry("a"), "metadata": {"name": "a", "namespace": "x", "finalizers": []}}], "metadata.finalizers"),
        ([{**entry("a"), "metadata": {"name": "a"}}], "namespace is missing"),
    ],
)
async def test_what_cannot_be_wanted(manifests: list[Manifest], message: str) -> None:
    async with running() as found:
        with pytest.raises(ValueError, match=message):
            found.engine.want("x", manifests)

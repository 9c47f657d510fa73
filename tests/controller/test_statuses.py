"""Statuses: written when they change and only then, with times that move only when something turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from meshfed.api.meta import ObjectMeta, StatusCondition
from meshfed.api.v1alpha1 import RemoteMesh, RemoteMeshStatus
from meshfed.controller.writing.statuses import PENDING_SECONDS, REST_SECONDS, StatusWriter, merged, stamped
from meshfed.kube import KubeError, Manifest, Resource, TransportError
from meshfed.kube.queue import WriteLimit
from meshfed.model.reasons import Condition, ConditionType, Reason
from meshfed.plan import StatusUpdate
from meshfed.plan.values import Ref
from tests.builders import remote_mesh, typed
from tests.waiting import eventually

REF: Ref = ("RemoteMesh", "istio-system", "west")
UP = Condition(type=ConditionType.CONNECTED, status="True", reason=Reason.CONNECTED, message="up")
PENDING = Condition(type=ConditionType.READY, status="False", reason=Reason.PENDING, message="being written")
DOWN = Condition(type=ConditionType.CONNECTED, status="False", reason=Reason.UNREACHABLE, message="down")


class Cluster:
    """One RemoteMesh, and what was written to its status. Stands in for the client."""

    def __init__(self) -> None:
        self.version = 1
        self.status: dict[str, Any] = {}
        self.writes: list[Mapping[str, Any]] = []
        self.write_limit = WriteLimit()
        self.errors: list[KubeError] = []
        self.watched = True
        self._seen = (self.version, dict(self.status))

    async def patch_status(
        self, _resource: Resource, _name: str, status: Mapping[str, Any], *, namespace: str | None = None
    ) -> Manifest:
        assert namespace == "istio-system"
        if self.errors:
            raise self.errors.pop(0)
        self.writes.append(status)
        self.status |= {key: value for key, value in status.items() if value is not None}
        for key in [key for key, value in status.items() if value is None]:
            self.status.pop(key, None)
        self.version += 1
        return {}

    def stored(self, _ref: Ref) -> RemoteMesh:
        """What the watch has shown."""
        if self.watched:
            self._seen = (self.version, dict(self.status))
        version, status = self._seen
        return msgspec.structs.replace(
            typed(RemoteMesh, remote_mesh("west")),
            metadata=ObjectMeta(resource_version=str(version)),
            status=msgspec.convert(status, RemoteMeshStatus),
        )


@asynccontextmanager
async def writing(cluster: Cluster, times: list[str]) -> AsyncIterator[StatusWriter]:
    resources = {"RemoteMesh": Resource("example.com", "v1", "remotemeshes", "RemoteMesh")}
    writer = StatusWriter(cluster, resources, cluster.stored, stamp=lambda: times[0])  # type: ignore[arg-type] # a fake
    task = asyncio.create_task(writer.run())
    yield writer
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def update(*conditions: Condition, **fields: str | int | tuple[str, ...]) -> StatusUpdate:
    return StatusUpdate(
        kind="RemoteMesh",
        namespace="istio-system",
        name="west",
        observed_generation=3,
        conditions=conditions,
        fields=fields,
    )


async def test_a_status_is_written_once_and_again_only_when_it_changes() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        for _ in range(3):
            writer.want(update(UP, importedServices=2))
            await writer.queue.idle()
        assert len(cluster.writes) == 1
        assert list(cluster.status["conditions"]) == [
            {
                "type": "Connected",
                "status": "True",
                "reason": "Connected",
                "message": "up",
                "lastTransitionTime": "t1",
                "observedGeneration": 3,
            }
        ]
        writer.want(update(UP, importedServices=3))
        await asyncio.sleep(REST_SECONDS)
        await writer.queue.idle()
        assert (len(cluster.writes), cluster.status["importedServices"]) == (2, 3)


async def test_what_counts_thousands_is_written_once_a_second_while_only_numbers_are_others() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        begun = asyncio.get_running_loop().time()
        for number in range(1000):
            writer.want(update(UP, importedServices=number))
            await asyncio.sleep(0.01)
        await asyncio.sleep(3 * REST_SECONDS)
        assert cluster.status["importedServices"] == 999
        assert len(cluster.writes) <= (asyncio.get_running_loop().time() - begun) / REST_SECONDS + 2
        before = len(cluster.writes)
        writer.want(update(UP, importedServices=1000))
        await writer.queue.idle()
        assert len(cluster.writes) == before + 1, "after a second of quiet it is written at once"


async def test_what_turns_is_said_at_once_whatever_was_said_a_moment_ago() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        for number, condition in enumerate((UP, DOWN, UP)):
            writer.want(update(condition, importedServices=number))
            await writer.queue.idle()
            assert len(cluster.writes) == number + 1
        again = msgspec.structs.replace(update(UP, importedServices=3), observed_generation=4)
        writer.want(again)
        await writer.queue.idle()
        assert len(cluster.writes) == 4, "who changed the object waits for that"


async def test_before_the_watch_has_shown_our_own_write_it_is_not_repeated() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        cluster.stored(REF)
        cluster.watched = False
        for _ in range(3):
            writer.want(update(UP))
            await writer.queue.idle()
        assert len(cluster.writes) == 1
        cluster.watched = True
        writer.want(update(UP))
        await writer.queue.idle()
        assert len(cluster.writes) == 1


async def test_what_is_said_at_first_gives_way_to_what_stands_there() -> None:
    cluster, times = Cluster(), ["t1"]
    unknown = Condition(type=ConditionType.SUBSCRIBED, status="Unknown", reason=Reason.SUBSCRIBERS_UNKNOWN)
    known = Condition(type=ConditionType.SUBSCRIBED, status="True", reason=Reason.SUBSCRIBED)
    at_first = msgspec.structs.replace(update(UP), at_first=(unknown,))

    def standing() -> list[str]:
        return [f"{one['type']} {one['status']}" for one in cluster.status["conditions"]]

    async with writing(cluster, times) as writer:
        for wanted, expected in (
            (at_first, "Subscribed Unknown"),
            (update(UP, known), "Subscribed True"),
            (at_first, "Subscribed True"),
        ):
            writer.want(wanted)
            await writer.queue.idle()
            assert standing() == ["Connected True", expected]
        assert len(cluster.writes) == 2


async def test_a_status_that_someone_edited_is_put_back() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        writer.want(update(UP))
        await writer.queue.idle()
        cluster.status["conditions"][0]["message"] = "nonsense"
        cluster.version += 1
        writer.want(update(UP))
        await asyncio.sleep(REST_SECONDS)
        await writer.queue.idle()
        assert cluster.status["conditions"][0]["message"] == "up"


async def test_what_becomes_empty_is_taken_away() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        writer.want(update(UP, dialect="delta"))
        await writer.queue.idle()
        writer.want(update(UP, dialect=""))
        await asyncio.sleep(REST_SECONDS)
        await writer.queue.idle()
        assert "dialect" not in cluster.status


async def test_a_write_that_failed_is_tried_again() -> None:
    cluster, times = Cluster(), ["t1"]
    cluster.errors = [TransportError("gone"), TransportError("gone")]
    async with writing(cluster, times) as writer:
        writer.want(update(DOWN))
        await eventually(lambda: bool(cluster.writes))
        assert cluster.status["conditions"][0]["reason"] == "Unreachable"


@pytest.mark.looptime
async def test_what_is_under_way_is_not_said_before_its_time_whatever_was_queued_for_the_object() -> None:
    cluster, times = Cluster(), ["t1"]
    async with writing(cluster, times) as writer:
        for number in range(20):
            writer.want(update(UP, importedServices=number))
            writer.want(update(PENDING, importedServices=number))
            await asyncio.sleep(PENDING_SECONDS / 25)
        assert cluster.writes == []
        await asyncio.sleep(PENDING_SECONDS)
        assert [write["conditions"][0]["reason"] for write in cluster.writes] == ["Pending"]
        writer.want(update(UP))
        await writer.queue.idle()
        assert cluster.status["conditions"][0]["reason"] == "Connected"


@pytest.mark.parametrize(
    ("before", "after", "when"),
    [
        (UP, UP, "old"),
        (UP, msgspec.structs.replace(UP, message="up, and well", reason=Reason.READY), "old"),
        (UP, DOWN, "now"),
        (None, UP, "now"),
    ],
)
def test_times_move_only_when_the_status_turns(before: Condition | None, after: Condition, when: str) -> None:
    present = stamped([before] if before else [], [], generation=1, now="old")
    (condition,) = stamped([after], present, generation=2, now="now")
    assert (condition.last_transition_time, condition.observed_generation) == (when, 2)


def test_conditions_of_any_form_stay_beside_ours() -> None:
    odd: list[dict[str, Any]] = [{"type": ["Connected"]}, {"type": {}, "status": 1}, {}, {"type": "Connected"}]
    written = merged(odd, [UP], generation=1, now="now")
    assert {condition["status"] for condition in written if condition.get("type") == "Connected"} == {"True"}
    assert [condition for condition in written if condition.get("type") != "Connected"] == [{}, odd[0], odd[1]]


def test_conditions_of_others_stay_as_they_are() -> None:
    theirs = StatusCondition(type="Audited", status="True", reason="Checked", last_transition_time="old")
    assert theirs in stamped([UP], [theirs], generation=1, now="now")

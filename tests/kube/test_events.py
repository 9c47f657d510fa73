"""Events: one for an object and a reason, counted, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from meshfed.kube import Client, ClusterConfig, Recorder, Subject
from meshfed.kube.events import EVENTS, Bucket
from meshfed_sandbox.apiserver import APIServer
from tests.waiting import eventually

WEST = Subject("federation.openshift-service-mesh.io/v1alpha1", "RemoteMesh", "default", "west", "u-1")


def all_events(server: APIServer) -> list[dict[str, Any]]:
    return server.snapshot("events")


def outcomes(client: Client) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in client.metrics.events.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@asynccontextmanager
async def recording(server: APIServer) -> AsyncIterator[tuple[Recorder, Client]]:
    async with Client(ClusterConfig(server=server.url)) as client:
        recorder = Recorder(client, component="meshfed", instance="pod-1", stamp=lambda: "2026-01-01T00:00:00Z")
        task = asyncio.create_task(recorder.run())
        yield recorder, client
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def done(client: Client, count: int) -> None:
    await eventually(lambda: sum(outcomes(client).values()) >= count)


async def test_what_happens_again_counts_up_also_after_a_restart_and_when_its_hour_is_over(
    api_server: APIServer,
) -> None:
    async with recording(api_server) as (recorder, client):
        recorder.record(WEST, "Warning", "RemoteLost", "refused")
        recorder.record(WEST, "Normal", "RemoteFound", "connected")
        recorder.record(WEST, "Warning", "RemoteLost", "timed out")
        await done(client, 3)
    async with recording(api_server) as (recorder, client):
        recorder.record(WEST, "Warning", "RemoteLost", "reset")
        await done(client, 1)
        found = {event["reason"]: event for event in all_events(api_server)}
        assert {reason: (event["count"], event["message"]) for reason, event in found.items()} == {
            "RemoteLost": (3, "reset"),
            "RemoteFound": (1, "connected"),
        }
        assert found["RemoteLost"]["involvedObject"] == {
            "apiVersion": WEST.api_version,
            "kind": "RemoteMesh",
            "namespace": "default",
            "name": "west",
            "uid": "u-1",
        }
        await client.delete(EVENTS, found["RemoteLost"]["metadata"]["name"], namespace="default")
        recorder.record(WEST, "Warning", "RemoteLost", "again")
        await done(client, 2)
        assert sorted((event["reason"], event["count"]) for event in all_events(api_server)) == [
            ("RemoteFound", 1),
            ("RemoteLost", 1),
        ]


async def test_an_object_of_the_longest_name_has_events_too(api_server: APIServer) -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    async with recording(api_server) as (recorder, client):
        recorder.record(msgspec.structs.replace(WEST, name=name), "Normal", "Imported", "x" * 5000)
        await done(client, 1)
        (event,) = all_events(api_server)
        assert (event["involvedObject"]["name"], event["message"]) == (name, "x" * 1024)


async def test_one_noisy_object_is_cut_short_and_others_are_heard(api_server: APIServer) -> None:
    async with recording(api_server) as (recorder, client):
        for number in range(100):
            recorder.record(WEST, "Normal", "RemoteFound", str(number))
        recorder.record(msgspec.structs.replace(WEST, name="south", uid="u-2"), "Normal", "RemoteFound", "hello")
        await done(client, 101)
        assert outcomes(client) == {"dropped": 75, "written": 26}
        assert sorted(event["count"] for event in all_events(api_server)) == [1, 25]


async def test_a_flood_of_objects_is_bounded_and_never_waits(api_server: APIServer) -> None:
    async with recording(api_server) as (recorder, client):
        for number in range(5000):
            recorder.record(msgspec.structs.replace(WEST, uid=str(number)), "Normal", "Imported", "")
        await done(client, 5000)
        assert outcomes(client)["dropped"] >= 4700


async def test_what_may_not_be_written_is_said_once(api_server: APIServer, caplog: pytest.LogCaptureFixture) -> None:
    api_server.fail(status=403, verb="create", resource="events", times=3)
    api_server.fail(status=500, verb="create", resource="events", times=1)
    with caplog.at_level(logging.WARNING, logger="meshfed.kube.events"):
        async with recording(api_server) as (recorder, client):
            for number in range(5):
                recorder.record(msgspec.structs.replace(WEST, uid=str(number)), "Normal", "Imported", "")
            await done(client, 5)
            assert outcomes(client) == {"refused": 3, "failed": 1, "written": 1}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "grant create, get and patch on events" in line


def test_a_bucket_lets_a_burst_through_and_then_one_at_a_time() -> None:
    bucket = Bucket(3, 10.0)
    assert [bucket.take(now) for now in (100, 100, 100, 100, 105, 110, 111, 200, 200, 200, 200)] == [
        *(True, True, True, False, False, True, False),
        *(True, True, True, False),
    ]


async def test_the_events_of_one_flow_leave_room_for_those_of_another(api_server: APIServer) -> None:
    async with recording(api_server) as (recorder, _):
        for number in range(5000):
            recorder.record(msgspec.structs.replace(WEST, uid=str(number)), "Normal", "Imported", "", flow="west")
        recorder.record(msgspec.structs.replace(WEST, name="south", uid="s"), "Warning", "RemoteLost", "", flow="south")
        await eventually(lambda: "RemoteLost" in {event["reason"] for event in all_events(api_server)})
        written = sorted(all_events(api_server), key=lambda event: int(event["metadata"]["resourceVersion"]))
        assert "RemoteLost" in {event["reason"] for event in written[:2]}

"""What counts from a moment goes on counting over a restart: a remote's absence, and the hold of a withdrawal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from meshfed.api.v1alpha1 import FederatedServiceSpec, RemoteMesh
from meshfed.controller.remotes.session import Reports, Session
from meshfed.fds import Dialect, NotReady, Refused, Update
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import RemoteConnection
from meshfed.telemetry.metrics import Metrics
from tests.builders import host
from tests.controller.remotes import Remote
from tests.waiting import eventually

NOW = "2026-01-01T12:00:00Z"


def unreachable(since: str) -> dict[str, Any]:
    """The status of a remote that was lost then."""
    lost = {
        "type": "Connected",
        "status": "False",
        "reason": "Unreachable",
        "message": "m",
        "lastTransitionTime": since,
    }
    return {"conditions": [lost], "lastConnected": "2026-01-01T01:00:00Z", "dialect": "delta"}


class Heard:
    """What a session reported."""

    def __init__(self) -> None:
        self.wanted: dict[str, FederatedServiceSpec | None] = {}
        self.connections: list[RemoteConnection] = []


@asynccontextmanager
async def restarted(status: Mapping[str, Any], services: int = 30, **spec: Any) -> AsyncIterator[tuple[Session, Heard]]:
    """A session of a new process, for a remote that is away and that left ``services`` FederatedServices."""
    mesh = msgspec.convert(Remote("west", 1).remote_mesh(**spec) | {"status": status}, RemoteMesh)
    heard = Heard()
    session = Session(
        mesh,
        reports=Reports(
            heard=lambda _: None,
            desire=lambda _remote, name, wanted, _received: heard.wanted.update({name: wanted}),
            connection=lambda _remote, connection: heard.connections.append(connection),
        ),
        judge=lambda _: Decision(accepted=True, reason=Reason.ACCEPTED),
        metrics=Metrics(),
        stamp=lambda: NOW,
        node="east",
    )
    session.remember(FederatedServiceSpec(remote="west", host=host(f"s{number}")) for number in range(services))
    task = asyncio.create_task(session.run())
    yield session, heard
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("since", "gone"), [("2026-01-01T10:59:00Z", True), ("2026-01-01T11:01:00Z", False)])
async def test_an_absence_that_began_before_the_restart_counts_from_then(since: str, *, gone: bool) -> None:
    async with restarted(unreachable(since), staleness={"after": "1h", "action": "Remove"}) as (_, heard):
        await eventually(lambda: len(heard.connections) >= 2)
        await asyncio.sleep(0.3)
        assert {spec is None for spec in heard.wanted.values()} == {gone}
        assert (heard.connections[-1].sync_reason is Reason.STALE) is gone


async def test_a_remote_that_came_back_while_no_process_looked_is_asked_before_anything_is_stale() -> None:
    callers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    status, policy = unreachable("2026-01-01T01:00:00Z"), {"after": "1h", "action": "Remove"}
    there = {"address": f"127.0.0.1:{port}"}
    async with server, restarted(status, staleness=policy, discovery=there) as (session, heard):
        await eventually(lambda: bool(callers))
        await session.disconnected(NotReady("it is starting"))
        await asyncio.sleep(0.3)
        assert None not in heard.wanted.values()
        callers[0].close()
        await eventually(lambda: all(spec is None for spec in heard.wanted.values()))
    for caller in callers:
        caller.close()


async def test_what_was_said_of_the_absence_stays_said() -> None:
    since = "2026-01-01T11:59:00Z"
    async with restarted(unreachable(since)) as (_, heard):
        await eventually(lambda: len(heard.connections) >= 2)
        first, last = heard.connections[0], heard.connections[-1]
        assert (first.reason, first.since, first.message) == (Reason.UNREACHABLE, since, "m")
        assert (last.reason, last.since, last.last_connected) == (Reason.UNREACHABLE, since, "2026-01-01T01:00:00Z")
        assert last.message.startswith(f"since {since}: ")


@pytest.mark.parametrize(
    ("said", "by_the_sidecar"),
    [("RBAC: access denied", True), ("no RemoteMesh here has the identity spiffe://a/ns/b/sa/c", False)],
)
async def test_who_is_refused_is_told_what_to_compare_where_the_answer_does_not_say(
    said: str, *, by_the_sidecar: bool
) -> None:
    async with restarted(unreachable("2026-01-01T11:59:00Z")) as (session, heard):
        await session.disconnected(Refused(f"192.0.2.20:15080: PERMISSION_DENIED: {said}"))
        last = heard.connections[-1]
        assert last.reason is Reason.PERMISSION_DENIED
        assert said in last.message
        assert ("see whether the remote has a RemoteMesh" in last.message) is by_the_sidecar


async def withdraw(session: Session, heard: Heard) -> RemoteConnection:
    """The remote is there, and offers nothing; returns what is said then."""
    await session.connected(Dialect.DELTA)
    await session.update(Update(upserts=(), removals=(), complete=True, synced=True))
    return heard.connections[-1]


@pytest.mark.parametrize(
    ("held", "since", "goes_on", "gone"),
    [
        (30, "2026-01-01T11:58:00Z", True, False),
        (30, "2026-01-01T11:50:00Z", True, True),
        (25, "2026-01-01T11:50:00Z", False, False),
        (0, "", False, False),
        (30, "2026-01-01t11:50:00z", True, True),
        (30, "0001-01-01T00:00:00+01:00", True, True),
        (30, "9999-12-31T23:59:59-01:00", True, False),
        (2**63 - 1, "nonsense", True, False),
        (-(2**63), NOW, False, False),
    ],
    ids=[
        "its time is not up",
        "its time is up",
        "more is withdrawn than was held",
        "none was held",
        "in lower case",
        "since ever",
        "from the future",
        "of no time",
        "less than none was held",
    ],
)
async def test_a_hold_goes_on_after_a_restart(held: int, since: str, *, goes_on: bool, gone: bool) -> None:
    async with restarted({"heldServices": held, "heldSince": since}) as (session, heard):
        said = await withdraw(session, heard)
        assert (said.sync_reason, said.held, said.held_since) == (
            Reason.WITHDRAWAL_HELD,
            30,
            since if goes_on else NOW,
        )
        await asyncio.sleep(0.3)
        assert {spec is None for spec in heard.wanted.values()} == {gone}


async def test_less_than_no_services_held_are_none() -> None:
    async with restarted({"heldServices": -5, "heldSince": NOW}) as (_, heard):
        assert heard.connections[0].held == 0


async def test_a_hold_that_is_over_when_the_remote_is_heard_again_is_forgotten() -> None:
    async with restarted({"heldServices": 30, "heldSince": "2026-01-01T11:50:00Z"}, services=0) as (session, heard):
        said = await withdraw(session, heard)
        assert (said.sync_reason, said.held, said.held_since) == (Reason.SYNCED, 0, "")

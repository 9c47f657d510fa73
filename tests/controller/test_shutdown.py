"""What is cancelled ends, whatever else happens in the same moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.controller.remotes.resolver import Resolver
from meshfed.controller.remotes.session import Reports, Session
from meshfed.model.reasons import Decision, Reason
from meshfed.telemetry.metrics import Metrics
from tests.controller.remotes import Remote

Reconciler = tuple[Callable[[], Coroutine[Any, Any, None]], Callable[[], object]]
"""Something that runs until it is cancelled, and what wakes it."""


async def no_answer(_name: str) -> tuple[str, ...]:
    raise OSError("no such host")


def resolver() -> Reconciler:
    made = Resolver(lambda: frozenset({"gw.west.example"}), lambda _name, _answer: None, lookup=no_answer)
    return made.run, made.poke


def session() -> Reconciler:
    mesh = msgspec.convert(Remote("west", 1).remote_mesh(), RemoteMesh)
    made = Session(
        mesh,
        reports=Reports(
            heard=lambda _: None,
            desire=lambda _remote, _host, _spec, _received: None,
            connection=lambda _name, _connection: None,
        ),
        judge=lambda _: Decision(accepted=True, reason=Reason.ACCEPTED),
        metrics=Metrics(),
        stamp=lambda: "2026-01-01T00:00:00Z",
        node="east",
    )
    return made.run, lambda: made.reconfigure(mesh)


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("make", [resolver, session])
async def test_a_task_that_is_cancelled_as_it_wakes_up_ends(make: Callable[[], Reconciler], turns: int) -> None:
    run, wake = make()
    task = asyncio.create_task(run())
    await asyncio.sleep(0.05)
    wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 2)
    assert task.cancelled()

"""Remotes that misbehave, each on a port of its own, all in a process of their own: a flood costs that.

``python -m tests.controller.misbehaving`` listens on ports that it prints as JSON by name, until it is killed. Whatever
it does beside, each remote offers `KEPT`, and never withdraws that.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from meshfed.fds._listener import Listener, ServerCall
from meshfed.fds.messages import (
    DELTA_METHOD,
    DELTA_TYPE,
    SOTW_METHOD,
    SOTW_TYPE,
    Dialect,
    SetDigest,
    encode,
    packed,
    resource,
)
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.fds.transport import Status, StatusError, run_until_first_error
from meshfed.model.offers import Offer
from tests.builders import offer

KEPT = tuple(f"kept-{number}" for number in range(5))
PAUSE = 0.001
"""Seconds between two messages of a flood."""
HOSTS = (
    "x",
    ".".join("a" * 10_000),
    "UPPER.default.svc.cluster.local",
    "*.default.svc.cluster.local",
    "*",
    "kubernetes.default.svc.cluster.local",
    "istiod.istio-system.svc.cluster.local",
    "a.kube-system.svc.cluster.local",
    "a..b",
    "-a.default.svc.cluster.local",
    "a.default.svc.cluster.local.",
    "ä.default.svc.cluster.local",
    "a\x00.default.svc.cluster.local",
    "a.default.svc.cluster.local\nb",
    f"{'a' * 300}.default.svc.cluster.local",
)
"""None of them may become an import."""

Resources = dict[str, tuple[str, bytes]]
"""Version and bytes, by name."""


def resources(offers: Iterable[Offer], version: str = "1") -> Resources:
    return {one.host: (version, encode(one, Dialect.DELTA)) for one in offers}


def kept() -> Resources:
    return resources(map(offer, KEPT))


def digest(held: Resources) -> str:
    found = SetDigest()
    for name, (version, _) in held.items():
        found.add(SetDigest.term(name.encode(), version.encode()))
    return str(found)


class Delta:
    """A stream of our dialect, of which only what goes wrong is yet to be said."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call
        self.held: Resources = {}
        self._nonces = itertools.count(1)

    async def send(self, changed: Resources, removed: Iterable[str] = (), *, last: str | None = None) -> None:
        """Send what changed, and in the end ``last``, the right digest where it is left out."""
        gone = tuple(removed)
        self.held = {name: one for name, one in self.held.items() if name not in gone} | changed
        response = pb.DeltaDiscoveryResponse(
            type_url=DELTA_TYPE,
            nonce=str(next(self._nonces)),
            resources=[resource(name, version, value) for name, (version, value) in changed.items()],
            removed_resources=[name.encode() for name in gone],
            system_version_info=digest(self.held) if last is None else last,
        )
        await self.call.send(response.SerializeToString())
        await asyncio.sleep(PAUSE)


Misbehave = Callable[[Delta], Awaitable[None]]


async def steady(stream: Delta) -> None:
    while True:
        await asyncio.sleep(0.3)
        await stream.send({})


async def flapping(stream: Delta) -> None:
    some = resources(offer(f"flap-{number}") for number in range(15))
    while True:
        await stream.send(some)
        await stream.send({}, some)


async def heartbeats(stream: Delta) -> None:
    said = digest(stream.held)
    while True:
        await stream.send({}, last=said)


async def wrong_digests(stream: Delta) -> None:
    while True:
        await stream.send({}, last="0" * 64)


async def oversized(stream: Delta) -> None:
    for number in itertools.count():
        labels = {f"label-{one}": "x" * 60 for one in range(4500)}
        await stream.send(resources([offer(f"large-{number % 50}", labels=labels)], str(number)))


async def unparsable_services(stream: Delta) -> None:
    rng = random.Random(1)
    for number in itertools.count():
        garbage = {f"g-{number}-{one}.default.svc.cluster.local": ("1", rng.randbytes(200)) for one in range(50)}
        await stream.send(garbage)


async def unparsable_messages(stream: Delta) -> None:
    await stream.call.send(b"\xff" * 1000)


async def hundred_megabytes(stream: Delta) -> None:
    await stream.call.send(bytes(100_000_000))


async def odd_hosts(stream: Delta) -> None:
    for number in itertools.count():
        bad = resources((Offer(host=host, ports=offer("a").ports) for host in HOSTS), str(number))
        nothing = resources([Offer(host=f"bad-{one}.default.svc.cluster.local") for one in range(20)], str(number))
        await stream.send(bad | nothing)


async def hundred_thousand(stream: Delta) -> None:
    for first in range(0, 100_000, 500):
        await stream.send(resources(offer(f"many-{number}") for number in range(first, first + 500)))
    while True:
        await asyncio.sleep(0.3)
        await stream.send({})


async def new_names(stream: Delta) -> None:
    for turn in itertools.count():
        names = [f"new-{turn}-{number}" for number in range(100)]
        some = resources(map(offer, names))
        await stream.send(some)
        await stream.send({}, some)


async def changes(stream: Delta) -> None:
    for turn in itertools.count():
        await stream.send(
            resources((offer(f"changed-{number}", labels={"n": str(turn)}) for number in range(500)), str(turn))
        )


DELTAS: dict[str, Misbehave] = {
    "steady": steady,
    "flapping": flapping,
    "heartbeats": heartbeats,
    "wrong digests": wrong_digests,
    "oversized services": oversized,
    "unparsable services": unparsable_services,
    "unparsable messages": unparsable_messages,
    "an answer of 100 MB": hundred_megabytes,
    "odd hosts": odd_hosts,
    "100,000 services": hundred_thousand,
    "new names without end": new_names,
    "changes without end": changes,
}
EMPTY = "empty lists"
"""In the reference's dialect, whose servers also send them when they failed."""
REMOTES = (*DELTAS, EMPTY)


async def drain(call: ServerCall) -> None:
    while await call.receive() is not None:
        pass


def delta(misbehave: Misbehave) -> Callable[[ServerCall], Awaitable[None]]:
    async def serve(call: ServerCall) -> None:
        request = pb.DeltaDiscoveryRequest.FromString(await call.receive() or b"")
        stream = Delta(call)
        stream.held = {name: (version, b"") for name, version in request.initial_resource_versions.items()}
        gone = [name for name in stream.held if name not in kept()]

        async def talk() -> None:
            await stream.send(kept(), gone)
            await asyncio.sleep(0.2)
            await misbehave(stream)
            await asyncio.sleep(60)

        await run_until_first_error(talk(), drain(call))

    return serve


async def refuse(_: ServerCall) -> None:
    raise StatusError(Status.UNIMPLEMENTED, "not implemented")


async def empty_lists(call: ServerCall) -> None:
    def response(offers: Iterable[Offer]) -> bytes:
        found = [packed(encode(one, Dialect.SOTW)) for one in offers]
        return pb.DiscoveryResponse(
            version_info="1", nonce="1", type_url=SOTW_TYPE, resources=found
        ).SerializeToString()

    async def answer() -> None:
        while await call.receive() is not None:
            await call.send(response(map(offer, KEPT)))

    async def flood() -> None:
        await asyncio.sleep(0.5)
        while True:
            await call.send(response(()))
            await asyncio.sleep(PAUSE)

    await run_until_first_error(answer(), flood())


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[dict[str, int]]:
    async with contextlib.AsyncExitStack() as stack:
        ports: dict[str, int] = {}
        for name, misbehave in DELTAS.items():
            listener = Listener({DELTA_METHOD: delta(misbehave)})
            ports[name] = await stack.enter_async_context(listener.listen("127.0.0.1", 0))
        reference = Listener({DELTA_METHOD: refuse, SOTW_METHOD: empty_lists})
        ports[EMPTY] = await stack.enter_async_context(reference.listen("127.0.0.1", 0))
        yield ports


async def main() -> None:
    async with listening() as ports:
        print(json.dumps(ports), flush=True)
        await asyncio.Event().wait()


class Misbehaving:
    """The process, and the port of each remote in it."""

    def __init__(self, process: subprocess.Popen[str], ports: dict[str, int]) -> None:
        self.process = process
        self.ports = ports

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Misbehaving]:
        """Run it while the context lasts."""
        root = Path(__file__).resolve().parent.parent.parent
        command = [sys.executable, "-m", "tests.controller.misbehaving"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
            try:
                assert process.stdout is not None
                yield cls(process, json.loads(process.stdout.readline()))
            finally:
                process.kill()


if __name__ == "__main__":
    asyncio.run(main())

"""Subscribers that read and do nothing else, in a process of their own.

``python -m tests.bench.readers PORT COUNT KIND``

``KIND``: ``delta``, calls of the discovery service, a connection each; or ``bare``, TCP connections. It prints
``reading``, and then the bytes that it has read so far whenever a line comes on standard input.
"""

from __future__ import annotations

import asyncio
import sys

from meshfed.fds import Target
from meshfed.fds._channel import connect
from meshfed.fds.messages import DELTA_METHOD, DELTA_TYPE
from meshfed.fds.pb import discovery_pb2 as pb

SUBSCRIBE = pb.DeltaDiscoveryRequest(type_url=DELTA_TYPE).SerializeToString()


class Readers:
    """What all of them have read."""

    def __init__(self) -> None:
        self.bytes = 0
        self.began = 0

    async def delta(self, port: int) -> None:
        """Follow the discovery service, and answer nothing."""
        async with connect(Target("127.0.0.1", port), timeout=60) as channel, channel.call(DELTA_METHOD) as call:
            await call.send(SUBSCRIBE)
            self.began += 1
            while (data := await call.receive()) is not None:
                self.bytes += len(data)

    async def bare(self, port: int) -> None:
        """Read what comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.began += 1
        while data := await reader.read(1 << 16):
            self.bytes += len(data)
        writer.close()


async def main(port: int, count: int, kind: str) -> None:
    """Read until standard input ends."""
    readers = Readers()
    async with asyncio.TaskGroup() as group:  # who is cut off ends all: less would have to be sent then
        tasks = [group.create_task(getattr(readers, kind)(port)) for _ in range(count)]
        await _answer(readers, count)
        for task in tasks:
            task.cancel()


async def _answer(readers: Readers, count: int) -> None:
    while readers.began < count:  # noqa: ASYNC110 - it is looked at now and then
        await asyncio.sleep(0.01)
    print("reading", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(readers.bytes, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))

"""Peers that speak as the reference does, made of grpcio and protobuf alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc.aio
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc  # type: ignore[import-untyped]  # grpcio-tools ships no types

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
TYPE = "federation.openshift-service-mesh.io/v1alpha1/ExportedService"
RESOURCE = "type.googleapis.com/v1alpha1.FederatedService"


def _messages() -> dict[str, Any]:
    """The classes of ``reference.proto``, in a pool of their own."""
    here = Path(__file__).parent
    with TemporaryDirectory() as directory:
        output = Path(directory) / "set"
        well_known = Path(protoc.__file__).parent / "_proto"
        failed = protoc.main(
            ["protoc", f"-I{here}", f"-I{well_known}", f"--descriptor_set_out={output}", "reference.proto"]
        )
        assert not failed
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    for file in files.file:
        pool.Add(file)
    described = pool.FindFileByName("reference.proto").message_types_by_name
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in described.items()}


MESSAGES = _messages()
Request, Response = MESSAGES["DiscoveryRequest"], MESSAGES["DiscoveryResponse"]
FederatedService, ServicePort = MESSAGES["FederatedService"], MESSAGES["ServicePort"]


def resource(name: str, **labels: str) -> Any:
    """A service of namespace default, on port http 9080 -> 8080, as the reference's exporter writes it."""
    port = ServicePort(number=9080, protocol="HTTP", name="http", targetPort=8080)
    return FederatedService(hostname=f"{name}.default.svc.cluster.local", ports=[port], labels=labels or {"app": name})


def packed(message: Any) -> Any:
    value = message if isinstance(message, bytes) else message.SerializeToString()
    pool_any = Response.DESCRIPTOR.fields_by_name["resources"].message_type
    return message_factory.GetMessageClass(pool_any)(type_url=RESOURCE, value=value)


class ReferenceServer:
    """The reference's server: sections of ``protocol.md``, quirks included.

    It answers every request without a version with everything (version and nonce are the time), none that has one,
    and pushes everything without a nonce on every change, also before it was asked. Delta is not implemented.
    """

    def __init__(self, *services: Any) -> None:
        self.services: list[Any] = list(services)
        self.requests: list[Any] = []
        self.delta_calls = 0
        self.failing = 0
        self.empty_answers = 0
        self.authorities: list[str] = []
        self._streams: set[asyncio.Queue[Any]] = set()

    def push(self) -> None:
        """Push what there is now to every stream, as after a change."""
        for stream in self._streams:
            stream.put_nowait(self._everything(nonce=""))

    def push_raw(self, *resources: Any, nonce: str = "") -> None:
        response = Response(version_info="1", type_url=TYPE, nonce=nonce, resources=[packed(one) for one in resources])
        for stream in self._streams:
            stream.put_nowait(response)

    def _everything(self, *, nonce: str) -> Any:
        services = self.services
        if self.empty_answers:
            self.empty_answers -= 1
            services = []
        resources = [packed(one) for one in services]
        return Response(version_info=str(int(time.time())), nonce=nonce, type_url=TYPE, resources=resources)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        if self.failing:
            self.failing -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._streams.add(outbox)

        async def read() -> None:
            async for request in requests:
                self.requests.append(request)
                if request.type_url != TYPE:
                    outbox.put_nowait(Response(type_url=request.type_url, version_info="1", nonce="1"))
                elif not request.version_info:
                    outbox.put_nowait(self._everything(nonce=str(int(time.time()))))

        reader = asyncio.create_task(read())
        try:
            while True:
                yield await outbox.get()
        finally:
            self._streams.discard(outbox)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _delta(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        del requests
        self.delta_calls += 1
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented")
        yield None

    @asynccontextmanager
    async def listen(self, port: int = 0) -> AsyncIterator[int]:
        server = grpc.aio.server()
        handlers = {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
                self._stream, Request.FromString, Response.SerializeToString
            ),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta, bytes, bytes),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)


class ReferenceClient:
    """The reference's client: one request without node or version, and no ACK ever."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def ask(self, *, type_url: str = TYPE, version: str = "", nonce: str = "12:00:00", error: str = "") -> None:
        request = Request(type_url=type_url, version_info=version, response_nonce=nonce)
        if error:
            request.error_detail.message = error
        await self.call.write(request)

    async def next(self, timeout: float = 20) -> Any:
        async with asyncio.timeout(timeout):
            return await self.call.read()

    async def hosts(self) -> list[str]:
        """The hosts of the next response, as it has them."""
        return [one.hostname for one in services_of(await self.next())]


def services_of(response: Any) -> list[Any]:
    return [FederatedService.FromString(one.value) for one in response.resources]


@asynccontextmanager
async def reference_client(
    port: int, *, metadata: tuple[tuple[str, str], ...] = (), method: str = "StreamAggregatedResources"
) -> AsyncIterator[ReferenceClient]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        make: Any = channel.stream_stream(f"/{SERVICE}/{method}", Request.SerializeToString, Response.FromString)
        call = make(metadata=metadata)
        try:
            yield ReferenceClient(call)
        finally:
            call.cancel()

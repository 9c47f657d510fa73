"""An echo for each protocol that a mesh carries: it says what arrived, where, and from whom.

As everywhere in Istio, the name of a port says what is spoken there: ``http``, ``http2`` (without TLS, by prior
knowledge), ``grpc``, ``tcp``, and ``https`` or ``tls`` with a certificate of the application's own.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

from meshfed_sandbox.apps.context import Application, ContainerPort, PodContext, caller, serving
from meshfed_sandbox.apps.http2 import MAX_BODY, HTTP2Server

JSONObject = dict[str, Any]

GRPC_METHOD: Final = "/meshfed.sandbox.Echo/Say"
"""Unary: a google.protobuf.StringValue in, a google.protobuf.Struct out, with what every answer says."""

PORTS: Final = (
    ContainerPort(8080, "http"),
    ContainerPort(8082, "http2"),
    ContainerPort(7070, "grpc"),
    ContainerPort(9000, "tcp"),
    ContainerPort(8443, "https"),
)
"""Where an echo listens whose Pod declares no ports."""

_MAX_LINE: Final = 1 << 16
_IDLE_SECONDS: Final = 300


@asynccontextmanager
async def echo(context: PodContext) -> AsyncIterator[None]:
    """An echo on every port of the Pod.

    Raises:
        ValueError: a port's name asks for a protocol that an echo does not speak.
    """
    listeners: dict[str, Callable[[PodContext, int], AbstractAsyncContextManager[None]]] = {
        "http": _http,
        "http2": _http2,
        "grpc": _grpc,
        "tcp": _tcp,
        "https": partial(_http, tls=True),
        "tls": partial(_http, tls=True),
    }
    async with AsyncExitStack() as stack:
        for port in context.ports or PORTS:
            listener = listeners.get(port.protocol)
            if listener is None:
                raise ValueError(
                    f"port {port.number} is named {port.name!r}: an echo speaks {', '.join(listeners)}; name the port "
                    "by one of these, such as tcp-lines"
                )
            await stack.enter_async_context(listener(context, port.number))
        yield


def _seen(context: PodContext, protocol: str, method: str, path: str, headers: Mapping[str, str]) -> JSONObject:
    request = {"protocol": protocol, "method": method, "path": path, "headers": dict(headers)}
    return {**context.whoami, **caller(headers), **request}


@asynccontextmanager
async def _http(context: PodContext, port: int, *, tls: bool = False) -> AsyncIterator[None]:
    async def answer(request: web.Request) -> web.Response:
        body = (await request.read()).decode(errors="replace")
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = _seen(context, "https" if tls else "http/1.1", request.method, request.path_qs, headers)
        return web.json_response({**seen, "body": body})

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:(?!health$).*}", answer)
    async with serving(app, context, port, tls=_own_certificate(context) if tls else None):
        yield


@asynccontextmanager
async def _http2(context: PodContext, port: int) -> AsyncIterator[None]:
    def answer(headers: Mapping[str, str], body: bytes) -> JSONObject:
        fields = {name: value for name, value in headers.items() if not name.startswith(":")}
        seen = _seen(context, "h2c", headers.get(":method", ""), headers.get(":path", ""), fields)
        return {**seen, "body": body.decode(errors="replace")}

    async with HTTP2Server(answer).listening(context.host, port):
        yield


class _Echo:
    """The gRPC service."""

    def __init__(self, context: PodContext) -> None:
        self._context = context

    async def _say(self, stream: Stream[StringValue, Struct]) -> None:
        message = await stream.recv_message()
        headers = {name: value for name, value in (stream.metadata or {}).items() if isinstance(value, str)}
        seen = _seen(self._context, "grpc", "POST", GRPC_METHOD, headers)
        body = message.value if message is not None else ""
        await stream.send_message(json_format.ParseDict({**seen, "body": body}, Struct()))

    def __mapping__(self) -> dict[str, Handler]:
        return {GRPC_METHOD: Handler(self._say, Cardinality.UNARY_UNARY, StringValue, Struct)}


@asynccontextmanager
async def _grpc(context: PodContext, port: int) -> AsyncIterator[None]:
    server = Server([_Echo(context)])
    await server.start(context.host, port)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def _tcp(context: PodContext, port: int) -> AsyncIterator[None]:
    """Answers each line with itself, after the mesh and the Pod that it reached."""
    connections: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, ValueError, TimeoutError):  # gone, a line without end, or nothing to say
                while line := await asyncio.wait_for(reader.readline(), _IDLE_SECONDS):
                    writer.write(f"{context.mesh} {context.pod}: ".encode() + line)
                    await writer.drain()
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, context.host, port, limit=_MAX_LINE)
    try:
        yield
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


def _own_certificate(context: PodContext) -> ssl.SSLContext:
    """TLS as an application that brings its own does it: self-signed, for the names in TLS_NAMES (commas between)."""
    app = context.labels.get("app", context.pod)
    default = f"{app},{app}.{context.namespace}.svc.cluster.local"
    names = [name.strip() for name in context.env.get("TLS_NAMES", default).split(",") if name.strip()]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # ssl reads files alone; ours is ours alone, and gone at once
        path = Path(folder, "certificate.pem")
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        settings.load_cert_chain(path)
    return settings


IMAGES: Final[Mapping[str, Application]] = {"echo": echo}

"""The echo in each protocol, the client that calls it, and httpbin; on this machine's loopback, with no data plane."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import msgspec
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from meshfed_sandbox.apps import ContainerPort, Outcome, PodContext, call, serve
from meshfed_sandbox.apps.http2 import MAX_BODY
from meshfed_sandbox.ports import Ports

IDENTITY = "spiffe://west.local/ns/clients/sa/caller"
XFCC = f'Hash=00;Subject="";URI={IDENTITY}'
NOBODY = {"mesh": "east", "pod": "echo-1", "version": "v1"}


def context(ports: Ports, *protocols: str, pod: str = "echo-1", **env: str) -> PodContext:
    return PodContext(
        mesh="east",
        namespace="tools",
        pod=pod,
        labels={"app": "echo", "version": "v1"},
        env=env,
        ports=tuple(ContainerPort(ports.take(), name) for name in protocols),
        host="127.0.0.1",
    )


@pytest.fixture
async def echo(ports: Ports) -> AsyncIterator[dict[str, int]]:
    """An echo in every protocol: the port of each."""
    pod = context(ports, "http", "http2", "grpc-api", "tcp-lines", "https", "tls")
    async with serve("example.com/echo:1", pod):
        yield {port.protocol: port.number for port in pod.ports}


async def test_http(echo: dict[str, int]) -> None:
    url = f"http://127.0.0.1:{echo['http']}/some/path?a=b"
    headers = {"X-Forwarded-Client-Cert": XFCC}
    async with aiohttp.ClientSession() as session, session.post(url, data="hello", headers=headers) as response:
        answer = await response.json()
    headers = answer.pop("headers")
    assert answer == {
        **NOBODY,
        "caller": IDENTITY,
        "protocol": "http/1.1",
        "method": "POST",
        "path": "/some/path?a=b",
        "body": "hello",
    }
    assert headers["x-forwarded-client-cert"] == XFCC


@pytest.mark.parametrize("protocol", ["https", "tls"])
async def test_tls_with_a_certificate_of_its_own(echo: dict[str, int], protocol: str) -> None:
    outcome = await call(f"https://127.0.0.1:{echo[protocol]}/")
    assert (outcome.status, outcome.answer["protocol"]) == (200, "https")
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", echo[protocol]))
    settings = ssl.create_default_context(cadata=pem)
    for name in ("echo", "echo.tools.svc.cluster.local"):
        _, writer = await asyncio.open_connection("127.0.0.1", echo[protocol], ssl=settings, server_hostname=name)
        writer.close()
        await writer.wait_closed()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await asyncio.open_connection("127.0.0.1", echo[protocol], ssl=settings, server_hostname="reviews")


async def test_grpc(echo: dict[str, int]) -> None:
    outcome = await call(f"grpc://127.0.0.1:{echo['grpc']}/hello", {"x-forwarded-client-cert": XFCC})
    assert (outcome.status, outcome.error) == (0, "")
    headers = outcome.answer.pop("headers")
    assert headers["x-forwarded-client-cert"] == XFCC
    assert outcome.answer == {
        **NOBODY,
        "caller": IDENTITY,
        "protocol": "grpc",
        "method": "POST",
        "path": "/meshfed.sandbox.Echo/Say",
        "body": "hello",
    }


async def test_the_client_speaks_http2_as_well(echo: dict[str, int]) -> None:
    outcome = await call(f"http2://127.0.0.1:{echo['http2']}/some/path?a=b", {"X-Forwarded-Client-Cert": XFCC})
    assert (outcome.status, outcome.headers["content-type"]) == (200, "application/json")
    assert outcome.answer.pop("headers") == {"x-forwarded-client-cert": XFCC}
    assert outcome.answer == {
        **NOBODY,
        "caller": IDENTITY,
        "protocol": "h2c",
        "method": "GET",
        "path": "/some/path?a=b",
        "body": "",
    }


async def test_tcp_lines(echo: dict[str, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo["tcp"])
    for line in (b"one\n", b"two\n"):
        writer.write(line)
        assert await reader.readline() == b"east echo-1: " + line
    writer.close()
    await writer.wait_closed()


async def test_a_line_without_end_is_cut_off(echo: dict[str, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo["tcp"])
    writer.write(b"x" * (1 << 20))
    with suppress(ConnectionError):
        async with asyncio.timeout(30):
            assert await reader.read() == b""
    writer.close()
    assert (await call(f"tcp://127.0.0.1:{echo['tcp']}/still")).answer == "east echo-1: still"


class HTTP2:
    """A client of HTTP/2 by prior knowledge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def ask(self, path: str, body: bytes = b"") -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "echo")]
        self.h2.send_headers(stream, [*headers, ("x-forwarded-client-cert", XFCC)])
        while body:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            self.h2.send_data(stream, body[:size])
            body = body[size:]
            if self.h2.local_flow_control_window(stream) == 0:
                break
        if not body:
            self.h2.end_stream(stream)
        self.flush()
        return stream

    async def answer(self, stream: int) -> tuple[str, bytes]:
        """The status and body of the answer on ``stream``, or ``reset``."""
        status, body = "", b""
        while True:
            data = await self.reader.read(1 << 16)
            assert data, "the connection has ended"
            for event in self.h2.receive_data(data):
                match event:
                    case ResponseReceived(stream_id=found, headers=headers) if found == stream:
                        status = next(str(value) for name, value in headers or () if str(name) == ":status")
                    case DataReceived(stream_id=found, data=chunk) if found == stream:
                        body += chunk or b""
                        self.h2.acknowledge_received_data(len(chunk or b""), stream)
                    case StreamEnded(stream_id=found) if found == stream:
                        return status, body
                    case StreamReset(stream_id=found) if found == stream:
                        return "reset", b""
            self.flush()


async def test_http2_by_prior_knowledge(echo: dict[str, int]) -> None:
    peer = HTTP2(*await asyncio.open_connection("127.0.0.1", echo["http2"]))
    status, body = await peer.answer(peer.ask("/a"))
    answer: dict[str, Any] = msgspec.json.decode(body)
    assert (status, answer["path"], answer["protocol"], answer["caller"]) == ("200", "/a", "h2c", IDENTITY)
    status, body = await peer.answer(peer.ask("/b", b"x" * 60_000))
    assert (status, len(msgspec.json.decode(body)["body"])) == ("200", 60_000)
    peer.writer.close()


async def test_http2_takes_no_body_without_end(echo: dict[str, int]) -> None:
    peer = HTTP2(*await asyncio.open_connection("127.0.0.1", echo["http2"]))
    stream = peer.h2.get_next_available_stream_id()
    headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "echo")]
    peer.h2.send_headers(stream, headers)
    sent = 0
    async with asyncio.timeout(30):
        while True:
            room = min(peer.h2.local_flow_control_window(stream), peer.h2.max_outbound_frame_size)
            if room:
                peer.h2.send_data(stream, b"x" * room)
                sent += room
                peer.flush()
            elif any(isinstance(event, StreamReset) for event in peer.h2.receive_data(await peer.reader.read(65536))):
                break
    assert MAX_BODY < sent < 4 * MAX_BODY
    assert (await peer.answer(peer.ask("/next")))[0] == "200"
    peer.writer.close()


async def test_what_is_not_http2_ends_that_connection_alone(echo: dict[str, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo["http2"])
    writer.write(b"GET / HTTP/1.1\r\nhost: echo\r\n\r\n" * 3)
    async with asyncio.timeout(30):
        while await reader.read(65536):
            pass
    writer.close()
    peer = HTTP2(*await asyncio.open_connection("127.0.0.1", echo["http2"]))
    assert (await peer.answer(peer.ask("/")))[0] == "200"
    peer.writer.close()


async def test_a_port_in_a_language_that_is_not_spoken(ports: Ports) -> None:
    with pytest.raises(ValueError, match="is named 'mongo-db': an echo speaks http, http2, grpc, tcp, https, tls"):
        async with serve("echo", context(ports, "http", "mongo-db")):
            pass


async def test_an_open_conversation_does_not_keep_the_echo(ports: Ports) -> None:
    pod = context(ports, "tcp", "http2", "http")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve("echo", pod))
        peers = [await asyncio.open_connection("127.0.0.1", port.number) for port in pod.ports]
        async with asyncio.timeout(30):
            await stack.aclose()
    for reader, writer in peers:
        with suppress(ConnectionError):
            async with asyncio.timeout(30):
                await reader.read()
        writer.close()


# --- the client


async def ask(address: str, **query: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(address, params=query) as response:
        return response.status, await response.json()


async def test_the_client_reports_what_came(echo: dict[str, int], ports: Ports) -> None:
    pod = context(ports, "http", pod="client-1")
    target = f"http://127.0.0.1:{echo['http']}/x"
    async with serve("client", pod):
        base = f"http://127.0.0.1:{pod.ports[0].number}"
        status, answer = await ask(f"{base}/call", url=target, count="3")
        assert (status, answer["pod"]) == (200, "client-1")
        assert [(one["url"], one["status"], one["answer"]["pod"]) for one in answer["calls"]] == [
            (target, 200, "echo-1")
        ] * 3
        _, answer = await ask(f"{base}/call", url=f"http://127.0.0.1:{ports.take()}/")
        (outcome,) = answer["calls"]
        assert "status" not in outcome
        assert outcome["error"].startswith("cannot connect: Connect call failed")
        _, state = await ask(base)
        assert state["counts"] == {"200": 3, "error": 1}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (
            {"url": "echo:80"},
            "url 'echo:80' is not one to call: use SCHEME://HOST:PORT/PATH with http, https, http2, grpc, tcp",
        ),
        ({"url": "file:///etc/passwd"}, "is not one to call"),
        ({"url": "tcp://echo/"}, "is not one to call"),
        ({"url": "http://echo:99999/"}, "is not a URL"),
        ({"url": "http://127.0.0.1:1/", "count": "0"}, "count '0' is not a number from 1 to 1000"),
        ({"url": "http://127.0.0.1:1/", "count": "many"}, "count 'many' is not a number from 1 to 1000"),
    ],
)
async def test_what_the_client_cannot_call(query: dict[str, str], says: str, ports: Ports) -> None:
    pod = context(ports, "http")
    async with serve("client", pod):
        status, answer = await ask(f"http://127.0.0.1:{pod.ports[0].number}/call", **query)
    assert status == 400
    assert says in answer["error"]


async def test_the_client_calls_by_itself(echo: dict[str, int], ports: Ports) -> None:
    pod = context(ports, "http", pod="client-1", URL=f"tcp://127.0.0.1:{echo['tcp']}/tick", INTERVAL="0.01")
    async with serve("client", pod), asyncio.timeout(30):
        while True:
            _, state = await ask(f"http://127.0.0.1:{pod.ports[0].number}/")
            if state["counts"].get("ok", 0) >= 3:
                break
            await asyncio.sleep(0.01)
    assert state["last"]["answer"] == "east echo-1: tick"


@pytest.mark.parametrize("env", [{"URL": "nonsense"}, {"URL": "tcp://a:1/", "INTERVAL": "often"}])
async def test_an_environment_that_cannot_be_followed(env: dict[str, str], ports: Ports) -> None:
    with pytest.raises(ValueError, match="is not"):
        async with serve("client", context(ports, "http", **env)):
            pass


async def test_outcomes_that_are_no_answers(echo: dict[str, int]) -> None:
    kept: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: kept.append(writer), "127.0.0.1", 0)
    rude = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with silent, rude:
        ports = [server.sockets[0].getsockname()[1] for server in (silent, rude)]
        late = await call(f"http://127.0.0.1:{ports[0]}/", seconds=0.2)
        assert (late.status, late.error) == (None, "nothing came within 0.2 s")
        for writer in kept:
            writer.close()
        for scheme in ("http", "http2", "tcp", "grpc", "https"):
            closed = await call(f"{scheme}://127.0.0.1:{ports[1]}/")
            assert (closed.status, closed.word) == (None, "error"), scheme
            assert closed.error != ""
    for scheme, protocol in (("grpc", "http2"), ("http2", "http"), ("http2", "tcp")):
        wrong = await call(f"{scheme}://127.0.0.1:{echo[protocol]}/")
        assert isinstance(wrong, Outcome)
        assert wrong.error != ""


async def test_sleep_sleeps_unless_it_has_ports(ports: Ports) -> None:
    async with serve("curlimages/curl:8", context(ports)):
        pass
    pod = context(ports, "http")
    async with serve("sleep", pod):
        assert (await ask(f"http://127.0.0.1:{pod.ports[0].number}/"))[0] == 200


# --- httpbin


async def test_httpbin(ports: Ports) -> None:
    pod = context(ports, "http", pod="httpbin-1")
    async with serve("docker/httpbin:2", pod), aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{pod.ports[0].number}"
        headers = [("X-Forwarded-Client-Cert", XFCC), ("X-A", "1"), ("X-A", "2")]
        async with session.get(f"{base}/headers", headers=headers) as response:
            answer = await response.json()
        assert (answer["headers"]["X-A"], answer["caller"], answer["pod"]) == ("1,2", IDENTITY, "httpbin-1")
        for path, status in (("/status/418", 418), ("/status/503", 503), ("/status/100", 404), ("/status/x", 404)):
            async with session.get(base + path) as response:
                assert response.status == status, path
        async with session.get(f"{base}/ip", headers={"X-Forwarded-For": "192.0.2.1"}) as response:
            assert (await response.json())["origin"] == "192.0.2.1"
        async with session.get(f"{base}/get?a=1") as response:
            assert (await response.json())["args"] == {"a": "1"}
        async with session.get(f"{base}/delay/0.01") as response:
            assert response.status == 200

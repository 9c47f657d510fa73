"""``kubectl logs`` and ``kubectl exec``: what a node says of the Pods it runs, and what they answer over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from aiohttp import web

from meshfed_sandbox.apiserver import errors, reads
from meshfed_sandbox.apiserver.errors import StatusError

if TYPE_CHECKING:
    from meshfed_sandbox.apps.curl import Ran

JSONObject = dict[str, Any]

LOG: Final = "log"
EXEC: Final = "exec"
PROXY: Final = "proxy"
CHANNELS: Final = "v5.channel.k8s.io"
"""The subprotocol of WebSockets in which each message begins with the number of its stream."""
_OUT, _ERR, _STATUS = b"\x01", b"\x02", b"\x03"
_PIECE: Final = 1 << 16
_POLL: Final = 0.2
_UNKNOWN: Final = ("previous", "sinceSeconds", "sinceTime", "timestamps", "limitBytes")


class Kubelet(Protocol):
    """Who runs the Pods of a cluster."""

    def logs(self, namespace: str, pod: str, container: str) -> Sequence[Path]:
        """The files that a container writes, the liveliest last; ``LookupError`` where it does not run here."""

    async def execute(self, namespace: str, pod: str, container: str, words: Sequence[str]) -> Ran:
        """What a command says in a container; ``LookupError`` where that does not run, or has no such program."""

    async def fetch(self, namespace: str, pod: str, port: int, path: str) -> tuple[int, str, bytes]:
        """Status, Content-Type and body of what a Pod answers to GET; ``LookupError`` where nothing answers there."""


async def proxied(
    kubelet: Kubelet | None, pod: JSONObject, port: str, path: str, request: web.BaseRequest
) -> web.StreamResponse:
    """Answer with what a Pod answers on a port, 80 where none is named; ``StatusError`` where it does not."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    if port and not port.isdecimal():
        raise errors.bad_request(f"invalid pod request {name}:{port}: the sandbox takes ports by number")
    if kubelet is None:
        raise errors.bad_request(f"pod {name} does not run: this sandbox runs none without --data-plane")
    query = f"?{request.query_string}" if request.query_string else ""
    try:
        status, kind, body = await kubelet.fetch(namespace, name, int(port or 80), f"{path}{query}")
    except LookupError as error:
        message = f"error trying to reach service: {error.args[0]}"
        raise StatusError(503, "ServiceUnavailable", message) from error
    return web.Response(status=status, body=body, headers={"Content-Type": kind})


async def answer(
    kubelet: Kubelet | None, pod: JSONObject, subresource: str, request: web.BaseRequest, query: Mapping[str, Any]
) -> web.StreamResponse:
    """Answer a request for a Pod's ``log`` or ``exec``; ``StatusError`` where that cannot be had."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    if kubelet is None:
        raise errors.bad_request(f"pod {name} does not run: this sandbox runs none without --data-plane")
    container = _container(pod, query.get("container", ""))
    try:
        if subresource == LOG:
            return await _log(kubelet.logs(namespace, name, container), request, query)
        words = [str(word) for word in request.query.getall("command", [])]
        return await _exec(kubelet, (namespace, name, container), words, request)
    except LookupError as error:
        raise errors.bad_request(str(error.args[0])) from error


def _container(pod: JSONObject, asked: str) -> str:
    name, have = pod["metadata"]["name"], [str(one["name"]) for one in pod["spec"]["containers"]]
    if not asked and len(have) > 1:
        listed = " ".join(have)
        raise errors.bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    if asked and asked not in have:
        raise errors.bad_request(f"container {asked} is not valid for pod {name}")
    return asked or have[0]


async def _log(paths: Sequence[Path], request: web.BaseRequest, query: Mapping[str, Any]) -> web.StreamResponse:
    """The files one after the other; with ``follow`` what is appended to the last of them, until the client leaves."""
    if refused := [name for name in _UNKNOWN if query.get(name, "false") != "false"]:
        raise errors.bad_request(f"{refused[0]}: the sandbox's logs are known by tailLines and follow alone")
    tail = query.get("tailLines", "")
    if tail and not tail.isdecimal():
        raise errors.bad_request(f"tailLines: {tail!r} is not a number of lines")
    written = [path.read_bytes() if path.exists() else b"" for path in paths]
    said = b"".join(written)
    if tail:
        said = b"".join(said.splitlines(keepends=True)[-int(tail) :]) if int(tail) else b""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(said)
    at = len(written[-1])
    try:
        while reads.flag(query, "follow"):
            await asyncio.sleep(_POLL)
            more = _since(paths[-1], at)
            at += len(more)
            await response.write(more)
    except ConnectionError:
        raise asyncio.CancelledError from None  # the client left: there is nobody to answer
    await response.write_eof()
    return response


def _since(path: Path, at: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(at)
        return file.read()


async def _exec(
    kubelet: Kubelet, where: tuple[str, str, str], words: Sequence[str], request: web.BaseRequest
) -> web.StreamResponse:
    offered = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if CHANNELS not in offered:
        raise errors.bad_request(f"exec is to be asked for by a WebSocket with {CHANNELS}, as kubectl does since 1.31")
    socket = web.WebSocketResponse(protocols=(CHANNELS,))
    await socket.prepare(request)
    try:
        ran = await kubelet.execute(*where, words)
    except LookupError as error:
        # Refused in HTTP, kubectl would ask again in the protocol that it had before, and show how that is refused.
        status = StatusError(500, "InternalError", str(error.args[0])).status()
    else:
        for stream, said in ((_OUT, ran.out), (_ERR, ran.err)):
            for start in range(0, len(said), _PIECE):
                await socket.send_bytes(stream + said[start : start + _PIECE])
        status = _ended(ran.code)
    await socket.send_bytes(_STATUS + msgspec.json.encode(status))
    await socket.close()
    return socket


def _ended(code: int) -> JSONObject:
    """How a command ended, as a Status."""
    if code == 0:
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    message = f"command terminated with non-zero exit code: exit status {code}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return StatusError(500, "NonZeroExitCode", message, {"causes": causes}).status()

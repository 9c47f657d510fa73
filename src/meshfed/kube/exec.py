"""A command in a container, as ``kubectl exec`` runs one: over a WebSocket, which API servers take since 1.30."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from meshfed.kube.client import Client
from meshfed.kube.errors import Cause, MalformedAnswer, api_error
from meshfed.kube.resources import Resource

PROTOCOL: Final = "v5.channel.k8s.io"
"""Each message begins with the number of its stream; ``v4`` differs only in what nobody here sends."""
_PODS: Final = Resource("", "v1", "pods", "Pod")
_OUT, _ERR, _STATUS = 1, 2, 3
MOST_BYTES: Final = 1024 * 1024
"""What is kept of each stream."""


class Ran(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: bytes
    err: bytes


async def execute(client: Client, namespace: str, pod: str, container: str, words: Sequence[str]) -> Ran:
    """Run ``words`` in a container until they end; raises ``APIError`` by kind, where it did not even begin.

    ``container`` may be empty where the pod has one only, or says which is meant.
    """
    query = [("stdout", "true"), ("stderr", "true"), *(("command", word) for word in words)]
    if container:
        query.append(("container", container))
    path = f"{_PODS.path(namespace, pod, 'exec')}?{urlencode(query)}"
    streams = {_OUT: bytearray(), _ERR: bytearray()}
    async for message in client.messages(path, PROTOCOL):
        if not message:
            continue
        number, content = message[0], message[1:]
        if number == _STATUS:
            return Ran(_code(content), bytes(streams[_OUT]), bytes(streams[_ERR]))
        if number in streams:
            streams[number] += content[: MOST_BYTES - len(streams[number])]
    raise MalformedAnswer(f"exec in pod {namespace}/{pod} ended without saying how")


class _ExecDetails(msgspec.Struct):
    causes: tuple[Cause, ...] | None = None


class _Ended(msgspec.Struct):
    """The Status that ends it."""

    status: str = ""
    code: int = 500
    details: _ExecDetails | None = None


def _code(status: bytes) -> int:
    """Return the exit code that a Status tells; raises the ``APIError`` that it is where the command did not run."""
    try:
        ended = msgspec.json.decode(status, type=_Ended)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the end of exec is not what the API promises: {error}") from error
    if ended.status == "Success":
        return 0
    causes = (ended.details.causes if ended.details is not None else None) or ()
    code = next((one.message for one in causes if one.reason == "ExitCode"), "")
    if code.isascii() and code.isdecimal():
        return int(code[:9])
    raise api_error(ended.code, status)

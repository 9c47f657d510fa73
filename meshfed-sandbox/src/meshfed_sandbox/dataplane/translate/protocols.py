"""Which protocol a port speaks, as istiod decides it (``kube.ConvertProtocol``, ``protocol.Parse``)."""

from __future__ import annotations

from typing import Final, Literal

Protocol = Literal["http", "http2", "tcp", "tls", "udp", "auto"]
"""``http2`` stands for gRPC too; ``auto`` is found out from the first bytes that the client sends."""

_PROTOCOLS: Final[dict[str, Protocol]] = {
    "grpc": "http2",
    "http": "http",
    "http2": "http2",
    "https": "tls",
    "mongo": "tcp",
    "mysql": "tcp",
    "redis": "tcp",
    "tcp": "tcp",
    "tls": "tls",
    "udp": "udp",
}
_APP_PROTOCOLS: Final[dict[str, Protocol]] = {
    "kubernetes.io/h2c": "http2",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "tls",
}
_SERVER_FIRST: Final = frozenset({25, 53, 3306, 27017})
"""Ports whose servers may speak first, so that waiting for the client's bytes would wait for ever."""


class Unsupported(Exception):
    """A protocol that needs filters which are not translated."""


def parse(name: str) -> Protocol:
    """The protocol of a ServiceEntry's port; ``auto`` for what is no protocol's name.

    Raises ``Unsupported``.
    """
    lowered = name.lower()
    if lowered in {"grpc-web", "http_proxy", "hbone"}:
        raise Unsupported(lowered)
    return _PROTOCOLS.get(lowered, "auto")


def of_service(port: int, name: str, transport: str, app_protocol: str | None) -> Protocol:
    """The protocol of a Service's port: by ``appProtocol``, else by the prefix of its name.

    Raises ``Unsupported``.
    """
    if transport == "UDP":
        return "udp"
    if transport != "TCP":
        raise Unsupported(transport)
    if app_protocol:
        known = _APP_PROTOCOLS.get(app_protocol.lower()) or parse(app_protocol)
        if known != "auto":
            return known
    if name.lower().startswith("grpc-web"):
        raise Unsupported("grpc-web")
    known = parse(name.partition("-")[0])
    return "tcp" if known == "auto" and port in _SERVER_FIRST else known

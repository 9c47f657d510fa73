"""What a request through the data plane came to, and at which of its four places it ended."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RequestPlace(StrEnum):
    """Where a request may end, in the order in which it passes them."""

    NAME = "name"
    """The client's own mesh: the host's name has an address there, and its sidecar knows the host."""
    SIDECAR = "sidecar"
    """The client's sidecar: it has an endpoint that it may try."""
    GATEWAY = "gateway"
    """The way from there to the workload, by the remote's gateway."""
    WORKLOAD = "workload"
    """The workload's sidecar, whose policies decide, and the application."""


class RequestView(msgspec.Struct, frozen=True, rename="camel"):
    """One request: from which pod, to where, and what came of it.

    ``reached``: an application answered, or its sidecar's policy did. ``ended_at`` is where it ended; empty where the
    application answered. ``code`` is the HTTP status, 0 where there is none.
    """

    mesh: str
    client: str
    url: str
    code: int
    reached: bool
    allowed: bool
    ended_at: str
    message: str


_NO_NAME, _REFUSED, _TOO_LATE = 6, 7, 28


def verdict(exit_code: int, said: bytes, complaint: bytes) -> tuple[int, bool, bool, str, str]:
    """Return code, whether it was reached, whether it was allowed, the place and a message.

    Of what curl ended with, and wrote to its output, headers included, and to its standard error.
    """
    status, headers, body = _parsed(said)
    if exit_code:
        return 0, False, False, *_failed(exit_code, complaint.decode(errors="replace").strip())
    if not status:
        return 0, False, False, RequestPlace.GATEWAY, "what came back is no answer of HTTP: name a port that speaks it"
    if status == 403 and body.startswith("RBAC:"):
        message = (
            "the workload's sidecar refuses the caller: an AuthorizationPolicy there does not admit this identity; its "
            "owner decides"
        )
        return status, True, False, RequestPlace.WORKLOAD, message
    if status >= 500 and "x-envoy-upstream-service-time" not in headers:
        return status, False, False, *_of_sidecar(body)
    if (
        status == 404
        and not body
        and headers.get("server") == "envoy"
        and "x-envoy-upstream-service-time" not in headers
    ):
        message = (
            "the client's sidecar has no route for the host: it is not imported here under this name or port, or not "
            "exported to the client's namespace (`import.exportTo`, a Sidecar)"
        )
        return status, False, False, RequestPlace.NAME, message
    return status, True, True, "", f"the application answered {status}"


def _parsed(said: bytes) -> tuple[int, dict[str, str], str]:
    """Return status, headers in lower case, and body of what `curl -i` writes; 0 where that is no HTTP."""
    head, _, body = said.decode(errors="replace").replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        return 0, {}, ""
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, body


def _failed(code: int, complaint: str) -> tuple[str, str]:
    if code == _NO_NAME:
        return RequestPlace.NAME, (
            f"the name has no address in the client's mesh ({complaint}): it is not imported, istiod has not given it "
            "one yet (`status.addresses` of the ServiceEntry), or the sidecar does not capture DNS "
            "(ISTIO_META_DNS_CAPTURE)"
        )
    if code == _REFUSED:
        return RequestPlace.NAME, (
            f"nobody takes the connection in the client's own pod ({complaint}): it has no sidecar, or the port is "
            "none of the host's"
        )
    if code == _TOO_LATE:
        return RequestPlace.GATEWAY, (
            f"no answer came in time ({complaint}): something on the way swallows packets, a firewall or a gateway "
            "that is gone; `trafficPolicy.connectionPool.tcp.connectTimeout` of the RemoteMesh makes that quicker"
        )
    return RequestPlace.GATEWAY, f"curl ended with exit code {code} ({complaint})"


def _of_sidecar(body: str) -> tuple[str, str]:
    if "no healthy upstream" in body:
        return RequestPlace.SIDECAR, (
            "no endpoint is healthy: all were ejected (`outlierDetection`), or there is none; `meshfed imports` says "
            "what carries the host"
        )
    shown = body.strip()[:200]
    if "TLS" in body or "certificate" in body.lower():
        return RequestPlace.GATEWAY, (
            f"the TLS handshake with the workload failed ({shown}): another root or another identity than is "
            "announced; `meshfed imports` shows who answered"
        )
    return RequestPlace.GATEWAY, (
        f"the connection to the workload failed ({shown}): the gateway is not reached, or passes the SNI on to nobody; "
        "`Reachable` of the FederatedService says which"
    )

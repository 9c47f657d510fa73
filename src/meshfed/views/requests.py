"""What a request through the data plane came to, and at which of its four places it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from meshfed.views.explain.links import LinkName
from meshfed.views.symptoms import of_answer

_SHOWN: Final = 200
"""Characters of an answer's body that a message has."""


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


class RequestVerdict(msgspec.Struct, frozen=True):
    """What came of a request, in the words of `RequestView`."""

    code: int
    reached: bool
    allowed: bool
    ended_at: RequestPlace | None
    message: str


_NO_NAME, _REFUSED, _TOO_LATE = 6, 7, 28
_CUT_OFF = (52, 56)
_SIDECARS_WORDS: Final = ("upstream connect error", "upstream request timeout", "no healthy upstream")
"""How an Envoy's own answers begin."""
_OF_LINKS: Final = {
    LinkName.RECEIVED: RequestPlace.NAME,
    LinkName.ACCEPTED: RequestPlace.NAME,
    LinkName.RESOLVED: RequestPlace.NAME,
    LinkName.WRITTEN: RequestPlace.SIDECAR,
    LinkName.POLICY: RequestPlace.WORKLOAD,
}
"""Where a request ends for which a link of its chain is broken; for every other it is the gateway."""


def verdict(exit_code: int, said: bytes, complaint: bytes) -> RequestVerdict:
    """Return what came of a request that curl made.

    Of what curl ended with, and wrote to its output, headers included, and to its standard error.
    """
    status, headers, body = _parsed(said)
    if exit_code:
        return _ended(*_failed(exit_code, complaint.decode(errors="replace").strip()))
    if not status:
        return _ended(RequestPlace.GATEWAY, "what came back is no answer of HTTP: name a port that speaks it")
    shown = body.strip()[:_SHOWN]
    # The client's sidecar adds it to what comes from beyond, be that from the application or from its sidecar.
    by_sidecar = "x-envoy-upstream-service-time" not in headers
    symptom = of_answer(status, body)
    if symptom is not None and (by_sidecar or symptom.link is LinkName.POLICY):
        place = _OF_LINKS.get(symptom.link, RequestPlace.GATEWAY) if symptom.link else RequestPlace.GATEWAY
        see = f"; see docs/troubleshooting.md#{symptom.anchor}" if symptom.anchor else ""
        return RequestVerdict(status, place is RequestPlace.WORKLOAD, False, place, f"{symptom.plain} ({shown}){see}")
    if status >= 500 and not by_sidecar and body.startswith(_SIDECARS_WORDS):
        message = (
            f"the workload's sidecar answers in the place of the application ({shown}): that does not listen at the "
            "port which its Service names, or breaks off; see docs/troubleshooting.md#what-comes-back"
        )
        return RequestVerdict(status, False, False, RequestPlace.WORKLOAD, message)
    if status >= 500 and by_sidecar:
        message = (
            f"a sidecar answers in the place of the application ({shown}); see docs/troubleshooting.md#what-comes-back"
        )
        return RequestVerdict(status, False, False, RequestPlace.GATEWAY, message)
    if status == 404 and not body and headers.get("server") == "envoy" and by_sidecar:
        message = (
            "the client's sidecar has no route for the host: it is not imported here under this name or port, or not "
            "exported to the client's namespace (`import.exportTo`, a Sidecar)"
        )
        return RequestVerdict(status, False, False, RequestPlace.NAME, message)
    return RequestVerdict(status, True, True, None, f"the application answered {status}")


def _ended(place: RequestPlace, message: str) -> RequestVerdict:
    """Return that nobody answered, in HTTP."""
    return RequestVerdict(0, False, False, place, message)


def _parsed(said: bytes) -> tuple[int, dict[str, str], str]:
    """Return status, headers in lower case, and body of what `curl -i` writes; 0 where that is no HTTP."""
    head, _, body = said.decode(errors="replace").replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        return 0, {}, ""
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, body


def _failed(code: int, complaint: str) -> tuple[RequestPlace, str]:
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
    if code in _CUT_OFF:
        return RequestPlace.GATEWAY, (
            f"the connection ended without an answer ({complaint}): name a port that speaks HTTP, or see what lets "
            "nothing through"
        )
    return RequestPlace.GATEWAY, f"curl ended with exit code {code} ({complaint})"

"""What a request comes back with, and what that says: a table for the documentation, and for lines of access logs.

`docs/troubleshooting.md` has it from here, and `meshfed explain --log` looks lines up in it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.views.explain.links import LinkName


class At(StrEnum):
    """Whose access log a line is of."""

    CALLER = "the caller's sidecar"
    GATEWAY = "the exporter's gateway"
    CALLED = "the called pod's sidecar"


class Symptom(msgspec.Struct, frozen=True):
    """One thing that comes back: what the caller gets, what a log has, and what it is, all as Markdown.

    A line is of this kind where it is of ``at``, and has one of ``flags``, ``words``, ``clusters`` and ``codes`` each;
    what is empty is not asked for. Where all of these are empty no line tells it. An answer is of this kind that has
    one of ``codes`` and, in its body, one of ``body``. ``link`` is the link of a chain that is broken.
    """

    gets: str
    log: str
    it_is: str
    at: At = At.CALLER
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    body: tuple[str, ...] = ()
    link: LinkName | None = None

    @property
    def anchor(self) -> str:
        """The place in the documentation; empty where there is none beside the table."""
        found = re.search(r"\]\(#([a-z0-9-]+)\)", self.it_is)
        return found[1] if found else ""

    @property
    def plain(self) -> str:
        """What it is, without Markdown's links."""
        return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", self.it_is)


_UNKNOWN_HOST: Final = "[nothing is imported](#nothing-is-imported)"

CALLERS: Final = (
    Symptom(
        "nothing, the name does not resolve (curl: exit code 6)",
        "no line",
        "[the name does not resolve](#the-name-does-not-resolve)",
        link=LinkName.RESOLVED,
    ),
    Symptom(
        "nothing, the connection closes at once",
        "no line for a request",
        f"the host is known here and this port of it is not: {_UNKNOWN_HOST}",
        clusters=("BlackHoleCluster",),
        link=LinkName.ACCEPTED,
    ),
    Symptom(
        "502 with an empty body",
        "no upstream",
        f"the host is not known here, and `REGISTRY_ONLY` refuses it: {_UNKNOWN_HOST}",
        words=("block_all", "direct_response"),
        codes=(502,),
        link=LinkName.RECEIVED,
    ),
    Symptom(
        "503, `upstream connect error`: certificate",
        "`UF`, and `CERTIFICATE_VERIFY_FAILED`",
        "it has another root or another identity than is expected: [a certificate is not accepted](#a-certificate-is-not-accepted)",
        flags=("UF",),
        words=("CERTIFICATE_VERIFY_FAILED", "SAN_matcher"),
        body=("CERTIFICATE_VERIFY_FAILED", "SAN_matcher"),
        link=LinkName.IDENTITY,
    ),
    Symptom(
        "503, `upstream connect error`: no connection",
        "`UF`, and `delayed_connect_error` or a timeout",
        "[the gateway is not reached](#the-gateway-is-not-reached)",
        flags=("UF",),
        words=("delayed_connect_error", "immediate_connect_error", "timeout"),
        body=("delayed connect error", "immediate connect error", "connection timeout"),
        link=LinkName.REACHED,
    ),
    Symptom(
        "503, `upstream connect error`: closed",
        "`UF`, and `TLS_error` with `Connection_reset_by_peer`",
        "the gateway knows nobody for it: [it does not pass it on](#the-gateway-does-not-pass-it-on)",
        flags=("UF",),
        words=("Connection_reset_by_peer", "connection_termination", "TLS_error"),
        body=("Connection_reset_by_peer", "connection termination", "TLS_error"),
        link=LinkName.GATEWAY,
    ),
    Symptom(
        "503, `no healthy upstream`",
        "`UH`",
        "no endpoint is left: the ServiceEntry has none, or `outlierDetection` ejects them all",
        flags=("UH",),
        body=("no healthy upstream",),
        link=LinkName.WRITTEN,
    ),
    Symptom(
        "403, `RBAC: access denied`",
        "the same, without a flag",
        "an AuthorizationPolicy there does not admit the caller: [it is refused](#it-is-refused)",
        codes=(403,),
        body=("RBAC: access denied",),
        link=LinkName.POLICY,
    ),
    Symptom(
        "an answer of the wrong mesh, or of both",
        "no flag",
        "[the wrong mesh answers](#the-wrong-mesh-answers)",
    ),
)
"""By what the caller gets."""

OTHERS: Final = (
    Symptom(
        "",
        "`PassthroughCluster`",
        f"the host is not known here, and `ALLOW_ANY` lets the call out of the mesh as it is: {_UNKNOWN_HOST}",
        clusters=("PassthroughCluster",),
        link=LinkName.RECEIVED,
    ),
    Symptom(
        "",
        "`UH` and `BlackHoleCluster`, or `NR`, with the SNI that it was asked for",
        "the gateway knows no such host or port: [it does not pass it on](#the-gateway-does-not-pass-it-on)",
        at=At.GATEWAY,
        clusters=("BlackHoleCluster", ""),
        flags=("UH", "NR"),
        link=LinkName.GATEWAY,
    ),
    Symptom(
        "",
        "`UH`, and the host's own cluster",
        "no pod with a sidecar is ready behind the host, or [mTLS is turned off](#mtls-is-turned-off) for it",
        at=At.GATEWAY,
        flags=("UH",),
        link=LinkName.SERVED,
    ),
    Symptom(
        "",
        "`UF`",
        "the pods behind the host do not take the gateway's connection: they are gone, or a NetworkPolicy is between",
        at=At.GATEWAY,
        flags=("UF",),
        link=LinkName.SERVED,
    ),
    Symptom(
        "",
        "403, and `rbac_access_denied`",
        "an AuthorizationPolicy says no, and the line names it: [it is refused](#it-is-refused)",
        at=At.CALLED,
        words=("rbac_access_denied",),
        link=LinkName.POLICY,
    ),
    Symptom(
        "",
        "`UF` or `UH`",
        "the application does not listen at the port that its Service names",
        at=At.CALLED,
        flags=("UF", "UH"),
        link=LinkName.SERVED,
    ),
)
"""By what a line has, whoever's log it is in."""

FLAGS: Final = {
    "URX": "Envoy tried as often as it may; the flag or answer beside it says what went wrong each time",
    "UC": "the connection ended after the request had begun: the called application, its sidecar or a gateway's pod went away, or closed an idle connection",
    "UR": "the called side reset the request",
    "UT": "no answer came within the timeout of a VirtualService, or of the caller",
    "UO": "a circuit breaker: `connectionPool` of a DestinationRule, also of `trafficPolicy` of the RemoteMesh, allows no more",
    "DC": "the caller hung up before the answer came; how long it had waited is the line's duration",
    "NR": "no route, or no filter chain, is for the request: a VirtualService matches nothing, or plaintext came where mTLS is taken",
    "NC": "a VirtualService leads to a host or subset that is not known here",
    "UPE": "what answered does not speak the port's protocol: compare it in the exporter's Service",
    "DPE": "what called does not speak the port's protocol",
    "UAEX": "an external authorization service said no",
    "RL": "a rate limit said no",
    "FI": "a VirtualService injects this fault",
    "DT": "the connection or request lasted longer than it may",
}  # fmt: skip
"""What other response flags say, as Envoy's documentation of ``%RESPONSE_FLAGS%`` has them."""


def of_answer(code: int, body: str) -> Symptom | None:
    """Return what an answer that no application gave says to its caller; ``None`` where the table does not have it."""
    return next(
        (one for one in CALLERS if one.gets.startswith(f"{code},") and any(word in body for word in one.body)), None
    )

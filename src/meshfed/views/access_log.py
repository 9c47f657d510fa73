"""A line of an Envoy's access log, in Istio's default formats, and its verdict by the table of symptoms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meshfed.views.explain.links import LINKS, LinkName, Whose
from meshfed.views.symptoms import CALLERS, FLAGS, OTHERS, At, Symptom

_TEXT: Final = re.compile(
    r'\[[^\]]*\] "(?P<request>.*?)" (?P<response_code>\d+|-) (?P<response_flags>\S+) (?P<response_code_details>\S+) '
    r'(?P<connection_termination_details>.+?) "(?P<upstream_transport_failure_reason>.*?)" \S+ \S+ \S+ \S+ '
    r'".*?" ".*?" ".*?" "(?P<authority>.*?)" "(?P<upstream_host>.*?)" (?P<upstream_cluster>\S+) \S+ \S+ \S+ '
    r"(?P<requested_server_name>\S+)(?: (?P<route_name>\S+))?"
)
"""Istio's ``EnvoyTextLogFormat``."""
_SNI: Final = re.compile(r"outbound_\.(?P<port>\d+)_\.[^_]*_\.(?P<host>.+)")
_CLUSTER: Final = re.compile(r"(?:out|in)bound\|(?P<port>\d+)\|[^|]*\|(?P<host>.*)")
_SEEN: Final = (
    "response_code",
    "response_flags",
    "response_code_details",
    "connection_termination_details",
    "upstream_transport_failure_reason",
    "authority",
    "upstream_host",
    "upstream_cluster",
    "requested_server_name",
    "route_name",
)


class LogLine(msgspec.Struct, frozen=True, rename="camel"):
    """What of a line matters; empty where it has nothing. ``at`` is whose log it is, as far as it shows."""

    response_code: str = ""
    response_flags: str = ""
    response_code_details: str = ""
    connection_termination_details: str = ""
    upstream_transport_failure_reason: str = ""
    authority: str = ""
    upstream_host: str = ""
    upstream_cluster: str = ""
    requested_server_name: str = ""
    route_name: str = ""

    @property
    def flags(self) -> frozenset[str]:
        """The response flags."""
        return frozenset(filter(None, self.response_flags.split(",")))

    @property
    def at(self) -> At | None:
        """Whose log it is; ``None`` where that cannot be told."""
        cluster, sni = self.upstream_cluster, self.requested_server_name
        if cluster.startswith("inbound|") or cluster == "InboundPassthroughCluster":
            return At.CALLED
        if cluster.startswith("outbound_.") or (sni.startswith("outbound_.") and not cluster.startswith("outbound|")):
            # A pod's sidecar that denies a request has not chosen a cluster yet.
            return At.CALLED if "rbac_access_denied" in self.response_code_details else At.GATEWAY
        return At.CALLER if cluster or self.authority or self.response_code != "0" else None

    @property
    def host(self) -> str:
        """The host that was called: by the cluster or SNI, which are as Istio has them, else as the client wrote it."""
        for pattern, text in (
            (_CLUSTER, self.upstream_cluster),
            (_SNI, self.upstream_cluster),
            (_SNI, self.requested_server_name),
        ):
            found = pattern.fullmatch(text)
            if found is not None and found["host"]:
                return found["host"]
        return self.authority.rpartition(":")[0] if re.search(r":\d+$", self.authority) else self.authority


class LogVerdict(msgspec.Struct, frozen=True, rename="camel"):
    """What a line says: whether the call failed, of which link it speaks, and where the documentation goes on.

    ``whose`` is whose side that link is, ``page`` a place in ``docs/troubleshooting.md``; both may be empty.
    """

    line: LogLine
    at: str
    host: str
    failed: bool
    verdict: str
    link: LinkName | None = None
    whose: Whose | None = None
    page: str = ""


def parse(text: str) -> LogLine:
    """Return what of a line matters; raises ``ValueError`` where it is in neither of Istio's formats."""
    _, brace, rest = text.strip().partition("{")
    if brace:
        try:
            fields = json.loads(brace + rest)
        except (ValueError, RecursionError):
            fields = None
        if isinstance(fields, dict) and {"response_flags", "response_code"} & fields.keys():
            return _line(fields)
    found = _TEXT.search(text)
    if found is None:
        raise ValueError(
            "it is in neither of Istio's own formats, text or JSON, which have the response code and flags; paste the "
            "whole line"
        )
    return _line(found.groupdict())


def _line(fields: Mapping[str, Any]) -> LogLine:
    given = {name: fields.get(name) for name in _SEEN}
    return LogLine(**{name: "" if value is None or value == "-" else str(value) for name, value in given.items()})


def judge(line: LogLine) -> LogVerdict:
    """Return what a line says, by the first symptom that it shows."""
    symptom = next((one for one in (*OTHERS, *CALLERS) if _shows(line, one)), None)
    flags = [f"{flag}: {FLAGS[flag]}" for flag in sorted(line.flags & FLAGS.keys())]
    failed = _failed(line)
    if symptom is not None:
        verdict = "; ".join([symptom.plain, *flags])
    elif flags:
        verdict = "; ".join(flags)
    elif failed:
        verdict = (
            f"the called application, or a sidecar on the way, answered {line.response_code}: federation is through"
        )
    else:
        verdict = "the call went through"
    link = symptom.link if symptom is not None else None
    return LogVerdict(
        line=line,
        at=line.at or "",
        host=line.host,
        failed=failed or symptom is not None or bool(flags),
        verdict=verdict,
        link=link,
        whose=LINKS[link][0] if link is not None else None,
        page=f"troubleshooting.md#{symptom.anchor}" if symptom is not None and symptom.anchor else "",
    )


def _failed(line: LogLine) -> bool:
    return line.response_code.isdecimal() and int(line.response_code) >= 400


def _shows(line: LogLine, symptom: Symptom) -> bool:
    """Whether a line is of a kind."""
    if not (symptom.flags or symptom.words or symptom.clusters or symptom.codes) or line.at is not symptom.at:
        return False
    said = " ".join(
        (
            line.upstream_transport_failure_reason,
            line.response_code_details,
            line.connection_termination_details,
            line.route_name,
        )
    )
    return (
        (not symptom.flags or bool(line.flags & {*symptom.flags}))
        and (not symptom.words or any(word in said for word in symptom.words))
        and (not symptom.clusters or line.upstream_cluster in symptom.clusters)
        and (not symptom.codes or line.response_code in map(str, symptom.codes))
    )

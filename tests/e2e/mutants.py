"""Every way to get one leaf of a written object wrong, worked out from the objects themselves.

A leaf is a scalar anywhere in an object's spec; besides, each key of a map whose keys mean something (labels, and ports
by their names or numbers). A leaf is made wrong and removed, a key is renamed. Nothing is left out by hand: what cannot
matter to a proxy stands in ``EQUIVALENT``, with the reason.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

JSONObject = dict[str, Any]
How = Literal["wrong", "removed", "renamed"]

KINDS: Final = (
    "Gateway",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "ServiceEntry",
    "WorkloadEntry",
    "DestinationRule",
    "EnvoyFilter",
    "Route",
)
"""The kinds that a controller writes for proxies and routers."""

_INDEX: Final = re.compile(r"\[\d+\]")
_KEYED: Final = frozenset({"labels", "matchLabels", "selector", "ports", "portLevelMtls"})
_INSTEAD: Final[Mapping[tuple[str, str], str]] = {
    ("protocol", "HTTP"): "TCP",
    ("protocol", "GRPC"): "TCP",
    ("protocol", "TCP"): "HTTP",
    ("protocol", "TLS"): "HTTPS",
    ("location", "MESH_INTERNAL"): "MESH_EXTERNAL",
    ("resolution", "STATIC"): "DNS",
    ("mode", "ISTIO_MUTUAL"): "DISABLE",
    ("mode", "AUTO_PASSTHROUGH"): "PASSTHROUGH",
    ("mode", "STRICT"): "PERMISSIVE",
    ("mode", "PERMISSIVE"): "STRICT",
    ("action", "ALLOW"): "DENY",
    ("applyTo", "FILTER_CHAIN"): "LISTENER",
    ("context", "GATEWAY"): "SIDECAR_INBOUND",
    ("operation", "MERGE"): "ADD",
    ("termination", "passthrough"): "edge",
    ("wildcardPolicy", "None"): "Subdomain",
}
"""What stands in place of a word of which there are only a few, by field."""


class Names(msgspec.Struct, frozen=True):
    """What differs from run to run, by the name that stands for it in a table; and what is wrong in its place."""

    shown: Mapping[str, str]
    network: str
    nobody: str
    router_port: int

    def show(self, text: object) -> str:
        """``text`` as it is in every run."""
        result = str(text)
        for actual, name in self.shown.items():
            result = result.replace(actual, name)
        return result


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """One leaf of one object, and what becomes of it. ``value`` is what it is changed to; a key's new name."""

    mesh: str
    kind: str
    name: str
    namespace: str
    shown: str
    path: tuple[str | int, ...]
    how: How
    value: Any = None
    change: str = ""

    @property
    def field(self) -> str:
        """The leaf, as one writes it: ``endpoints[0].address``."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")

    @property
    def like(self) -> str:
        """What all mutations of this kind of leaf have in common, whatever object and place in a list."""
        return f"{self.kind} {_INDEX.sub('', self.field)} {self.how}"

    @property
    def id(self) -> str:
        """Names the mutation, in every run the same."""
        return f"{self.mesh} {self.kind} {self.shown} {self.field} {self.how}"

    def applied(self, obj: JSONObject) -> JSONObject:
        """``obj`` with the mutation in it."""
        changed = copy.deepcopy(obj)
        parent = changed["spec"]
        for part in self.path[:-1]:
            parent = parent[part]
        last = self.path[-1]
        if self.how == "wrong":
            parent[last] = self.value
        elif self.how == "removed":
            del parent[last]
        else:
            parent[self.value] = parent.pop(last)
        return changed


def mutations(mesh: str, obj: JSONObject, names: Names) -> Iterator[Mutation]:
    """All mutations of one object, in its order."""
    metadata = obj["metadata"]
    for path, how, value, change in _changes((), obj["spec"], names):
        yield Mutation(
            mesh=mesh,
            kind=obj["kind"],
            name=metadata["name"],
            namespace=metadata["namespace"],
            shown=names.show(metadata["name"]),
            path=path,
            how=how,
            value=value,
            change=names.show(change),
        )


def _changes(
    path: tuple[str | int, ...], node: Any, names: Names
) -> Iterator[tuple[tuple[str | int, ...], How, Any, str]]:
    if isinstance(node, dict):
        for key, value in sorted(node.items()):
            if path and path[-1] in _KEYED and not (path[-1] == "selector" and isinstance(value, dict)):
                renamed = _other(key)
                yield (*path, key), "renamed", renamed, f"key {renamed}"
            yield from _changes((*path, key), value, names)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _changes((*path, index), value, names)
    else:
        wrong = _wrong(path, node, names)
        # Which port a router has depends on who runs this.
        yield path, "wrong", wrong, "another port" if node == names.router_port else str(wrong)
        yield path, "removed", None, ""


def _wrong(path: tuple[str | int, ...], value: Any, names: Names) -> Any:
    field = next(part for part in reversed(path) if isinstance(part, str))
    if field == "weight":
        return 0
    if isinstance(value, int):
        return value + 1
    if field == "address":
        return names.nobody
    if field == "network":
        return names.network
    return _INSTEAD.get((field, value)) or _other(value)


def _other(text: str) -> str:
    """Another number, where it is one in quotes; another name of the same form."""
    return str(int(text) + 1) if text.isdecimal() else f"{text}x" if "://" in text else f"x{text}"


def one_of_each(all_mutations: Iterable[Mutation]) -> list[Mutation]:
    """The first mutation of each kind of leaf, and of those that cannot matter one for each reason as well."""
    chosen: dict[tuple[str, str], Mutation] = {}
    for mutation in all_mutations:
        chosen.setdefault((mutation.like, equivalent(mutation)), mutation)
    return list(chosen.values())


_RULE = "a DestinationRule says that mTLS is spoken with the host, whatever else is known of it"
_SUBSETS = "labels that were offered are there for subsets, which nobody defines"
_ONE_GATEWAY = "it would be for all gateways then, and there is one"
_DEFAULT = "the API server puts it back, it is the default"
_ROOT = "istiod passes over one with a selector in its root namespace, where this controller is"

EQUIVALENT: Final[Mapping[str, str]] = {
    "* Gateway * selector.app removed": _ONE_GATEWAY,
    "* Gateway * servers[0].port.name wrong": "it is for people; a Route means the port of that name in the Service",
    "* Gateway * servers[0].port.protocol wrong": "TLS that is passed on is the same under either word",
    "* PeerAuthentication * mtls.*": _ROOT,
    "* PeerAuthentication * portLevelMtls.*": _ROOT,
    "* PeerAuthentication * selector.* renamed": _ROOT,
    "* PeerAuthentication * selector.* wrong": _ROOT,
    "* AuthorizationPolicy * action removed": "ALLOW is the default",
    "* AuthorizationPolicy * rules[0].to[0].operation.ports[0] removed": (
        "the remotes are let in on the other ports by name too, where the second rule lets in everybody"
    ),
    "* AuthorizationPolicy * selector.* removed": (
        "it would be for all workloads then, of which the others have no such port"
    ),
    "east ServiceEntry * endpoints[0].labels.security.istio.io/tlsMode *": _RULE,
    "west ServiceEntry import.aliased.* endpoints[0].labels.security.istio.io/tlsMode *": _RULE,
    "east ServiceEntry * location *": _RULE,
    "west ServiceEntry import.aliased.* location *": _RULE,
    "* ServiceEntry * endpoints[0].network *": (
        "it tells a gateway whom not to send traffic to, and no gateway has a host that its mesh does not export"
    ),
    "* ServiceEntry * endpoints[0].labels.export-service *": _SUBSETS,
    "* ServiceEntry * ports[*].protocol removed": "the proxies find out by the first bytes",
    "* ServiceEntry federation-discovery-service-* ports[0].protocol wrong": (
        "HTTP/2 passes as bytes too; that it is known for gRPC has calls balanced one by one"
    ),
    "* ServiceEntry * resolution wrong": "an IP resolves to itself",
    "* ServiceEntry * ports[*].targetPort *": "an endpoint says for each port where it is, so nobody looks at it",
    "east WorkloadEntry * labels.security.istio.io/tlsMode *": _RULE,
    "west WorkloadEntry * labels.security.istio.io/tlsMode renamed": "who has a service account is taken to speak mTLS",
    "west WorkloadEntry * labels.security.istio.io/tlsMode removed": "who has a service account is taken to speak mTLS",
    "* EnvoyFilter * configPatches[0].match.context removed": "what it is for is said by the pods and the SNI as well",
    "* EnvoyFilter * configPatches[0].match.listener.portNumber removed": "the gateway has one port",
    "east EnvoyFilter *.filter_chain_match.application_protocols[*] *": (
        "a sidecar offers several of them, and one is enough"
    ),
    "east EnvoyFilter *.filter_chain_match.transport_protocol removed": (
        "it tells the chain from that of a Gateway with the same host, which nobody has here"
    ),
    "east EnvoyFilter * configPatches[0].patch.value.filters[0].typed_config.stat_prefix wrong": "it names a metric",
    "* DestinationRule * trafficPolicy.connectionPool.tcp.connectTimeout wrong": (
        "every port has settings of its own, which count whole"
    ),
    "* DestinationRule *.connectTimeout removed": ("Istio's own holds then, and no gateway here swallows packets"),
    "* EnvoyFilter * workloadSelector.labels.app removed": _ONE_GATEWAY,
    "* Route * to.kind removed": _DEFAULT,
    "* Route * to.weight removed": _DEFAULT,
    "* Route * wildcardPolicy removed": _DEFAULT,
}
"""Why mutations cannot matter, by a pattern of their ids, in which ``*`` stands for anything."""


def equivalent(mutation: Mutation) -> str:
    """Why a mutation cannot matter; empty where it has to."""
    return next((why for pattern, why in EQUIVALENT.items() if matches(pattern, mutation)), "")


def matches(pattern: str, mutation: Mutation) -> bool:
    """Whether a pattern of ``EQUIVALENT`` speaks of a mutation."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts), mutation.id) is not None

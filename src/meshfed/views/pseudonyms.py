"""Other names for whatever could tell a stranger whose mesh it is: the same one for the same thing, throughout."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from meshfed.model.installation import WRITER
from meshfed.views.snapshot import Document, Snapshot

_TOOLS: Final = frozenset(
    {
        *(
            f"kubectl-{verb}"
            for verb in ("client-side-apply", "create", "edit", "patch", "replace", "label", "annotate")
        ),
        *("kubectl", "helm", WRITER, f"{WRITER}-link", f"{WRITER}-unlink"),
    }
)
"""Managers of fields that everybody has. Any other may be somebody's own, by whatever rules it is named."""
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?")
_ADDRESS: Final = re.compile(
    r"(?<![0-9A-Za-z-])\d{1,3}(?:\.\d{1,3}){3}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z:-])[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?![0-9A-Za-z:])"
)
_COMMON: Final = frozenset(
    {
        *("cluster", "local", "svc", "default", "istio-system", "kube-system", "kube-public", "kube-node-lease"),
        *("istio", "istiod", "openshift-router", "gateway", "ingress", "controller", "federation-controller"),
        *("federation-ingress-gateway", "federation-discovery-service", "meshfed-controller", "kubernetes"),
        *("http", "http2", "https", "tcp", "tls", "grpc", "udp", "mongo", "mysql", "redis", "spiffe", "ns", "sa"),
        *("app", "name", "service", "true", "false", "none", "com", "org", "net", "io", "www"),
    }
)
"""Words that say nothing of anybody, and that other words hang on."""
_PREFIXES: Final = ("federation-discovery-service-",)


class Pseudonyms:
    """Replaces names of ``snapshot``'s meshes, namespaces, Services, accounts, pods and nodes, and all addresses.

    ``key`` makes the names: without it nobody finds out what stood there, and with the same one they are the same.
    """

    def __init__(self, snapshots: Iterable[Snapshot], key: bytes) -> None:
        self._key = key
        words = {word for snapshot in snapshots for word in _names(snapshot)} - _COMMON
        # A number, or a letter or two, stands for too much else.
        self._known = {word for word in words if len(word) > 2 and not word.isdecimal()}

    def text(self, text: str) -> str:
        """Return ``text`` with other names."""
        return _WORD.sub(self._word, _ADDRESS.sub(self._address, text))

    def value(self, value: Any) -> Any:
        """Return plain data with other names in all its texts; fields and keys of labels keep theirs."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._manager(one) if key == "manager" else self.value(one) for key, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list | tuple) else value

    def _manager(self, value: Any) -> Any:
        return value if value in _TOOLS else self._other("m", str(value))

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        for prefix in _PREFIXES:
            if word.startswith(prefix) and word.removeprefix(prefix) in self._known:
                return prefix + self._other("n", word.removeprefix(prefix))
        return self._other("n", word) if word in self._known else word

    def _address(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        if address.is_loopback or address.is_unspecified:
            return found[0]
        digest = self._digest("a", found[0])
        # Of the ranges for documentation and benchmarks, so that nobody takes it for a real one.
        if address.version == 4:
            return f"198.{18 + digest[0] % 2}.{digest[1]}.{digest[2]}"
        return f"2001:db8::{digest[:2].hex()}:{digest[2:4].hex()}"

    def _other(self, kind: str, word: str) -> str:
        return f"x{self._digest(kind, word).hex()[:8]}"

    def _digest(self, kind: str, word: str) -> bytes:
        return hmac.new(self._key, f"{kind}/{word}".encode(), hashlib.sha256).digest()


def _names(snapshot: Snapshot) -> Iterator[str]:
    """Yield the words that are somebody's own choice."""
    for one in snapshot.objects:
        metadata = one.get("metadata") or {}
        for text in (metadata.get("name"), metadata.get("namespace"), *_chosen(one)):
            yield from _WORD.findall(str(text or ""))
    yield from _WORD.findall(snapshot.source)


def _chosen(one: Document) -> Iterator[str]:
    spec = one.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    match one.get("kind"):
        case "MeshFederation" | "RemoteMesh":
            yield from (str(spec.get(field) or "") for field in ("network", "trustDomain", "clusterDomain", "identity"))
            yield from map(str, spec.get("addresses") or ())
        case "FederatedService":
            yield str(spec.get("host") or "")
            yield from map(str, spec.get("identities") or ())
        case "ServiceEntry":
            yield from map(str, spec.get("hosts") or ())
        case "Pod":
            yield str(spec.get("serviceAccountName") or "")
            yield str(spec.get("nodeName") or "")
        case "WorkloadEntry":
            yield str(spec.get("serviceAccount") or "")
        case _:
            pass

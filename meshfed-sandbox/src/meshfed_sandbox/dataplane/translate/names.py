"""Names that istiod gives to clusters, and what host names stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

TLS_MODE: Final = "security.istio.io/tlsMode"
NETWORK: Final = "topology.istio.io/network"
EXPORT_TO: Final = "networking.istio.io/exportTo"

MAX_FILE_NAME: Final = 200


def cluster_name(port: int, host: str) -> str:
    """The cluster for ``port`` of ``host``, as sidecars have it."""
    return f"outbound|{port}||{host}"


def sni(port: int, host: str) -> str:
    """The SNI by which sidecars call ``port`` of ``host``; a passthrough gateway's cluster has the same name."""
    return f"outbound_.{port}_._.{host}"


def inbound_cluster(port: int) -> str:
    """The cluster that leads to the application on ``port``."""
    return f"inbound|{port}||"


def file_name(name: str) -> str:
    """A name for the file of a cluster's endpoints or a listener's routes: no separators, not too long."""
    plain = name.replace("|", "~").replace(":", "~").replace("/", "~").replace("*", "_any_")
    if len(plain) > MAX_FILE_NAME:
        plain = f"{plain[:MAX_FILE_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"{plain}.json"


def spiffe(trust_domain: str, namespace: str, service_account: str) -> str:
    """The identity of a service account."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether all labels of ``selector`` are among ``labels``; an empty one selects everything."""
    return all(labels.get(name) == value for name, value in selector.items())


def covers(pattern: str, host: str) -> bool:
    """Whether ``pattern`` is ``host``, or a wildcard (``*.example.com``, ``*``) for it (``host.Name.SubsetOf``)."""
    pattern, host = pattern.lower(), host.lower()
    return pattern == host or (pattern.startswith("*") and host.removeprefix("*").endswith(pattern[1:]))


def visible(export_to: Iterable[str], owner: str, namespace: str) -> bool:
    """Whether an object of namespace ``owner`` with this ``exportTo`` is seen in ``namespace``."""
    targets = tuple(export_to) or ("*",)
    return any(target in {"*", namespace} or (target == "." and owner == namespace) for target in targets)


def aliases(host: str, namespace: str, cluster_domain: str) -> list[str]:
    """The shorter names under which a proxy in ``namespace`` may call ``host`` (``generateAltVirtualHosts``).

    Only hosts of the cluster's domain have any, whether a Service or a ServiceEntry has brought them.
    """
    suffix = f".svc.{cluster_domain}"
    if not host.endswith(suffix):
        return []
    parts = host.removesuffix(suffix).split(".")
    if len(parts) < 2:
        return []
    own = ".".join(parts[:-1])
    short = [own] if parts[-1] == namespace else []
    return [*short, f"{own}.{parts[-1]}", f"{own}.{parts[-1]}.svc"]

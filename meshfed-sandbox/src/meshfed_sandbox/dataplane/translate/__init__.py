"""A small mesh control plane: what istiod would tell each proxy, worked out from the same objects.

Pure: objects in, Envoy's configuration out. What it does not know it refuses, so that what a proxy does under it is
what it would do under istiod, or nothing at all. ``docs/sandbox-dataplane.md`` says what is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshfed_sandbox.dataplane.translate.bootstrap import bootstrap
from meshfed_sandbox.dataplane.translate.gateways import gateway
from meshfed_sandbox.dataplane.translate.inbound import inbound
from meshfed_sandbox.dataplane.translate.mesh import Mesh, View, read_mesh
from meshfed_sandbox.dataplane.translate.naming import names
from meshfed_sandbox.dataplane.translate.outbound import outbound
from meshfed_sandbox.dataplane.translate.reading import KINDS
from meshfed_sandbox.dataplane.translate.warnings import warnings_of
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyConfig, ProxyFiles, ProxyIdentity

__all__ = [
    "KINDS",
    "Mesh",
    "bootstrap",
    "configuration",
    "hosts",
    "names",
    "read_mesh",
    "translate",
    "warnings",
    "warnings_of",
]


def translate(
    settings: MeshSettings, objects: Mapping[str, Sequence[JSONObject]], proxy: ProxyIdentity, files: ProxyFiles
) -> ProxyConfig:
    """What one proxy is told; ``objects`` are by kind, each as the Kubernetes API serves it.

    Raises ``Untranslatable``. Whoever asks for several proxies reads the objects once, with ``read_mesh``.
    """
    return configuration(read_mesh(settings, objects), proxy, files)


def configuration(mesh: Mesh, proxy: ProxyIdentity, files: ProxyFiles) -> ProxyConfig:
    """What one proxy of a mesh that has been read is told.

    Everything is sorted: what has not changed is equal to what was told before. Raises ``Untranslatable``.
    """
    view = View(mesh, proxy, files)
    if proxy.kind == "gateway":
        return gateway(view)
    sent = outbound(view)
    listeners, clusters = inbound(view)
    return ProxyConfig(
        listeners=[*sent.listeners, *listeners],
        clusters=[*sent.clusters, *clusters],
        endpoints=sent.endpoints,
        routes=sent.routes,
    )


def hosts(
    settings: MeshSettings, objects: Mapping[str, Sequence[JSONObject]], proxy: ProxyIdentity
) -> Mapping[str, tuple[str, ...]]:
    """The addresses of every name that a proxy's Pod can resolve; see ``names``. Raises ``Untranslatable``."""
    return names(read_mesh(settings, objects), proxy)


def warnings(settings: MeshSettings, objects: Mapping[str, Sequence[JSONObject]]) -> tuple[str, ...]:
    """What istiod would leave out without refusing it, a sentence each; see ``warnings_of``.

    Raises ``Untranslatable``.
    """
    return warnings_of(read_mesh(settings, objects))

"""What an Envoy is started with: who it is, and the files in which everything else is told."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

from meshfed_sandbox.dataplane.translate.envoy import from_file
from meshfed_sandbox.dataplane.values import JSONObject, ProxyIdentity

LISTENERS: Final = "listeners.json"
CLUSTERS: Final = "clusters.json"


def bootstrap(proxy: ProxyIdentity, *, directory: str, admin: str) -> JSONObject:
    """Envoy's bootstrap.

    Listeners and clusters are read from ``directory``, a DiscoveryResponse in each of ``listeners.json`` and
    ``clusters.json``, again whenever a file is moved there. ``admin`` is the path of the Unix socket on which Envoy's
    admin interface answers. What the proxy sends out comes from its own address.
    """
    return {
        "node": {"id": f"{proxy.kind}~{proxy.address}~{proxy.pod}.{proxy.namespace}", "cluster": proxy.namespace},
        "admin": {"address": {"pipe": {"path": admin}}},
        "dynamic_resources": {
            "lds_config": from_file(str(PurePath(directory, LISTENERS))),
            "cds_config": from_file(str(PurePath(directory, CLUSTERS))),
        },
        "cluster_manager": {"upstream_bind_config": {"source_address": {"address": proxy.address, "port_value": 0}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "overload.global_downstream_max_connections": 50000,
                    },
                }
            ]
        },
    }

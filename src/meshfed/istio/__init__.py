"""Rendering: the Istio and OpenShift objects that carry a federation, as complete manifests.

One module per kind. Everything is a plain function of immutable values: what is decided elsewhere comes in, the
whole object goes out, in the same words and the same order whatever the order of the input. A field is written
only where it says something; a field that an API server would fill in by default is written out, so that what is
stored equals what was rendered.
"""

from meshfed.istio.destination_rules import discovery_rule, import_rule, stated_sni, states_sni, tls_left_behind
from meshfed.istio.envoy_filters import passthrough_filter, port_filter
from meshfed.istio.gateway import gateway
from meshfed.istio.mesh_config import differing, merged, mesh_config, of_mesh_config
from meshfed.istio.metadata import Manifest, owner_labels
from meshfed.istio.names import gateway_index, gateway_name
from meshfed.istio.routes import route
from meshfed.istio.security import authorization_policy, peer_authentication
from meshfed.istio.service_entries import discovery_entry, import_entry, subject_alt_names
from meshfed.istio.sni import gateway_sni, istio_sni, router_sni
from meshfed.istio.workload_entries import last_answers, workload_entries

__all__ = [
    "Manifest",
    "authorization_policy",
    "differing",
    "discovery_entry",
    "discovery_rule",
    "gateway",
    "gateway_index",
    "gateway_name",
    "gateway_sni",
    "import_entry",
    "import_rule",
    "istio_sni",
    "last_answers",
    "merged",
    "mesh_config",
    "of_mesh_config",
    "owner_labels",
    "passthrough_filter",
    "peer_authentication",
    "port_filter",
    "route",
    "router_sni",
    "stated_sni",
    "states_sni",
    "subject_alt_names",
    "tls_left_behind",
    "workload_entries",
]

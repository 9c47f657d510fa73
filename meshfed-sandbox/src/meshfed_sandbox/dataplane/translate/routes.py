"""HTTP routes of sidecars: from the name in a request to a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshfed_sandbox.dataplane.translate.clusters import PASSTHROUGH, Target, sniffs
from meshfed_sandbox.dataplane.translate.envoy import typed
from meshfed_sandbox.dataplane.translate.mesh import View
from meshfed_sandbox.dataplane.translate.names import aliases
from meshfed_sandbox.dataplane.translate.registry import Service
from meshfed_sandbox.dataplane.translate.tls import HTTP_ALPN
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings

FILTER_STATE: Final = "envoy.extensions.filters.http.set_filter_state.v3.Config"
ALPN_FILTER: Final = "meshfed.alpn"
"""Sets what is offered in the TLS handshake of requests on ports whose protocol is found out; ``istio.alpn`` is not in
an Envoy without Istio's extensions.
"""

# Without a status code: answering 503 is the application's business since Istio 1.24.
_RETRIES: Final = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
        }
    ],
    "host_selection_retry_max_attempts": "5",
}


def by_host(view: View, name: str, targets: Iterable[Target]) -> JSONObject:
    """The routes of a port that services share: each under its names, what is no service by the mesh's policy.

    A name that two hosts would have belongs to the first.
    """
    taken: set[str] = set()
    hosts = []
    for target in targets:
        domains = [each for each in _domains(view, target.service) if each not in taken]
        if domains:
            taken.update(domains)
            hosts.append(_virtual_host(view, target, domains))
    return _routes(name, [*hosts, _catch_all(view.mesh.settings)])


def of_one(view: View, name: str, target: Target) -> JSONObject:
    """The routes of a listener that one service has for itself: whatever the request calls it."""
    return _routes(name, [_virtual_host(view, target, ["*"])])


def _routes(name: str, hosts: list[JSONObject]) -> JSONObject:
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=hosts,
        validate_clusters=False,
        ignore_port_in_host_matching=True,
    )


def _domains(view: View, service: Service) -> list[str]:
    names = [service.host, *aliases(service.host, view.proxy.namespace, view.mesh.settings.cluster_domain)]
    if service.resolution == "original":
        names += [f"*.{name}" for name in names]
    return [*names, *service.virtual_addresses(dns_capture=view.dns_capture)]


def _virtual_host(view: View, target: Target, domains: list[str]) -> JSONObject:
    service, port = target.service, target.port
    route: JSONObject = {
        "name": "default",
        "match": {"prefix": "/"},
        "route": {
            "cluster": target.cluster,
            "timeout": "0s",
            "retry_policy": _RETRIES,
            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
        },
    }
    if sniffs(view.mesh, target):
        route["typed_per_filter_config"] = {ALPN_FILTER: _offer()}
    return {
        "name": f"{service.host}:{port.number}",
        "domains": domains,
        "routes": [route],
        "include_request_attempt_count": True,
    }


def _offer() -> JSONObject:
    """What is offered for a request whose protocol was found out: as for a port of that protocol."""
    old, new = (",".join(HTTP_ALPN[each]) for each in ("http", "http2"))
    return typed(
        FILTER_STATE,
        on_request_headers=[
            {
                "object_key": "envoy.network.application_protocols",
                "format_string": {
                    "text_format_source": {"inline_string": f"%CEL(request.protocol == 'HTTP/2' ? '{new}' : '{old}')%"}
                },
            }
        ],
    )


def _catch_all(settings: MeshSettings) -> JSONObject:
    if settings.outbound_policy == "ALLOW_ANY":
        action: JSONObject = {"route": {"cluster": PASSTHROUGH, "timeout": "0s"}}
        name = "allow_any"
    else:
        action, name = {"direct_response": {"status": 502}}, "block_all"
    return {
        "name": name,
        "domains": ["*"],
        "routes": [{"name": name, "match": {"prefix": "/"}, **action}],
        "include_request_attempt_count": True,
    }

"""The shapes of Envoy's v3 API that recur."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from meshfed_sandbox.dataplane.values import JSONObject, ProxyFiles

_TYPES: Final = "type.googleapis.com/"
HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

ACCESS_LOG_FIELDS: Final = {
    "time": "%START_TIME%",
    "event": "%ACCESS_LOG_TYPE%",
    "method": "%REQ(:METHOD)%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "response_code": "%RESPONSE_CODE%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "response_flags": "%RESPONSE_FLAGS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_peer_uri_san": "%UPSTREAM_PEER_URI_SAN%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "downstream_peer_uri_san": "%DOWNSTREAM_PEER_URI_SAN%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "filter_chain": "%FILTER_CHAIN_NAME%",
}
"""What each line of the access log holds, besides ``direction`` and ``listener``."""


def typed(name: str, /, **fields: Any) -> JSONObject:
    """A message in an Any."""
    return {"@type": _TYPES + name, **fields}


def extension(name: str, type_: str, /, **fields: Any) -> JSONObject:
    """An extension: a filter, a transport socket."""
    return {"name": name, "typed_config": typed(type_, **fields)}


def address(host: str, port: int) -> JSONObject:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}


def from_file(path: str) -> JSONObject:
    """A source that is read again whenever another file is moved there."""
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def access_log(files: ProxyFiles, direction: str, listener: str) -> list[JSONObject]:
    """The access log of a listener: a line of JSON for each request or connection."""
    return [
        extension(
            "envoy.access_loggers.file",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=files.access_log,
            log_format={"json_format": {**ACCESS_LOG_FIELDS, "direction": direction, "listener": listener}},
        )
    ]


def tcp_proxy(cluster: str, log: Sequence[JSONObject]) -> JSONObject:
    """The filter that passes a connection on as it is.

    It is logged when it is made, too: one that is kept open would show only long after the requests it carries.
    """
    return extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=cluster,
        cluster=cluster,
        access_log=list(log),
        access_log_options={"flush_access_log_on_connected": True},
    )


def http_manager(name: str, log: Sequence[JSONObject], http_filters: Iterable[JSONObject], **fields: Any) -> JSONObject:
    """The filter that speaks HTTP, with whatever of ``fields`` sets it apart."""
    return extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        stream_idle_timeout="0s",
        normalize_path=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=list(log),
        http_filters=[
            *http_filters,
            extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"),
        ],
        **fields,
    )


TLS_INSPECTOR: Final = extension(
    "envoy.filters.listener.tls_inspector", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
)
HTTP_INSPECTOR: Final = extension(
    "envoy.filters.listener.http_inspector", "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
)
PROXY_PROTOCOL: Final = extension(
    "envoy.filters.listener.proxy_protocol", "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
)


def inspectors(chains: Iterable[JSONObject]) -> list[JSONObject]:
    """The listener filters that the matches of filter chains need; TLS first, which the HTTP inspector relies on."""
    matches = [chain.get("filter_chain_match", {}) for chain in chains]
    tls = any(match.get("transport_protocol") == "tls" or match.get("server_names") for match in matches)
    http = any({"http/1.1", "h2c"} & set(match.get("application_protocols", ())) for match in matches)
    return [*([TLS_INSPECTOR] if tls else []), *([HTTP_INSPECTOR] if http else [])]

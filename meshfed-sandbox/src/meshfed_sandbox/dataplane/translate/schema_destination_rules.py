"""The fields of DestinationRules that are translated; one that sets any other is refused."""

from __future__ import annotations

from typing import Literal

import msgspec

from meshfed_sandbox.dataplane.translate.schema import Spec


class TLS(Spec, frozen=True, kw_only=True):
    """``tls`` of a traffic policy."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    sni: str = ""
    subject_alt_names: list[str] = msgspec.field(default_factory=list)
    ca_certificates: str = ""
    client_certificate: str = ""
    private_key: str = ""


class OutlierDetection(Spec, frozen=True, kw_only=True):
    """``outlierDetection`` of a traffic policy."""

    consecutive5xx_errors: int | None = msgspec.field(default=None, name="consecutive5xxErrors")
    consecutive_gateway_errors: int | None = None
    consecutive_local_origin_failures: int | None = None
    split_external_local_origin_errors: bool = False
    interval: str = ""
    base_ejection_time: str = ""
    max_ejection_percent: int = 0
    min_health_percent: int = 0


class LoadBalancer(Spec, frozen=True, kw_only=True):
    """``loadBalancer`` of a traffic policy."""

    simple: Literal["UNSPECIFIED", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "RANDOM"] = "UNSPECIFIED"


class TCPSettings(Spec, frozen=True, kw_only=True):
    """``tcp`` of a connection pool."""

    connect_timeout: str = ""


class ConnectionPool(Spec, frozen=True, kw_only=True):
    """``connectionPool`` of a traffic policy."""

    tcp: TCPSettings | None = None


class PortSelector(Spec, frozen=True, kw_only=True):
    """``port`` of port level settings."""

    number: int


class PortPolicy(Spec, frozen=True, kw_only=True):
    """``portLevelSettings``: counts whole for its port; nothing of the level above is left."""

    port: PortSelector
    tls: TLS | None = None
    outlier_detection: OutlierDetection | None = None
    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None


class TrafficPolicy(Spec, frozen=True, kw_only=True):
    """``trafficPolicy`` of a DestinationRule."""

    tls: TLS | None = None
    outlier_detection: OutlierDetection | None = None
    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    port_level_settings: list[PortPolicy] = msgspec.field(default_factory=list)


class DestinationRuleSpec(Spec, frozen=True, kw_only=True):
    """A DestinationRule without subsets."""

    host: str
    traffic_policy: TrafficPolicy | None = None
    export_to: list[str] = msgspec.field(default_factory=list)

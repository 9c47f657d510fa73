"""``trafficPolicy`` of a RemoteMesh: what goes into DestinationRules as it stands, under Istio's own names."""

from __future__ import annotations

import msgspec
from msgspec import field

from meshfed.api.scalars import Count, Duration, Percent


class _Passed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What is written here is passed on to Istio, so that unknown fields are refused."""


class OutlierDetection(_Passed, frozen=True):
    """Istio's outlier detection, for what is imported from the remote; fields as in a DestinationRule."""

    consecutive5xx_errors: Count | None = field(default=None, name="consecutive5xxErrors")
    """Errors of the 5xx class in a row after which an endpoint is ejected."""
    consecutive_gateway_errors: Count | None = None
    """Gateway errors (502, 503, 504) in a row after which an endpoint is ejected."""
    consecutive_local_origin_failures: Count | None = None
    """Failures to connect in a row after which an endpoint is ejected."""
    split_external_local_origin_errors: bool | None = None
    """Whether failures to connect are counted apart from errors that the endpoint answers."""
    interval: Duration | None = None
    """The time between ejection sweeps."""
    base_ejection_time: Duration | None = None
    """How long an endpoint is ejected for, times how often it has been."""
    max_ejection_percent: Percent | None = None
    """The most endpoints that may be ejected, in percent."""
    min_health_percent: Percent | None = None
    """Below this share of healthy endpoints, in percent, nothing is ejected."""


class TCPSettings(_Passed, frozen=True):
    """Istio's settings of TCP connections, for what is imported from the remote."""

    connect_timeout: Duration | None = None
    """How long a connection to an address of the remote may take before another is tried; absent: Istio's 10s."""


class ConnectionPool(_Passed, frozen=True):
    """Istio's connection pool, for what is imported from the remote; fields as in a DestinationRule."""

    tcp: TCPSettings | None = None
    """Settings of TCP connections."""


class TrafficPolicy(_Passed, frozen=True):
    """What goes into the DestinationRules of the remote's imports."""

    outlier_detection: OutlierDetection | None = None
    """When an endpoint of the remote is left out for a while; `{}`: by Istio's defaults. Locality failover needs it."""
    connection_pool: ConnectionPool | None = None
    """How connections to the remote are made."""

"""What others may write that decides about federation, at random."""

from __future__ import annotations

import random
from typing import Any

from tests.builders import (
    SYSTEM,
    endpoint_slice,
    manifest,
    workload_entry,
)
from tests.istiod.scene import (
    HERE,
    OUTLIERS,
    THERE,
)

JSONObject = dict[str, Any]

MUTUAL: JSONObject = {"tls": {"mode": "ISTIO_MUTUAL"}}
OFF: JSONObject = {"tls": {"mode": "DISABLE"}}
TLS: tuple[JSONObject, ...] = (
    {},
    {},
    OFF,
    OFF,
    MUTUAL,
    OUTLIERS,
    {"tls": {}},
    {"tls": {"mode": "ISTIO_MUTUAL", "sni": "x.example"}},
)
CREATED = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")


def rules(chosen: random.Random) -> list[JSONObject]:
    """DestinationRules of others."""
    found = {}
    for _ in range(chosen.randint(1, 6)):
        where, name = chosen.choice(("default", "default", SYSTEM, SYSTEM, "web", "shop")), chosen.choice("abc")
        policy = dict(chosen.choice(TLS))
        of_ports = [{"port": {"number": chosen.choice((80, 81))}, **chosen.choice(TLS)}] * chosen.choice((0, 0, 1))
        if of_ports:
            policy["portLevelSettings"] = of_ports
        spec: JSONObject = {
            "host": chosen.choice(
                (HERE, THERE, "ratings", "*.local", "*.default.svc.cluster.local", "*s.default.svc.cluster.local", "*")
            ),
            "exportTo": chosen.choice(([], [], ["*"], ["."], ["web"], ["shop", "web"], ["default"], [SYSTEM])),
        }
        if policy or chosen.random() < 0.5:
            spec["trafficPolicy"] = policy
        found[where, name] = manifest(
            "DestinationRule", name, spec, namespace=where, creationTimestamp=chosen.choice(CREATED)
        )
    return list(found.values())


MODES = ("DISABLE", "DISABLE", "PERMISSIVE", "STRICT", "UNSET")


def peer_authentications(chosen: random.Random) -> list[JSONObject]:
    """PeerAuthentications of others."""
    found = {}
    for _ in range(chosen.randint(1, 5)):
        where, name = chosen.choice(("default", "default", "default", SYSTEM, "web")), chosen.choice("abc")
        spec: JSONObject = {}
        labels = chosen.choice(
            ({}, {}, {"app": "ratings"}, {"app": "ratings", "version": "v2"}, {"version": "v2"}, {"app": "leader"})
        )
        if labels:
            spec["selector"] = {"matchLabels": labels}
        if chosen.random() < 0.8:
            spec["mtls"] = {"mode": chosen.choice(MODES)}
        if labels and chosen.random() < 0.6:
            ports = chosen.sample((8080, 7070, 82, 15443), chosen.randint(1, 2))
            spec["portLevelMtls"] = {str(number): {"mode": chosen.choice(MODES)} for number in ports}
        found[where, name] = manifest(
            "PeerAuthentication", name, spec, namespace=where, creationTimestamp=chosen.choice(CREATED)
        )
    return list(found.values())


def by_hand(chosen: random.Random) -> list[JSONObject]:
    """EndpointSlices of the Service without a selector."""
    ports = chosen.choice(({"http": 8080, "grpc": 7070}, {"http": 9080, "grpc": 7070}, {"grpc": 7070}, {"other": 8080}))
    return [
        endpoint_slice(
            f"leader-{number}",
            "leader",
            chosen.choice(
                (
                    "10.244.0.5=leader-1",
                    "10.244.0.5",
                    "10.244.0.4=outside",
                    "10.244.0.4",
                    "10.244.0.9=gone",
                    "192.0.2.99",
                    "10.244.0.3=ratings-2",
                )
            ),
            ports=ports,
            managed_by=chosen.choice(("", "somebody")),
            labels=chosen.choice(({}, {}, {}, {"multicluster.kubernetes.io/service-name": "leader"})),
        )
        for number in range(chosen.randint(1, 2))
    ]


def entries(chosen: random.Random) -> list[JSONObject]:
    """WorkloadEntries of others behind the Service with a selector."""
    found = []
    for number in range(chosen.randint(1, 2)):
        one = workload_entry(
            f"vm-{number}",
            "ratings",
            address=f"192.0.2.{70 + number}",
            account=chosen.choice(("", "vm")),
            labels=chosen.choice(
                ({}, {"security.istio.io/tlsMode": "istio"}, {"security.istio.io/tlsMode": "disabled"})
            ),
            **chosen.choice(({}, {"ports": {"http": 18080}}, {"ports": {"grpc": 17070, "http-plain": 18082}})),
        )
        health = chosen.choice(("", "", "True", "False", "none"))
        if health:
            one["metadata"]["annotations"] = {"proxy.istio.io/health-checks-enabled": "true"}
        if health in {"True", "False"}:
            one["status"] = {"conditions": [{"type": "Healthy", "status": health}]}
        found.append(one)
    return found

"""The two server names under which an exported port is reached.

Istio's own is what proxies send by themselves and what an AUTO_PASSTHROUGH gateway matches. OpenShift's router
cannot route it, since ``_`` is not valid in a host name, so behind a router each port has a second, valid one.
"""

from __future__ import annotations

from meshfed.model.meshes import IngressType, Remote
from meshfed.model.names import ServiceHost, is_dns_name


def istio_sni(host: str, port: int) -> str:
    """The SNI that Istio gives to ``port`` of ``host``: ``outbound_.<port>_._.<host>``.

    Istio's ``BuildDNSSrvSubsetKey`` with no subset; see also ``AUTO_PASSTHROUGH`` in the Gateway reference.
    """
    return f"outbound_.{port}_._.{host}"


def router_sni(host: ServiceHost, port: int) -> str | None:
    """The SNI of ``port`` of ``host`` behind OpenShift's router; ``None`` where that is no valid DNS name.

    The first label is the Service's name and the port, so a long name leaves no room (RFC 1035: 63 characters).
    """
    sni = f"{host.name}-{port}.{host.namespace}.svc.{host.domain}"
    return sni if is_dns_name(sni) else None


def gateway_sni(remote: Remote, host: str, port: int) -> str | None:
    """The SNI by which the ingress of ``remote`` knows ``port`` of ``host``, which is the exporter's own name for it.

    ``None`` behind a router for which it is too long, or where it is no Service's host.
    """
    if remote.ingress_type is not IngressType.OPENSHIFT_ROUTER:
        return istio_sni(host, port)
    service = ServiceHost.parse(host, remote.cluster_domain)
    return None if service is None else router_sni(service, port)

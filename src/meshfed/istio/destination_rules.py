"""DestinationRule: the SNI under which a remote's ingress knows what is imported from it, and outlier detection.

Needed only where Istio's own SNI for the imported host does not do: behind OpenShift's router, and for a host that
is imported under another name than its exporter's.

Istio takes port-level settings whole: a field that they leave out has its default there, not the value of the
level above ("Traffic settings specified at the destination-level will not be inherited when overridden by
port-level settings", TrafficPolicy.PortTrafficPolicy; ``MergeTrafficPolicy`` in istiod). So outlier detection is
repeated in them.

It takes the place of somebody else's rule for a wildcard in the control plane's namespace, such as one for the whole
mesh, and so takes its settings over, but for TLS settings that would keep requests from a remote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from meshfed.istio.metadata import NETWORKING, Manifest, manifest, present
from meshfed.istio.names import discovery_rule_name, import_rule_name
from meshfed.istio.sni import gateway_sni
from meshfed.model.imports import Import
from meshfed.model.meshes import IngressType, LocalMesh, Remote

_PLAIN_MTLS: Final = {"mode": "ISTIO_MUTUAL"}
_NOT_SETTINGS: Final = frozenset({"port", "portLevelSettings"})


def discovery_rule(mesh: LocalMesh, remote: Remote) -> Manifest | None:
    """The SNI of the discovery service of a ``remote`` behind a router.

    ``None`` where none is needed, where discovery bypasses the ingress, or where there is no SNI the router serves.
    """
    if remote.ingress_type is not IngressType.OPENSHIFT_ROUTER or not remote.addresses or remote.discovery_address:
        return None
    sni = gateway_sni(remote, remote.fds_host, remote.discovery_port)
    if sni is None:
        return None
    return _rule(mesh, discovery_rule_name(remote), remote.fds_host, {"tls": _tls(sni)})


def import_rule(mesh: LocalMesh, import_: Import) -> Manifest | None:
    """The SNI of each port of an imported host, and what its remotes ask for; ``None`` where neither is needed.

    A field that they ask for is written even where it is empty, since its presence counts in Istio. All backends
    agree on ingress type and exporter's host: one rule can state only one SNI a port. A port whose name leaves no room
    for a router SNI is left out; it cannot be reached either way.
    """
    asked, taken_over = import_.traffic_policy, import_.taken_over
    snis = {port.number: stated_sni(import_, port.number) for port in import_.ports}
    if not asked and not any(snis.values()):
        return None
    settings: list[dict[str, Any]] = []
    for port, sni in sorted(snis.items()):
        of_port = _of_port(taken_over, port)
        if sni is not None or of_port is not None:
            tls = {"tls": _tls(sni)} if sni is not None else {}
            settings.append({"port": {"number": port}, **_over(of_port or taken_over, asked), **tls})
    policy = {**_over(taken_over, asked), **present(portLevelSettings=settings)}
    return _rule(mesh, import_rule_name(import_.host), import_.host, policy)


def tls_left_behind(policy: Mapping[str, Any]) -> bool:
    """Whether a ``trafficPolicy`` that is taken over has TLS settings that are not."""
    ports = policy.get("portLevelSettings")
    parts = [policy, *(one for one in ports if isinstance(one, dict))] if isinstance(ports, list) else [policy]
    return any(part.get("tls", _PLAIN_MTLS) != _PLAIN_MTLS for part in parts)


def _over(general: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a rule that ours takes the place of, and over them what is asked for.

    Its TLS settings are only taken where they are Istio's own mTLS, which is what remotes speak.
    """
    settings = {field: value for field, value in general.items() if field not in _NOT_SETTINGS}
    if settings.get("tls") != _PLAIN_MTLS:
        settings.pop("tls", None)
    merged = {**settings, **asked}
    if "connectionPool" in settings.keys() & asked.keys():
        merged["connectionPool"] = _deeply(settings["connectionPool"], asked["connectionPool"])
    return {field: _sorted(value) for field, value in sorted(merged.items())}


def _sorted(value: Any) -> Any:
    """A copy with the fields in one order, whoever stated them in which."""
    if isinstance(value, dict):
        return {field: _sorted(inner) for field, inner in sorted(value.items())}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def _deeply(general: object, asked: Mapping[str, Any]) -> dict[str, Any]:
    below: dict[str, Any] = general if isinstance(general, dict) else {}
    return {**below, **{k: _deeply(below.get(k), v) if isinstance(v, dict) else v for k, v in asked.items()}}


def _of_port(policy: Mapping[str, Any], number: int) -> dict[str, Any] | None:
    """The settings of one port, the first of which counts (``GetPortLevelTrafficPolicy``); ``None`` without any."""
    ports = policy.get("portLevelSettings")
    for one in ports if isinstance(ports, list) else ():
        if isinstance(one, dict) and isinstance(one.get("port"), dict) and one["port"].get("number") == number:
            return one
    return None


def states_sni(import_: Import) -> bool:
    """Whether the rule of ``import_`` states an SNI, and so has everybody speak mTLS with the host's endpoints."""
    return any(stated_sni(import_, port.number) is not None for port in import_.ports)


def stated_sni(import_: Import, port: int) -> str | None:
    """The SNI that has to be stated for ``port``; ``None`` where Istio's own does, or none can be served."""
    backend = import_.backends[0]
    if import_.ingress_type is IngressType.ISTIO and backend.sni_host == import_.host:
        return None
    return gateway_sni(backend.remote, backend.sni_host, port)


def _tls(sni: str) -> dict[str, Any]:
    """Istio's own certificates, as it would use by itself, but with ``sni``.

    Without ``subjectAltNames`` here, those of the ServiceEntry or of the Service's accounts stay in force.
    """
    return {"mode": "ISTIO_MUTUAL", "sni": sni}


def _rule(mesh: LocalMesh, name: str, host: str, traffic_policy: dict[str, Any]) -> Manifest:
    return manifest(
        mesh,
        api_version=NETWORKING,
        kind="DestinationRule",
        name=name,
        namespace=mesh.control_plane_namespace,
        # Nothing is written where it is known that Istio's default says the same.
        spec={
            "host": host,
            "trafficPolicy": traffic_policy,
            **({} if mesh.config.shows_rules else {"exportTo": ["*"]}),
        },
    )

"""TLS between proxies: certificates from files, identities checked as istiod has them checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from meshfed_sandbox.dataplane.translate import schema_destination_rules
from meshfed_sandbox.dataplane.translate.envoy import extension, from_file
from meshfed_sandbox.dataplane.values import JSONObject, MeshSettings, ProxyFiles

HTTP_ALPN: Final = {
    "http": ["istio-http/1.1", "istio", "http/1.1"],
    "http2": ["istio-h2", "istio", "h2"],
    "tcp": ["istio"],
}
"""What a client offers, by which the server's sidecar tells HTTP from other traffic."""
INBOUND_HTTP: Final = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
INBOUND_TCP: Final = ["istio-peer-exchange", "istio"]
INBOUND_ANY: Final = [*INBOUND_TCP, *INBOUND_HTTP]

SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
_PARAMETERS: Final = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}


def mutual_upstream(files: ProxyFiles, *, sni: str, identities: Iterable[str], alpn: Sequence[str]) -> JSONObject:
    """Istio's mutual TLS towards a server, which has to prove one of ``identities``; any, where there are none."""
    names = [{"exact": identity} for identity in identities]
    return _socket(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=sni,
        common_tls_context={
            "tls_params": _PARAMETERS,
            "alpn_protocols": list(alpn),
            "tls_certificate_sds_secret_configs": [_secret("default", files.certificate)],
            "combined_validation_context": {
                "default_validation_context": _names(names),
                "validation_context_sds_secret_config": _secret("ROOTCA", files.trust),
            },
        },
    )


def mutual_downstream(settings: MeshSettings, files: ProxyFiles, *, http: bool) -> JSONObject:
    """Mutual TLS with a client, of this trust domain or an alias unless that is not to be checked."""
    domains = [] if settings.skip_validate_trust_domain else [settings.trust_domain, *settings.trust_domain_aliases]
    names = [{"prefix": f"spiffe://{domain}/"} for domain in dict.fromkeys(domains)]
    return _socket(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_params": _PARAMETERS,
            "alpn_protocols": ["h2", "http/1.1"] if http else ["istio-peer-exchange", "h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [_secret("default", files.certificate)],
            "combined_validation_context": {
                "default_validation_context": _names(names),
                "validation_context_sds_secret_config": _secret("ROOTCA", files.trust),
            },
        },
    )


def plain_upstream(tls: schema_destination_rules.TLS, *, identities: Sequence[str], http2: bool) -> JSONObject:
    """TLS as a DestinationRule describes it (SIMPLE, MUTUAL), with certificates from files of the Pod."""
    names = [{"exact": name} for name in tls.subject_alt_names or identities]
    common: JSONObject = {
        "tls_params": _PARAMETERS,
        "validation_context": {"trusted_ca": {"filename": tls.ca_certificates or SYSTEM_ROOTS}, **_names(names)},
    }
    if tls.mode == "MUTUAL":
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": tls.client_certificate},
                "private_key": {"filename": tls.private_key},
            }
        ]
    if http2:
        common["alpn_protocols"] = ["h2"]
    return _socket(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        **({"sni": tls.sni} if tls.sni else {}),
        common_tls_context=common,
    )


def _names(matchers: Sequence[JSONObject]) -> JSONObject:
    """What one of the certificate's names has to be; a SPIFFE identity is a URI, and may not be any other name."""
    if not matchers:
        return {}
    return {
        "match_typed_subject_alt_names": [
            {"san_type": _kind(next(iter(matcher.values()))), "matcher": matcher} for matcher in matchers
        ]
    }


def _kind(name: str) -> str:
    return "URI" if "://" in name else "DNS"


def _secret(name: str, path: str) -> JSONObject:
    return {"name": name, "sds_config": from_file(path)}


def _socket(type_: str, **fields: object) -> JSONObject:
    return extension("envoy.transport_sockets.tls", type_, **fields)

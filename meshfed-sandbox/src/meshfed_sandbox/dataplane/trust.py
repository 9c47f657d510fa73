"""Whom the proxies believe: certificates as istiod and SPIRE would issue them, and the roots each mesh accepts.

Every mesh has an intermediate certificate authority of its own, which signs the certificates of its workloads. What
differs between the modes is what stands above it, and what the others make of that:

- ``shared``: one root for all meshes, which all trust: the common root CA of a multi-mesh installation.
- ``federated``: a root for each mesh. Everyone holds the roots of all trust domains, each for its own domain only, as
  SPIRE's federated bundles have it: no mesh can vouch for an identity of another.
- ``none``: a root for each mesh, which no other mesh trusts. It shows what a missing exchange of trust looks like.

Everything is kept in memory and ends with the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshfed.model.identity import SpiffeID

JSONObject = dict[str, Any]
Mode = Literal["shared", "federated", "none"]

_AUTHORITY_LIFETIME: Final = timedelta(days=3650)
_BACKDATED: Final = timedelta(minutes=1)  # for a peer whose clock is a little behind, as Istio does
_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


class Credential(msgspec.Struct, frozen=True):
    """What a workload proves its identity with: the PEM of its key, and of its certificate and the intermediate.

    The root is not in ``chain``: whoever verifies has it, or does not trust it. ``renew_at`` is the middle of the
    certificate's life, when a new one is to be issued.
    """

    identity: SpiffeID
    private_key: str
    chain: str
    renew_at: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        """Without the key, which is for nobody's log."""
        return f"Credential({self.identity}, expires_at={self.expires_at.isoformat()})"


class _Authority:
    """A certificate authority: a key and the certificate that says whose."""

    def __init__(self, name: str, now: datetime, signer: _Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Meshfed sandbox"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        usage = _key_usage(signs_certificates=True)
        builder = _builder(subject, self._key.public_key(), now, _AUTHORITY_LIFETIME)
        # A root may have intermediates below it; an intermediate signs certificates of workloads and nothing else.
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if signer else 1), critical=True)
        builder = builder.add_extension(usage, critical=True)
        if signer is None:
            signed = builder.issuer_name(subject).sign(self._key, hashes.SHA256())
        else:
            signed = signer.sign(builder)
        self.certificate = signed

    @property
    def pem(self) -> str:
        """The certificate."""
        return _pem(self.certificate)

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """The certificate that ``builder`` describes, issued by this authority."""
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        builder = builder.issuer_name(self.certificate.subject).add_extension(identifier, critical=False)
        return builder.sign(self._key, hashes.SHA256())


class Trust:
    """The certificate authorities of all meshes of one sandbox.

    ``domains`` has the trust domain of each mesh; meshes may share one, and are then one to ``federated`` trust.
    ``lifetime`` is how long a workload's certificate is valid; ``clock`` tells the time, aware of its zone.

    Raises:
        ValueError: a trust domain is not one, or ``lifetime`` is not positive.
    """

    def __init__(
        self,
        domains: Mapping[str, str],
        *,
        mode: Mode = "shared",
        lifetime: timedelta = timedelta(hours=1),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        for mesh, domain in domains.items():
            if "/" in domain or SpiffeID.parse(f"spiffe://{domain}/ns") is None:
                raise ValueError(
                    f"the trust domain {domain!r} of mesh {mesh} is not one: use lower-case letters, digits, "
                    "'.', '-' and '_'"
                )
        if lifetime <= timedelta(0):
            raise ValueError(f"lifetime {lifetime} is not positive: say how long a certificate is valid")
        self._domains = dict(domains)
        self._mode = mode
        self._lifetime = lifetime
        self._clock = clock
        now = clock()
        common = _Authority("root of all meshes", now) if mode == "shared" else None
        self._roots = {mesh: common or _Authority(f"root of {mesh}", now) for mesh in domains}
        self._intermediates = {
            mesh: _Authority(f"intermediate of {mesh}", now, root) for mesh, root in self._roots.items()
        }

    def issue(self, mesh: str, namespace: str, service_account: str) -> Credential:
        """A fresh key and certificate for what runs as ``service_account`` in ``namespace`` of ``mesh``.

        The certificate has no subject, only the identity as its one URI, and serves for both ends of a connection.

        Raises:
            KeyError: there is no such mesh.
            ValueError: namespace or service account cannot be part of a SPIFFE ID.
        """
        identity = SpiffeID.of_workload(self._domains[mesh], namespace, service_account)
        if SpiffeID.parse(str(identity)) != identity or identity.workload != (namespace, service_account):
            raise ValueError(f"namespace {namespace!r} and service account {service_account!r} make no SPIFFE ID")
        now = self._clock()
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
        leaf = self._intermediates[mesh].sign(
            _builder(x509.Name([]), key.public_key(), now, self._lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(names, critical=True)  # RFC 5280, 4.2.1.6: since there is no subject
        )
        return Credential(
            identity=identity,
            private_key=_private_pem(key),
            chain=_pem(leaf) + self._intermediates[mesh].pem,
            renew_at=now + self._lifetime / 2,
            expires_at=leaf.not_valid_after_utc,
        )

    def bundles(self, mesh: str) -> Mapping[str, str]:
        """The roots that ``mesh`` accepts, as PEM, by the trust domain for whose identities it accepts them."""
        accepted = [mesh] if self._mode == "none" else list(self._domains)
        bundles: dict[str, str] = {}
        for other in accepted:
            root, domain = self._roots[other].pem, self._domains[other]
            if root not in bundles.get(domain, ""):
                bundles[domain] = bundles.get(domain, "") + root
        return bundles

    def secret(self, credential: Credential) -> JSONObject:
        """``credential`` for an Envoy: a DiscoveryResponse with the Secret ``default``."""
        return _secret(
            "default",
            tls_certificate={
                "certificate_chain": {"inline_string": credential.chain},
                "private_key": {"inline_string": credential.private_key},
            },
        )

    def roots(self, mesh: str) -> JSONObject:
        """What the proxies of ``mesh`` trust, for an Envoy: a DiscoveryResponse with the Secret ``ROOTCA``.

        Federated, Envoy chooses the bundle by the trust domain that the peer claims, and verifies with that alone.
        """
        bundles = self.bundles(mesh)
        if self._mode != "federated":
            root = self._roots[mesh].pem
            return _secret("ROOTCA", validation_context={"trusted_ca": {"inline_string": root}})
        validator = {
            "@type": f"{_TLS}.SPIFFECertValidatorConfig",
            "trust_domains": [
                {"name": domain, "trust_bundle": {"inline_string": roots}} for domain, roots in bundles.items()
            ],
        }
        return _secret(
            "ROOTCA",
            validation_context={
                "custom_validator_config": {"name": "envoy.tls.cert_validator.spiffe", "typed_config": validator}
            },
        )


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _secret(name: str, **content: JSONObject) -> JSONObject:
    return {"resources": [{"@type": f"{_TLS}.Secret", "name": name, **content}]}


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()

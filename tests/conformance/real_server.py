"""A real kube-apiserver on a real etcd, as envtest runs them: no kubelet, no controller manager."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conformance.cluster import Cluster

_TOKEN = "conformance"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _process(directory: Path, *command: str) -> Iterator[None]:
    log = directory / f"{Path(command[0]).name}.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


def _await_ready(url: str, ca: Path, log: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca))
    end = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", context=context, timeout=5) as answer:
                answer.read()
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > end:
                raise RuntimeError(f"kube-apiserver is not ready ({error}):\n{log.read_text()[-4000:]}") from error
            time.sleep(0.2)


@contextmanager
def real_server(assets: Path, directory: Path) -> Iterator[Cluster]:
    """Run the binaries in ``assets``, with everything they write in ``directory``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.crt")
    serving = authority.issue_cert("127.0.0.1")
    serving.private_key_and_cert_chain_pem.write_to_path(directory / "serving.pem")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (directory / "service-account.key").write_bytes(pem)
    (directory / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
    etcd, peer, port = f"http://127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}", _free_port()
    url, ca = f"https://127.0.0.1:{port}", directory / "ca.crt"
    with ExitStack() as stack:
        stack.enter_context(
            _process(
                directory,
                str(assets / "etcd"),
                f"--data-dir={directory / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peer}",
                "--unsafe-no-fsync",
            )
        )
        stack.enter_context(
            _process(
                directory,
                str(assets / "kube-apiserver"),
                f"--etcd-servers={etcd}",
                f"--secure-port={port}",
                "--bind-address=127.0.0.1",
                f"--tls-cert-file={directory / 'serving.pem'}",
                f"--tls-private-key-file={directory / 'serving.pem'}",
                f"--token-auth-file={directory / 'tokens.csv'}",
                f"--service-account-key-file={directory / 'service-account.key'}",
                f"--service-account-signing-key-file={directory / 'service-account.key'}",
                "--service-account-issuer=https://conformance.invalid",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=RBAC",
                "--disable-admission-plugins=ServiceAccount",
            )
        )
        _await_ready(url, ca, directory / "kube-apiserver.log")
        kubeconfig = directory / "real.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": {"server": url, "certificate-authority": str(ca)}}],
            "users": [{"name": "real", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "real"}}],
            "current-context": "real",
        }
        kubeconfig.write_text(yaml.safe_dump(config))
        yield Cluster(url=url, kubeconfig=kubeconfig, token=_TOKEN, ca=ca)

"""A real kube-apiserver with its etcd, from the folder that ``KUBEBUILDER_ASSETS`` names (envtest's convention)."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from meshfed.kube.config import ClusterConfig
from meshfed.kube.credentials import Static
from meshfed.kube.tls import TLSConfig
from meshfed_sandbox.ports import Ports

TOKEN = "test-token"


def assets() -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(folder) if folder and (Path(folder) / "kube-apiserver").exists() else None


class RealServer:
    """Processes that can be killed and started again over the same data."""

    def __init__(self, binaries: Path, directory: Path, ports: Ports) -> None:
        self._binaries = binaries
        self._directory = directory
        self.port = ports.take()
        self._etcd_port, self._peer_port = ports.take(), ports.take()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        (directory / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (directory / "sa.key").write_bytes(pem)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        """Its own certificate, which it signed itself."""
        return self._directory / "certs" / "apiserver.crt"

    def config(self) -> ClusterConfig:
        return ClusterConfig(
            server=self.url,
            tls=TLSConfig(ca=self.ca),
            credentials=Static.token(TOKEN),
            source="the test's own server",
        )

    @property
    def data(self) -> Path:
        """What its etcd keeps."""
        return self._directory / "etcd"

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self._etcd_port}"

    def start(self) -> None:
        self.start_etcd()
        self.start_server()

    def start_etcd(self) -> None:
        etcd = self.etcd_url
        peer = f"http://127.0.0.1:{self._peer_port}"
        self._etcd = self._spawn(
            "etcd",
            f"--data-dir={self.data}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )

    def start_server(self) -> None:
        key = self._directory / "sa.key"
        self._server = self._spawn(
            "kube-apiserver",
            f"--etcd-servers={self.etcd_url}",
            f"--cert-dir={self._directory / 'certs'}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
        )
        self._await_ready()

    def stop_server(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def stop(self) -> None:
        self.stop_server()
        self.stop_etcd()

    def stop_etcd(self) -> None:
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self._directory / f"{name}.log").open("ab")
        with log:
            return subprocess.Popen([self._binaries / name, *arguments], stdout=log, stderr=log)

    def _await_ready(self) -> None:
        context = ssl._create_unverified_context()
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}/readyz", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, context=context, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


@contextlib.contextmanager
def real_server(binaries: Path, directory: Path) -> Iterator[RealServer]:
    with Ports() as ports:
        server = RealServer(binaries, directory, ports)
        try:
            server.start()
            yield server
        finally:
            server.stop()

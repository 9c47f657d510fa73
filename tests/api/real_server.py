"""A real kube-apiserver and etcd, from the folder that ``KUBEBUILDER_ASSETS`` names."""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


class RealServer:
    """Speaks to the server as its administrator, through kubectl and plainly."""

    def __init__(self, url: str, token: str, ca: Path, cache: Path) -> None:
        self._url, self._token, self._ca = url, token, ca
        kubectl = Path(sys.executable).with_name("kubectl")
        to = [f"--server={url}", f"--token={token}", f"--certificate-authority={ca}", f"--cache-dir={cache}"]
        self._kubectl = [str(kubectl), *to]

    def kubectl(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end."""
        command = [*self._kubectl, *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The code and the JSON that a request is answered with."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        context = ssl.create_default_context(cafile=str(self._ca))
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@contextmanager
def real_server(directory: Path) -> Iterator[RealServer]:
    """Start both, wait until they are ready, and end them afterwards."""
    assets = Path(os.environ["KUBEBUILDER_ASSETS"])
    client, peer, secure = (_free_port() for _ in range(3))
    token = secrets.token_hex(16)
    (directory / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
    subprocess.run(["openssl", "genrsa", "-out", directory / "sa.key", "2048"], check=True, capture_output=True)
    etcd = [
        str(assets / "etcd"),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]
    apiserver = [
        str(assets / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--secure-port={secure}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory / 'certs'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        f"--service-account-key-file={directory / 'sa.key'}",
        f"--service-account-signing-key-file={directory / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
    ]
    server = RealServer(f"https://127.0.0.1:{secure}", token, directory / "certs/apiserver.crt", directory / "cache")
    with ExitStack() as running:
        for name, command in (("etcd", etcd), ("kube-apiserver", apiserver)):
            log = running.enter_context((directory / f"{name}.log").open("w"))
            process = running.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            running.callback(process.terminate)
        end = time.monotonic() + 120
        while server.kubectl("get", "namespace", "default").returncode != 0:
            assert time.monotonic() < end, f"no answer from kube-apiserver: see {directory}"
            time.sleep(0.2)
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

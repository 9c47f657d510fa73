"""A server under test, and the two ways the tests speak to it."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

JSONObject = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """Where a server is and what it takes to be let in."""

    url: str
    kubeconfig: Path
    token: str = ""
    ca: Path | None = None
    is_real: bool = False
    """Whether it is a kube-apiserver."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    code: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Session:
    """kubectl and HTTP against ``cluster``, kubectl in ``namespace`` and with a cache of its own."""

    def __init__(self, cluster: Cluster, kubectl: str, *, namespace: str, directory: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.directory = directory
        self._base = [
            kubectl,
            f"--kubeconfig={cluster.kubeconfig}",
            f"--cache-dir={directory / 'cache'}",
            f"--namespace={namespace}",
        ]

    def run(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end."""
        return subprocess.run(
            [*self._base, *args], input=textwrap.dedent(stdin), capture_output=True, text=True, timeout=60, check=False
        )

    def kubectl(self, *args: str, stdin: str = "") -> str:
        """What kubectl prints; it must succeed."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}{done.stdout}"
        return done.stdout

    def refused(self, *args: str, stdin: str = "") -> str:
        """What kubectl complains of; it must fail."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode != 0, f"kubectl {' '.join(args)} should have failed: {done.stdout}"
        return done.stderr.strip()

    def apply(self, manifest: str, *args: str) -> str:
        """``kubectl apply -f -``."""
        return self.kubectl("apply", "-f", "-", *args, stdin=manifest)

    def get(self, *args: str) -> Any:
        """``kubectl get -o json``."""
        return json.loads(self.kubectl("get", "-o", "json", "--show-managed-fields", *args))

    @contextmanager
    def running(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """Kubectl that runs meanwhile, with its standard output to read from."""
        with subprocess.Popen(
            [*self._base, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def path(self, resource: str, name: str = "", *, group: str = "") -> str:
        """The path of a resource in the session's Namespace; ``group`` is ``group/version``."""
        prefix = f"/apis/{group}" if group else "/api/v1"
        return f"{prefix}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    def _connection(self) -> http.client.HTTPConnection:
        address = urlsplit(self.cluster.url).netloc
        if self.cluster.ca is None:
            return http.client.HTTPConnection(address, timeout=30)
        context = ssl.create_default_context(cafile=str(self.cluster.ca))
        return http.client.HTTPSConnection(address, timeout=30, context=context)

    def _headers(self, media: str, accept: str, token: str | None = None) -> dict[str, str]:
        headers = {"Content-Type": media, "Accept": accept, "User-Agent": "conformance/1.0"}
        token = self.cluster.token if token is None else token
        return headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def http(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
    ) -> Answer:
        """One request; ``body`` is sent as it is where it is bytes, else as JSON. ``token``: not the cluster's own."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = self._connection()
        try:
            connection.request(method, path, body=data, headers=self._headers(media, accept, token))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    @contextmanager
    def watch(self, path: str, *, accept: str = "application/json") -> Iterator[Iterator[JSONObject]]:
        """A watch: an iterator over its events, which ends when the server ends it."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers=self._headers("application/json", accept))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)
        finally:
            connection.close()

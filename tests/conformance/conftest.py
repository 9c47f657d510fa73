"""The servers under test, and kubectl and plain HTTP to test them with.

Every test of this folder runs against the embedded server and, where ``KUBEBUILDER_ASSETS`` names a folder with
``kube-apiserver`` and ``etcd``, against those, unchanged. Each test has a Namespace of its own on a server that all
of them share, so that what one leaves behind is no concern of another.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from meshfed_sandbox.apiserver import APIServer
from tests.conformance.cluster import Cluster, Session
from tests.real_server import TOKEN, real_server

WIDGETS = Path(__file__).with_name("widgets.yaml")
_numbers = itertools.count(1)


@contextmanager
def _embedded(directory: Path) -> Iterator[Cluster]:
    """The embedded server, in a thread of its own: the tests block on kubectl."""
    started: Future[APIServer] = Future()
    stopping = threading.Event()

    async def serve() -> None:
        async with APIServer(bookmark_every=1.0, authorization="RBAC") as server:
            started.set_result(server)
            await asyncio.to_thread(stopping.wait)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        server = started.result(timeout=30)
        kubeconfig = directory / "embedded.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
        ca = directory / "embedded.crt"
        ca.write_bytes(server.ca)
        yield Cluster(url=server.url, kubeconfig=kubeconfig, token=server.token, ca=ca)
    finally:
        stopping.set()
        thread.join(timeout=30)


@pytest.fixture(scope="session", params=["embedded", "real"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that runs for all tests."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with _embedded(directory) as found:
            yield found
        return
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        pytest.skip("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd")
    with real_server(Path(assets), directory) as server:
        kubeconfig = directory / "real.kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "real", "cluster": {"server": server.url, "certificate-authority": str(server.ca)}}
                    ],
                    "users": [{"name": "real", "user": {"token": TOKEN}}],
                    "contexts": [{"name": "real", "context": {"cluster": "real", "user": "real"}}],
                    "current-context": "real",
                }
            )
        )
        yield Cluster(url=server.url, kubeconfig=kubeconfig, token=TOKEN, ca=server.ca, is_real=True)


@pytest.fixture(scope="session")
def kubectl_path() -> str:
    """The kubectl of this environment."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "kubectl is missing: install the development dependencies"
    return found


@pytest.fixture
def k(cluster: Cluster, kubectl_path: str, tmp_path: Path) -> Session:
    """kubectl and HTTP, in a Namespace of the test's own."""
    session = Session(cluster, kubectl_path, namespace=f"test-{next(_numbers)}", directory=tmp_path)
    session.http("POST", "/api/v1/namespaces", {"metadata": {"name": session.namespace}})
    return session


@pytest.fixture(scope="session")
def _widgets_installed(cluster: Cluster, kubectl_path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    session = Session(cluster, kubectl_path, namespace="default", directory=tmp_path_factory.mktemp("widgets"))
    session.kubectl("apply", "-f", str(WIDGETS))
    session.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(WIDGETS))


@pytest.fixture
def widgets(k: Session, _widgets_installed: None) -> Session:
    """``k`` on a server that has the CRD of ``widgets.yaml``."""
    return k


@pytest.fixture
def controllers(cluster: Cluster) -> None:
    """For tests of what a controller manager does, which the embedded server contains and kube-apiserver does not."""
    if cluster.is_real:
        pytest.skip("needs a controller manager")

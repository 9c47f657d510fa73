"""A cluster with RBAC that a release is installed into, and what a kubelet would do there: run the Deployment's pod.

The process gets the command, arguments and environment that the pod states, and a token of the pod's service account.
What a pod has and a process here has not is made up for: the API's address, ports of its own, and the sidecar, without
which no caller can say who it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import helm
import yaml
from yarl import URL

from meshfed.kube import Client, Manifest, NotFound, PatchType, load_kubeconfig
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.apiserver.access import Use
from meshfed_sandbox.dataplane import processes
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.ports import Ports
from tests.builders import RESOURCES, SYSTEM, namespace, service_exports_crd
from tests.deploy.permissions import refused
from tests.forked import forked
from tests.published import published_crds
from tests.waiting import PATIENCE, eventually

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "chart"


class Pod:
    """A container's process. ``uses``: what its service account asked for so far."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, uses: Callable[[], set[Use]]) -> None:
        self.process = process
        self.log = log
        self.uses = uses

    async def kill(self) -> None:
        """End it as a node that fails does."""
        processes.send(self.process, signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Tell it to stop, and wait until it has."""
        processes.send(self.process, signal.SIGTERM)
        return await self.process.wait()


class Cluster:
    """An API server with RBAC, an administrator's client to it, and a kubeconfig."""

    def __init__(self, server: APIServer, client: Client, kubeconfig: Path, ports: Ports, *, openshift: bool) -> None:
        self.server = server
        self.client = client
        self.kubeconfig = kubeconfig
        self.ports = ports
        self.openshift = openshift
        self.pods: list[Pod] = []

    async def apply(self, *manifests: Manifest) -> None:
        for manifest in manifests:
            await self.client.patch(
                RESOURCES[manifest["kind"]],
                manifest["metadata"]["name"],
                manifest,
                namespace=manifest["metadata"].get("namespace"),
                patch_type=PatchType.APPLY,
                force=True,
            )

    async def delete(self, kind: str, name: str, namespace: str = SYSTEM) -> None:
        with contextlib.suppress(NotFound):
            await self.client.delete(RESOURCES[kind], name, namespace=namespace)

    def all(self, kind: str) -> list[Manifest]:
        resource = RESOURCES[kind]
        return self.server.snapshot(f"{resource.plural}.{resource.group}" if resource.group else resource.plural)

    async def helm(self, asked: helm.Helm, verb: str, name: str, values: Mapping[str, Any], **more: Any) -> Any:
        """What Helm does, in a thread: it asks the server, which runs in this one."""
        arguments = {"chart": str(CHART), "name": name, "namespace": SYSTEM, "values": values} | more
        return await asyncio.to_thread(asked, verb, kubeconfig=str(self.kubeconfig), **arguments)

    def uses(self, account: str, namespace: str = SYSTEM) -> set[Use]:
        """What a service account asked for so far."""
        return {use for use in self.server.audit if use.user == f"system:serviceaccount:{namespace}:{account}"}

    async def run(self, template: Mapping[str, Any], *flags: str, namespace: str = SYSTEM) -> Pod:
        """Run the only container of a pod template, as it says and with ``flags`` besides."""
        spec = template["spec"]
        (container,) = spec["containers"]
        assert container["command"] == ["meshfed"]
        field = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
        environment = {
            variable["name"]: namespace if variable.get("valueFrom") == field else variable["value"]
            for variable in container.get("env", [])
        }
        account = spec["serviceAccountName"]
        log = self.kubeconfig.with_name(f"{self.kubeconfig.stem}-{account}-{len(self.pods)}.log")
        port = self.ports.take()
        arguments = [*container["args"], *(flag.format(port=port) for flag in flags)]
        with forked(), log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "meshfed", *arguments),
                env=environment | self._pod_environment(account, namespace),
                stdout=out,
                stderr=out,
            )
        self.pods.append(Pod(process, log, lambda: self.uses(account, namespace)))
        return self.pods[-1]

    async def run_controller(self, name: str = "federation-controller", namespace: str = SYSTEM) -> Pod:
        """Run a pod of a release's Deployment."""
        found = await self.client.get(RESOURCES["Deployment"], name, namespace=namespace)
        return await self.run(
            found["spec"]["template"],
            "--discovery-bind-address=127.0.0.1:{port}",
            "--metrics-bind-address=0",
            "--health-probe-bind-address=0",
            "--allow-unauthenticated-peers",
            namespace=namespace,
        )

    def _pod_environment(self, account: str, namespace: str) -> dict[str, str]:
        token = self.server.service_account_token(namespace, account)
        config = self.server.kubeconfig()
        config["users"][0]["user"] = {"token": token}
        path = self.kubeconfig.with_name(f"{namespace}-{account}.kubeconfig")
        path.write_text(yaml.safe_dump(config))
        return {"KUBECONFIG": str(path), "PATH": os.environ["PATH"], "HOME": str(path.parent)}


@contextlib.asynccontextmanager
async def cluster(
    directory: Path, *, openshift: bool = False, service_exports: bool = False, crds: Sequence[Manifest] = ()
) -> AsyncIterator[Cluster]:
    """A cluster with Istio's CRDs, ``crds`` and a namespace for Istio; not with Meshfed's, which the chart brings.

    Istio's own CRDs, where they are here; else the sandbox's.
    """
    definitions = published_crds() or istio_crds()
    installed = [crd for crd in definitions if openshift or crd["spec"]["names"]["kind"] != "Route"]
    installed += [service_exports_crd()] if service_exports else []
    with Ports() as ports:
        async with APIServer(authorization="RBAC", crds=[*installed, *crds]) as server:
            kubeconfig = directory / f"admin-{URL(server.url).port}.kubeconfig"
            kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
            async with Client(load_kubeconfig(str(kubeconfig), None, {})) as client:
                made = Cluster(server, client, kubeconfig, ports, openshift=openshift)
                await made.apply(namespace(SYSTEM))
                try:
                    yield made
                finally:
                    for pod in made.pods:  # a test that fails stops none
                        if pod.process.returncode is None:
                            await pod.kill()


async def until(holds: Callable[[], bool], what: str, pod: Pod | None = None) -> None:
    """Wait until ``holds``; fails at once where the pod is refused something. Its log is in the failure."""

    def settled() -> bool:
        denied = refused(pod.uses()) if pod else []
        assert denied == [], f"{what}: refused {denied}"
        return holds()

    try:
        await eventually(settled, what, within=PATIENCE)
    except AssertionError as error:
        if pod is None:
            raise
        raise AssertionError(f"{error}\n{pod.log.read_text()[-3000:]}") from None

"""Meshes that carry requests, for end-to-end tests: real controllers, real Envoys, applications that answer.

Bring a world up once for a module, and change what it needs within each test::

    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def world(tmp_path_factory) -> AsyncIterator[World]:
        async with World.up("east", "west", directory=tmp_path_factory.mktemp("world")) as world:
            await world.east.bookinfo("productpage", "reviews", "details")
            await world.west.bookinfo("productpage", "ratings")
            await world.federate()
            await world.settled()
            yield world

    async def test_an_exported_service_answers(world: World) -> None:
        await world.west.export("ratings.bookinfo")
        answer = await world.east.until("http://ratings.bookinfo:9080/ratings/0", status=200)
        assert answer.mesh == "west"

``World.up`` starts every mesh with a federation ingress gateway and a controller, as the chart installs them, and an
empty namespace ``bookinfo`` with injection and strict mTLS. The end of the world fails the test module where a proxy
was told what it refused, where something could not be translated, or where a proxy ended by itself, unless the test
took that out of ``world.problems`` with ``expected``.

A mesh is an attribute of the world (``world.east``). Of a mesh there are

- ``apply``, ``delete``, ``get``, ``kubectl``: what a user does to its Kubernetes API;
- ``bookinfo``, ``export``, ``unexport``: what these tests do to it most;
- ``request``: one request from a Pod, with whatever comes of it; ``until``: repeat it until it is as wanted;
  ``sample``: many of them, counted by who answered;
- ``path``: which proxies a request went through, from their access logs;
- ``plane``: the mesh of the data plane itself, with its ``pod``s and their ``proxy``s.

``options=Options(...)`` says whom workloads believe, how long certificates last, what is otherwise in MeshConfig, and
which meshes have an OpenShift router (``mesh.plane.router``, an address and a port).

Whatever else is to become so is waited for with ``eventually`` (`tests.waiting`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import yaml

from meshfed.api.crds import all_crds
from meshfed.kube import Client, NotFound, PatchType, ServedAPIs, discover, load_kubeconfig
from meshfed_sandbox import Sandbox
from meshfed_sandbox.apps import Outcome, call
from meshfed_sandbox.dataplane.installation import controller_identity
from meshfed_sandbox.dataplane.istiod import Problem
from meshfed_sandbox.dataplane.network import inside
from meshfed_sandbox.dataplane.plane import Mesh, Options
from meshfed_sandbox.kubectl import kubectl_path
from tests import builders
from tests.builders import EXPORTED, GATEWAY, mesh_federation, remote_mesh
from tests.forked import forked
from tests.waiting import PATIENCE, eventually

JSONObject = dict[str, Any]

NAMESPACE = "bookinfo"
GROUP = "federation.openshift-service-mesh.io"


class Answer(msgspec.Struct, frozen=True):
    """What came of a request: ``status`` is 0 where no answer arrived at all, and ``error`` then says why."""

    status: int
    body: Any
    headers: Mapping[str, str]
    error: str
    request_id: str

    @property
    def mesh(self) -> str:
        """The mesh whose application answered; empty where none did."""
        return str(self.body.get("mesh", "")) if isinstance(self.body, dict) else ""

    @property
    def pod(self) -> str:
        """The Pod that answered."""
        return str(self.body.get("pod", "")) if isinstance(self.body, dict) else ""

    @property
    def caller(self) -> str:
        """The identity that the answering Pod's sidecar saw, as the application was told."""
        return str(self.body.get("caller", "")) if isinstance(self.body, dict) else ""


class Hop(msgspec.Struct, frozen=True):
    """One line of a proxy's access log: where, which way, and what the proxy saw."""

    mesh: str
    pod: str
    line: JSONObject

    def __str__(self) -> str:
        return f"{self.mesh} {self.pod.rsplit('-', 2)[0]} {self.line['direction']}"


class MeshWorld:
    """One mesh."""

    def __init__(self, plane: Mesh, client: Client, kinds: ServedAPIs, kubeconfig: Path) -> None:
        self.plane = plane
        self.client = client
        self.kubeconfig = kubeconfig
        self._kinds = kinds

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self.plane.name

    # --- its Kubernetes API

    async def apply(self, *manifests: JSONObject | str) -> None:
        """Apply objects, or YAML of any number of them, as ``kubectl apply --server-side`` does."""
        for manifest in manifests:
            for one in yaml.safe_load_all(manifest) if isinstance(manifest, str) else [manifest]:
                if one:
                    await self._apply(one)

    async def _apply(self, manifest: JSONObject) -> None:
        resource = self.resource(manifest["kind"], manifest["apiVersion"].rpartition("/")[0])
        metadata = manifest["metadata"]
        namespace = (metadata.get("namespace") or "default") if resource.namespaced else None
        manifest = {**manifest, "apiVersion": resource.api_version}
        await self.client.patch(
            resource, metadata["name"], manifest, namespace=namespace, patch_type=PatchType.APPLY, force=True
        )

    async def get(self, kind: str, name: str, namespace: str | None = NAMESPACE) -> JSONObject | None:
        """An object, or ``None``; ``kind`` is enough where one group has it."""
        resource = self.resource(kind)
        try:
            return await self.client.get(resource, name, namespace=namespace if resource.namespaced else None)
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str | None = None) -> list[JSONObject]:
        """All objects of a kind, of one namespace or of all."""
        return list(await self.client.list(self.resource(kind), namespace=namespace))

    async def patch(self, kind: str, name: str, patch: JSONObject, namespace: str | None = NAMESPACE) -> None:
        """Merge ``patch`` into an object."""
        resource = self.resource(kind)
        await self.client.patch(resource, name, patch, namespace=namespace if resource.namespaced else None)

    async def respecify(self, manifest: JSONObject) -> None:
        """Put the spec of ``manifest`` in place of that of the object of its kind and name, and nothing else."""
        metadata = manifest["metadata"]
        patch = [{"op": "replace", "path": "/spec", "value": manifest["spec"]}]
        resource = self.resource(manifest["kind"])
        await self.client.patch(
            resource, metadata["name"], patch, namespace=metadata["namespace"], patch_type=PatchType.JSON
        )

    async def delete(self, kind: str, name: str, namespace: str | None = NAMESPACE) -> None:
        """Delete an object, if it is there."""
        resource = self.resource(kind)
        with contextlib.suppress(NotFound):
            await self.client.delete(resource, name, namespace=namespace if resource.namespaced else None)

    def resource(self, kind: str, group: str | None = None) -> Any:
        found = [one for one in self._kinds.resources if one.kind == kind and group in {None, one.group}]
        assert found, f"the API serves no {kind}"
        return found[0]

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What the real kubectl prints; fails where it does."""
        out, err, code = await self.tried(*arguments, stdin=stdin)
        assert code == 0, err
        return out

    async def tried(self, *arguments: str, stdin: str = "") -> tuple[str, str, int]:
        """What the real kubectl prints, what it complains of, and its exit code."""
        process = await asyncio.create_subprocess_exec(
            kubectl_path(),
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.kubeconfig.parent / 'kubectl-cache'}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return out.decode(), err.decode(), process.returncode

    # --- what these tests do most

    async def bookinfo(self, *services: str, namespace: str = NAMESPACE) -> None:
        """Run parts of bookinfo, each as the account ``bookinfo-<name>``, with a Deployment ``<name>-v1``."""
        for name in services:
            await self.run(name, image=IMAGES[name], port=9080, account=f"bookinfo-{name}", namespace=namespace)

    async def run(
        self,
        name: str,
        *,
        image: str,
        port: int | Mapping[str, int],
        account: str = "default",
        namespace: str = NAMESPACE,
        port_name: str = "http",
        labels: Mapping[str, str] | None = None,
        **env: str,
    ) -> None:
        """Run one application behind a Service of its name, on one port, or several by their names.

        ``labels`` are the Pod's, besides ``app``.
        """
        ports = {port_name: port} if isinstance(port, int) else port
        meta = {"name": name, "namespace": namespace, "labels": {"app": name}}
        container = {
            "name": name,
            "image": image,
            "ports": [{"name": name, "containerPort": number} for name, number in ports.items()],
            "env": [{"name": key, "value": value} for key, value in env.items()],
        }
        pod = {
            "metadata": {"labels": {"app": name, "version": "v1", **(labels or {})}},
            "spec": {"serviceAccountName": account, "containers": [container]},
        }
        await self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}},
            builders.service(f"{name}.{namespace}", ports=[builders.port(number, of) for of, number in ports.items()]),
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {**meta, "name": f"{name}-v1"},
                "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod},
            },
        )

    async def export(self, *services: str) -> None:
        """Label Services, each ``name.namespace``, so that the MeshFederation of ``federate`` exports them."""
        for service in services:
            await self.patch("Service", *_split(service, {"metadata": {"labels": EXPORTED}}))

    async def unexport(self, *services: str) -> None:
        """Take the label away."""
        for service in services:
            patch = {"metadata": {"labels": dict.fromkeys(EXPORTED)}}
            await self.patch("Service", *_split(service, patch))

    async def gateway_address(self) -> str:
        """Where the ingress gateway is reached from outside, once it is."""

        async def address() -> str:
            service = await self.get("Service", "federation-ingress-gateway", "istio-system") or {}
            ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
            return str(ingress[0].get("ip", ""))

        found = await eventually(address, what=f"{self.name}'s ingress gateway has an address")
        return str(found)

    async def federation(self, **spec: Any) -> None:
        """Apply the mesh's MeshFederation, which exports what is labelled; ``spec`` changes it, in the API's words."""
        kind = {"type": "openshift-router"} if self.plane.router is not None else {}
        plain = {
            "network": self.plane.settings.network,
            "trustDomain": self.plane.settings.trust_domain,
            "ingress": {"gateway": {"selector": GATEWAY}, **kind},
        }
        await self.apply(mesh_federation(self.name, **(plain | spec)))

    async def remote(self, other: MeshWorld, **spec: Any) -> None:
        """Apply the RemoteMesh of another mesh; ``spec`` changes it, in the API's words."""
        router = other.plane.router
        if router is None:
            way: JSONObject = {"addresses": [await other.gateway_address()]}
        else:
            way = {"addresses": [router.address], "port": router.port, "ingressType": "openshift-router"}
        plain = {
            **way,
            "network": other.plane.settings.network,
            "trustDomain": other.plane.settings.trust_domain,
            "identity": controller_identity(other.plane.settings),
            "import": {"merge": True},
        }
        await self.apply(remote_mesh(other.name, **(plain | spec)))

    async def condition(self, kind: str, name: str, condition: str, namespace: str = "istio-system") -> str:
        """A condition of an object as ``status reason: message``; empty where there is none."""
        found = await self.get(kind, name, namespace) or {}
        for one in found.get("status", {}).get("conditions") or ():
            if one["type"] == condition:
                return f"{one['status']} {one['reason']}: {one.get('message', '')}"
        return ""

    # --- requests

    async def request(
        self,
        url: str,
        *,
        from_: str = "productpage",
        namespace: str = NAMESPACE,
        headers: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> Answer:
        """Call ``url`` from a Pod of the workload ``from_``, as its application would: by its DNS and sidecar."""
        place = self.plane.pod(namespace, from_).place
        assert place is not None, f"{from_} has no address yet"
        request_id = str(uuid4())
        with inside(place):
            found = await asyncio.create_task(
                call(url, {"x-request-id": request_id, **(headers or {})}, seconds=seconds)
            )
        return _answer(found, request_id)

    async def until(
        self, url: str, *, status: int = 200, mesh: str = "", within: float = PATIENCE, **how: Any
    ) -> Answer:
        """Repeat a request until it is answered with ``status``, and by ``mesh`` if that is given."""
        last = ""

        async def holds() -> Answer | None:
            nonlocal last
            answer = await self.request(url, **how)
            last = f"{answer.status} {answer.mesh} {answer.error or answer.body}"
            return answer if answer.status == status and mesh in {"", answer.mesh} else None

        try:
            found: Answer = await eventually(holds, within=within, what=url)
        except AssertionError:
            raise AssertionError(
                f"{self.name}: {url}: not {status} {mesh} within {within:.0f} s; last: {last}"
            ) from None
        return found

    async def sample(self, url: str, count: int = 40, **how: Any) -> Counter[str]:
        """Make ``count`` requests; how many were answered by each mesh, and by each status where that is not 200."""
        answers = [await self.request(url, **how) for _ in range(count)]
        return Counter(one.mesh if one.status == 200 else f"{one.status} {one.error}".strip() for one in answers)

    def hops(self) -> Iterable[Hop]:
        """Every line in the access logs of this mesh's proxies that run."""
        for name, proxy in self.plane.control_plane.proxies.items():
            if proxy.access_log.exists():
                for line in proxy.access_log.read_bytes().splitlines():
                    yield Hop(self.name, name.rpartition("/")[2], msgspec.json.decode(line))


def _answer(found: Outcome, request_id: str) -> Answer:
    return Answer(found.status or 0, found.answer, found.headers, found.error, request_id)


def _split(service: str, patch: JSONObject) -> tuple[str, JSONObject, str]:
    name, _, namespace = service.partition(".")
    return name, patch, namespace or NAMESPACE


IMAGES = {
    "details": "examples-bookinfo-details-v1:1.20.3",
    "ratings": "examples-bookinfo-ratings-v1:1.20.3",
    "reviews": "examples-bookinfo-reviews-v3:1.20.3",
    "productpage": "examples-bookinfo-productpage-v1:1.20.3",
}


class World:
    """All meshes of a test. See the module for how it is used."""

    def __init__(self, sandbox: Sandbox, meshes: Mapping[str, MeshWorld]) -> None:
        self.sandbox = sandbox
        self.meshes = meshes
        self._expected: list[str] = []

    def __getattr__(self, name: str) -> MeshWorld:
        try:
            return self.meshes[name]
        except KeyError:
            raise AttributeError(f"there is no mesh {name}; there are {', '.join(self.meshes)}") from None

    @classmethod
    @asynccontextmanager
    async def up(
        cls,
        *names: str,
        directory: Path,
        options: Options | None = None,
        strict: bool = True,
        crds: Iterable[JSONObject] = (),
        constants: Mapping[str, object] | None = None,
    ) -> AsyncIterator[World]:
        """Bring up meshes of these names; ``strict``: workloads take nothing but mTLS. ``crds``: beside the usual.

        ``constants``: the values that constants of a controller have, by module and name.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(forked(constants))
            sandbox = Sandbox(names, directory=directory, crds=[*all_crds(), *crds], data_plane=options or Options())
            await stack.enter_async_context(sandbox)
            meshes: dict[str, MeshWorld] = {}
            for name, kubeconfig in sandbox.kubeconfigs.items():
                client = await stack.enter_async_context(Client(load_kubeconfig(str(kubeconfig), None, {})))
                plane = sandbox.data_plane.meshes[name]
                mesh = meshes[name] = MeshWorld(plane, client, await discover(client), kubeconfig)
                await plane.install()
                await mesh.apply(*_namespace(strict=strict))
            world = cls(sandbox, meshes)
            yield world
            unexpected = [str(one) for one in world.problems if not any(word in str(one) for word in world._expected)]
            assert not unexpected, "\n".join(unexpected)

    @property
    def problems(self) -> list[Problem]:
        """What befell the data plane so far."""
        return self.sandbox.data_plane.problems

    def expected(self, words: str) -> None:
        """Problems that contain ``words`` are what the test provokes: they do not fail it."""
        self._expected.append(words)

    async def federate(self, **spec: Any) -> None:
        """Federate every mesh with every other; ``spec`` is for the RemoteMeshes."""
        for mesh in self.meshes.values():
            await mesh.federation()
            for other in self.meshes.values():
                if other is not mesh:
                    await mesh.remote(other, **spec)

    async def connected(self) -> None:
        """Wait until every mesh's controller hears from that of each of its RemoteMeshes."""
        for mesh in self.meshes.values():
            for remote in await mesh.list("RemoteMesh"):
                other = remote["metadata"]["name"]

                async def says(mesh: MeshWorld = mesh, other: str = other) -> bool:
                    return (await mesh.condition("RemoteMesh", other, "Connected")).startswith("True")

                await eventually(says, what=f"{mesh.name} is connected with {other}")

    async def settled(self, within: float = 2 * PATIENCE) -> None:
        """Wait until every Pod is ready and every proxy is up to date."""
        plane = self.sandbox.data_plane
        try:
            async with asyncio.timeout(within):
                await plane.settled()
        except TimeoutError:
            waiting = [line for mesh in plane.meshes.values() for line in mesh.unsettled()]
            raise AssertionError("not settled:\n" + "\n".join(waiting + [str(one) for one in plane.problems])) from None

    async def path(self, answer: Answer, hops: int = 1) -> list[Hop]:
        """The hops that name the request of ``answer``, at least ``hops`` of them, in the order of time.

        A gateway passes TLS on unread and so names no request: look for it among the ``hops`` of its mesh.
        """

        def found() -> list[Hop]:
            lines = [hop for mesh in self.meshes.values() for hop in mesh.hops()]
            mine = [hop for hop in lines if hop.line.get("request_id") == answer.request_id]
            return sorted(mine, key=lambda hop: str(hop.line["time"])) if len(mine) >= hops else []

        result: list[Hop] = await eventually(found, what=f"{hops} hops of request {answer.request_id}")
        return result


def _namespace(*, strict: bool) -> list[JSONObject]:
    made = [builders.namespace(NAMESPACE, **{"istio-injection": "enabled"})]
    if strict:
        made.append(
            builders.manifest("PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}, namespace=NAMESPACE)
        )
    return made

"""Two meshes in which every kind of object that a controller writes is at work, and probes that notice what is wrong.

West is behind an OpenShift router, east is not. Each exports to the other a Service that the other lacks, and both
export one that both have; east one more, which west imports under another name, and one of which it exports a single
port. Once all is written the controllers
make way for a stand-in, which serves discovery and writes nothing: whatever is changed then stays so.

Connections are not shared here: each request of a probe is carried by new ones all the way, which what was changed has
to let pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from unittest import mock

import msgspec

from meshfed.fds import DiscoveryClient, DiscoveryError, Patience, Target, Update
from meshfed.kube import Invalid
from meshfed.telemetry.metrics import Metrics
from meshfed_sandbox.apps import call
from meshfed_sandbox.dataplane import istiod
from meshfed_sandbox.dataplane.network import inside
from meshfed_sandbox.dataplane.plane import Options
from meshfed_sandbox.dataplane.translate import configuration
from meshfed_sandbox.dataplane.values import ProxyConfig
from tests.builders import EXPORTED
from tests.e2e.mutants import KINDS, Mutation, Names, equivalent, mutations
from tests.e2e.probes import BOTH, CALLER, Probe, fronting, run, shown_at
from tests.sandbox.dataplane.world import JSONObject, MeshWorld, World
from tests.waiting import PATIENCE, eventually

EAST, WEST = frozenset({"east"}), frozenset({"west"})
CONTROLLER: Final = ("istio-system", "federation-controller")
GATEWAY: Final = ("istio-system", "federation-ingress-gateway")
PORTS: Final = {"http": 8080, "tcp": 9000}
SHARED: Final = {"serves": "both"}
DISCOVERY_PORT, METRICS_PORT = 15080, 8080
_SURVIVES: Final = 30.0
"""Seconds after which a mutation that no probe has noticed is not noticed at all, on a machine that is busy; and after
which one that cannot matter does, if a probe complains as long as that."""
_DRAWS: Final = 24
_HARMLESS: Final = 0.6
"""Seconds after which one that cannot matter is looked at, once the proxies have it."""


class Notices(Protocol):
    """A probe."""

    @property
    def name(self) -> str:
        """What it looks at."""

    async def complaint(self, world: World) -> str:
        """What is not as expected, after the probe's name; empty where all is."""


class Checked(msgspec.Struct, frozen=True):
    """A probe made of a function that says what is wrong."""

    name: str
    mesh: str
    check: Callable[[MeshWorld], Awaitable[str]]

    async def complaint(self, world: World) -> str:
        """What is not as expected."""
        found = await self.check(world.meshes[self.mesh])
        return f"{self.name}: {found}" if found else ""


# --- probes


async def discovery(mesh: MeshWorld) -> str:
    """A new stream from where the controller is to the other mesh's discovery service."""
    other = "west" if mesh.name == "east" else "east"
    heard = _Heard()
    target = Target(host=f"federation-discovery-service-{other}.istio-system.svc.cluster.local", port=DISCOVERY_PORT)
    client = DiscoveryClient(other, target, heard, metrics=Metrics(), patience=Patience(connect=5.0))
    place = mesh.plane.pod(*CONTROLLER).place
    assert place is not None
    with inside(place):
        running = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(10):
            return await heard.outcome
    except TimeoutError:
        return "nothing came within 10 s"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class _Heard:
    """What a discovery client hears: ``outcome`` is empty once it has the whole list, else why not."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def connected(self, dialect: object) -> None:
        """Nothing to do."""

    async def disconnected(self, error: DiscoveryError) -> None:
        """It failed."""
        self._say(str(error))

    async def update(self, update: Update) -> None:
        """It has come, or a part of it."""
        if update.synced:
            self._say("")

    def _say(self, outcome: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def _address(mesh: MeshWorld, of: tuple[str, str]) -> str:
    place = mesh.plane.pod(*of).place
    assert place is not None
    return place.address


async def stranger(mesh: MeshWorld, asked: str = "") -> str:
    """A workload of a mesh asks its discovery service, or that of another; ``PERMISSION_DENIED`` is expected."""
    url = f"grpc://federation-discovery-service-{asked or mesh.name}.istio-system:{DISCOVERY_PORT}/x"
    answer = await mesh.request(url, from_="caller")
    return "" if answer.error.startswith("PERMISSION_DENIED") else f"answered {answer.error or answer.body}"


async def plaintext(mesh: MeshWorld) -> str:
    """Somebody without a certificate calls the discovery service: refused by the AuthorizationPolicy, at the latest."""
    found = await call(f"http://{_address(mesh, CONTROLLER)}:{DISCOVERY_PORT}/")
    return "" if found.status in {None, 403} else f"answered {found.status}"


async def metrics(mesh: MeshWorld) -> str:
    """Somebody without a certificate calls the metrics port: an answer is expected."""
    found = await call(f"http://{_address(mesh, CONTROLLER)}:{METRICS_PORT}/metrics")
    # The stand-in has none, and says so itself.
    return "" if found.status in {200, 404} else f"answered {found.status} {found.error}"


async def left_out(mesh: MeshWorld) -> str:
    """The gateway is asked for a port that is not exported: no certificate is expected."""
    return "a certificate is shown" if await shown_at(mesh, "single", PORTS["tcp"]) else ""


def _by_name(host: str) -> Callable[[MeshWorld], Awaitable[str]]:
    """HTTP goes by the name in the request, whichever Service's address was dialled."""

    async def check(mesh: MeshWorld) -> str:
        answer = await mesh.request("http://both.bookinfo:8080/", from_="caller", headers={"host": f"{host}:8080"})
        return "" if answer.mesh not in {"", mesh.name} else f"answered {answer.status} {answer.error or answer.body}"

    return check


class PassesNothingOn(msgspec.Struct, frozen=True):
    """A gateway leads to its own mesh, never on to another."""

    name: str
    mesh: str
    read: dict[str, int]

    async def complaint(self, world: World) -> str:
        """Whether a connection left the mesh again since last time."""
        pod = world.meshes[self.mesh].plane.pod(*GATEWAY)
        assert pod.proxy is not None
        own = _address(world.meshes[self.mesh], GATEWAY).rsplit(".", 2)[0]
        with pod.proxy.access_log.open("rb") as log:
            log.seek(self.read.get(pod.name, 0))
            text = log.read()
        complete = text[: text.rfind(b"\n") + 1]
        self.read[pod.name] = self.read.get(pod.name, 0) + len(complete)
        hosts = {str(msgspec.json.decode(line).get("upstream_host") or "") for line in complete.splitlines()}
        left = sorted(host for host in hosts if host not in {"", "-"} and not host.startswith(f"{own}."))
        return f"{self.name}: sent on to {', '.join(left)}" if left else ""


def probes() -> list[Notices]:
    """All that holds in an unchanged world."""
    found: list[Notices] = []
    for mesh, other, host in (("east", WEST, "echo"), ("west", EAST, "back")):
        found += [
            _http(f"{mesh}: HTTP", mesh, f"http://{host}.bookinfo:8080/", other),
            Probe(name=f"{mesh}: TCP", mesh=mesh, url=f"tcp://{host}.bookinfo:9000/x", answered_by=other),
            Checked(f"{mesh}: HTTP by name", mesh, _by_name(f"{host}.bookinfo")),
            _http(f"{mesh}: both, HTTP", mesh, "http://both.bookinfo:8080/", BOTH),
            Probe(
                name=f"{mesh}: both, TCP",
                mesh=mesh,
                url="tcp://both.bookinfo:9000/x",
                answered_by=BOTH,
                draws=_DRAWS,
            ),
            Checked(f"{mesh}: discovery", mesh, discovery),
            Checked(f"{mesh}: discovery refuses strangers", mesh, stranger),
            Checked(f"{mesh}: discovery refuses plaintext", mesh, plaintext),
            Checked(f"{mesh}: metrics in plaintext", mesh, metrics),
            PassesNothingOn(f"{mesh}: gateway passes nothing on", mesh, {}),
        ]
    alias = "aliased.bookinfo.svc.east.mesh"
    return [
        *found,
        _http("west: alias", "west", f"http://{alias}:8080/", EAST),
        Checked("east: gateway closes other ports", "east", left_out),
        _http("west: single port", "west", "http://single.bookinfo:8080/", EAST),
        Checked("west: alias by name", "west", _by_name(alias)),
    ]


def _http(name: str, mesh: str, url: str, answered_by: frozenset[str]) -> Probe:
    return Probe(
        name=name, mesh=mesh, url=url, answered_by=answered_by, spoken="http/1.1", identity=CALLER, draws=_DRAWS
    )


# --- the world


def _unshared(*arguments: Any) -> ProxyConfig:
    """What proxies are told, but with connections of its own for each that comes in."""
    told = configuration(*arguments)
    apart = [{**cluster, "connection_pool_per_downstream_connection": True} for cluster in told.clusters]
    return msgspec.structs.replace(told, clusters=apart)


@asynccontextmanager
async def converged(directory: Path) -> AsyncIterator[Mutated]:
    """The two meshes, with all written and nobody left who writes."""
    options = Options(routers=frozenset({"west"}))
    with mock.patch.object(istiod, "configuration", _unshared):
        async with World.up("east", "west", directory=directory, options=options) as world:
            await _bring(world)
            await world.settled()
            await world.connected()
            mutated = Mutated(world)
            await mutated.well()
            for mesh in world.meshes.values():
                await _stand_in(mesh, directory)
            await world.settled()
            await mutated.well()
            yield mutated
            world.expected("")  # all problems were provoked


async def _bring(world: World) -> None:
    ports = [{"name": name, "port": number} for name, number in PORTS.items()]
    for mesh, exported in ((world.east, ("back", "aliased")), (world.west, ("echo",))):
        await run(mesh, "caller", image="sleep", account="caller")
        # The accounts differ, so that it matters who is said to answer for a Service that both have.
        await run(mesh, "echo-pods", image="echo", account=f"{mesh.name}-echo", ports=PORTS, labels=SHARED)
        for name in (*exported, "both"):
            made = fronting(name, *(ports[:1] if name == "aliased" else ports))
            if name == "both":
                made["spec"]["selector"] = SHARED  # no other Service's, or nothing could join it
            await mesh.apply(made)
        await mesh.federation()
        await mesh.export(*exported, "both")
    await world.east.apply(fronting("single", *ports))
    single = {"action": "Export", "names": ["single"], "ports": [PORTS["http"]]}
    labelled = {"action": "Export", "labels": {"matchLabels": EXPORTED}}
    await world.east.federation(export={"rules": [single, labelled]})
    shared = {"merge": True, "allowTCP": True}
    alias = {
        "action": "Import",
        "hosts": ["aliased.bookinfo.svc.cluster.local"],
        "as": {"host": "{name}.{namespace}.svc.east.mesh"},
    }
    impatient = {"connectionPool": {"tcp": {"connectTimeout": "5s"}}}
    await world.east.remote(world.west, **{"import": shared, "trafficPolicy": impatient})
    await world.west.remote(world.east, **{"import": {**shared, "rules": [alias, {"action": "Import"}]}})


async def _stand_in(mesh: MeshWorld, directory: Path) -> None:
    """Have the controller's Pod serve discovery, and something in place of metrics, but write nothing."""
    offers = directory / f"{mesh.name}-offers.json"
    offers.write_bytes(
        msgspec.json.encode([{"host": "a.b.svc.cluster.local", "ports": [{"name": "http", "number": 80}]}])
    )
    serving = {
        "name": "discovery",
        "image": "meshfed",
        "args": ["fds", "serve", "--file", str(offers), "--port", str(DISCOVERY_PORT)],
        "ports": [{"name": "grpc-fds", "containerPort": DISCOVERY_PORT}],
    }
    metrics = {
        "name": "metrics",
        "image": "httpbin",
        "ports": [{"name": "http-metrics", "containerPort": METRICS_PORT}],
    }
    containers = {"template": {"spec": {"containers": [serving, metrics]}}}
    await mesh.patch("Deployment", CONTROLLER[1], {"spec": containers}, CONTROLLER[0])


class Mutated:
    """The meshes while one thing at a time is wrong in them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._probes = probes()

    async def well(self) -> None:
        """Wait until no probe complains."""
        last: list[str] = []

        async def holds() -> bool:
            nonlocal last
            last = await self.complaints() or await self._impostors()
            return not last

        try:
            await eventually(holds, within=2 * PATIENCE)
        except AssertionError:
            raise AssertionError("the world is not well:\n" + "\n".join(last)) from None

    async def complaints(self) -> list[str]:
        """What each probe, asked once, complains of."""
        return [one for one in await asyncio.gather(*(probe.complaint(self.world) for probe in self._probes)) if one]

    # --- what may go wrong

    async def mutations(self) -> list[Mutation]:
        """All mutations of all that was written."""
        found: list[Mutation] = []
        for mesh in self.world.meshes.values():
            names = self._names(mesh)
            for kind in KINDS:
                objects = [one for one in await mesh.list(kind) if _is_ours(one)]
                for obj in sorted(objects, key=lambda one: str(one["metadata"]["name"])):
                    found += mutations(mesh.name, {**obj, "kind": kind}, names)
        return found

    def _names(self, mesh: MeshWorld) -> Names:
        shown: dict[str, str] = {}
        router_port = 0
        for other in self.world.meshes.values():
            if other.plane.router is not None:
                shown[other.plane.router.address] = f"<router of {other.name}>"
                router_port = other.plane.router.port
            shown[_address(other, GATEWAY)] = f"<gateway of {other.name}>"
        nobody = f"{_address(mesh, GATEWAY).rsplit('.', 2)[0]}.253.253"
        return Names({**shown, nobody: "<nobody>"}, mesh.plane.settings.network, nobody, router_port)

    async def noticed(self, mutation: Mutation, *, expected: str | None = None) -> str:
        """Who notices a mutation: the probes, or ``refused`` and by whom; empty: nobody. All is well again then.

        Where one is ``expected`` to, by its name, it is asked alone.
        """
        asked = [probe for probe in self._probes if expected in {None, "", probe.name}]
        mesh = self.world.meshes[mutation.mesh]
        original = await mesh.get(mutation.kind, mutation.name, mutation.namespace)
        assert original is not None, f"{mutation.id}: the object is gone"
        known = len(self.world.problems)
        noticing: list[Notices] = []
        try:
            await mesh.respecify(mutation.applied({**original, "kind": mutation.kind}))
        except Invalid:
            return "refused by the API server"
        try:
            return await self._outcome(mutation, known, asked, noticing)
        finally:
            await mesh.respecify({**original, "kind": mutation.kind})
            await mesh.plane.settled()
            await self._recovered(mutation, noticing)

    async def _outcome(self, mutation: Mutation, known: int, asked: Sequence[Notices], noticing: list[Notices]) -> str:
        loop = asyncio.get_running_loop()
        await self.world.meshes[mutation.mesh].plane.settled()
        harmless = bool(equivalent(mutation))
        survives = loop.time() + _SURVIVES
        if harmless:
            await asyncio.sleep(_HARMLESS)
        while True:
            if any(one.proxy != "istiod" for one in self.world.problems[known:]):
                return "refused by the control plane"
            complaints = await asyncio.gather(*(probe.complaint(self.world) for probe in asked))
            noticing += [probe for probe, complaint in zip(asked, complaints, strict=True) if complaint]
            over = loop.time() > survives or (harmless and not noticing)
            if noticing and harmless and not over:
                noticing.clear()  # a request that took too long is asked again
                await asyncio.sleep(0.05)
                continue
            if noticing:
                return "; ".join(sorted(probe.name for probe in noticing))
            if mutation.kind in _OF_IDENTITY:
                found = await self._impostors()
                if found or over:
                    return "; ".join(sorted({one.rpartition(": ")[0] for one in found}))
            elif over:
                return ""
            await asyncio.sleep(0.05)

    async def _recovered(self, mutation: Mutation, noticing: Sequence[Notices]) -> None:
        last: list[str] = []

        async def holds() -> bool:
            nonlocal last
            last = [one for one in await asyncio.gather(*(probe.complaint(self.world) for probe in noticing)) if one]
            return not last

        try:
            await eventually(holds)
        except AssertionError:
            raise AssertionError(f"{mutation.id}: undone, but not well again:\n" + "\n".join(last)) from None

    # --- impostors

    async def _impostors(self) -> list[str]:
        """Whether a workload under another account is believed where it answers for what is imported."""
        found: list[str] = []
        for mesh, other in ((self.world.east, self.world.west), (self.world.west, self.world.east)):
            async with self._disguised(other, "bookinfo", "echo-pods", f"{other.name}-echo"):
                hosts = ["echo", "both"] if mesh.name == "east" else ["back", "both", "aliased.bookinfo.svc.east.mesh"]
                answers = await asyncio.gather(*(mesh.sample(_url(host), 8, from_="caller") for host in hosts))
                found += [
                    f"{mesh.name}: impostor is refused: it is believed as {host}"
                    for host, counts in zip(hosts, answers, strict=True)
                    if other.name in counts
                ]
            async with self._disguised(other, *CONTROLLER, f"federation-controller-{other.name}"):
                if not await discovery(mesh):
                    found.append(f"{mesh.name}: impostor is refused: it is believed as {other.name}'s controller")
        return found

    @asynccontextmanager
    async def _disguised(self, mesh: MeshWorld, namespace: str, of: str, account: str) -> AsyncIterator[None]:
        """A Pod proves to be somebody else, as it would had it been deployed under another account."""
        proxy = mesh.plane.pod(namespace, of).proxy
        assert proxy is not None
        trust = self.world.sandbox.data_plane.trust

        async def become(account: str) -> None:
            credential = trust.issue(mesh.name, namespace, account)
            proxy.tell_secret(trust.secret(credential)["resources"][0])
            identity = str(credential.identity)

            async def shown() -> bool:
                return identity + '"' in await proxy.ask("/certs")

            await eventually(shown, what=f"{of} is {identity}")

        await become("somebody-else")
        try:
            yield
        finally:
            await become(account)


_OF_IDENTITY: Final = frozenset({"ServiceEntry", "WorkloadEntry", "DestinationRule"})
"""Kinds that say who has to answer, or how they are asked: impostors are tried too."""


def _url(host: str) -> str:
    return f"http://{host}:8080/" if host.count(".") > 1 else f"http://{host}.bookinfo:8080/"


def _is_ours(obj: JSONObject) -> bool:
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels.get("app.kubernetes.io/managed-by") == "meshfed"

"""What callers in a mesh can expect of what another mesh exports, as small named requests.

``bring`` runs what the probes speak of: in one mesh a ``caller`` and a Service ``both``, in another a Service ``both``
too, and ``echo`` and ``shifted``, which the first lacks. ``PROBES`` then hold between east and west while west exports
``EXPORTS``, and none of them does before.

A probe can be asked once (``complaint``: what is not as expected; empty: nothing), or until it ``holds``; what changes
an object and wants to know who notices asks all of them with ``complaints``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping

import msgspec

from tests.builders import manifest, service
from tests.sandbox.dataplane.world import NAMESPACE, Answer, JSONObject, MeshWorld, World
from tests.waiting import eventually

EXPORTS = ("echo", "shifted", "both")
"""What west is to export, so that the probes hold."""

_DRAWS = 60
"""Requests within which everybody who serves a host is met: with two, one is missed once in 2**59 times."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A request of the workload ``caller`` in ``mesh``, and who is to answer it.

    ``answered_by``: the meshes whose Pods answer, each of them in its turn and nobody else. ``spoken`` is the protocol
    in which the request arrives, and ``identity`` who the answering sidecar says is calling: what a SPIFFE identity
    has behind its trust domain. Both are empty where an answer does not say. Whoever has not answered one of ``draws``
    requests is missing.
    """

    name: str
    url: str
    answered_by: frozenset[str]
    mesh: str = "east"
    caller: str = "caller"
    spoken: str = ""
    identity: str = ""
    draws: int = _DRAWS

    async def complaint(self, world: World) -> str:
        """What is not as expected, in a line that begins with the probe's name; empty where all is."""
        missing = set(self.answered_by)
        for _ in range(self.draws):
            answer = await world.meshes[self.mesh].request(self.url, from_=self.caller)
            wrong = self._wrong(answer, world)
            if wrong:
                return f"{self.name}: {self.url} from {self.mesh} {wrong}"
            missing.discard(answered_by(answer))
            if not missing:
                return ""
        return f"{self.name}: {self.url} from {self.mesh} is never answered by {', '.join(sorted(missing))}"

    def _wrong(self, answer: Answer, world: World) -> str:
        if answer.error or not answered_by(answer):
            return f"failed: {answer.status} {answer.error or answer.body}"
        if answered_by(answer) not in self.answered_by:
            return f"was answered by {answered_by(answer)}"
        body = answer.body if isinstance(answer.body, dict) else {}
        if self.spoken != body.get("protocol", ""):
            return f"arrived as {body.get('protocol')!r} instead of {self.spoken!r}"
        domain = world.meshes[self.mesh].plane.settings.trust_domain
        expected = f"spiffe://{domain}/{self.identity}" if self.identity else ""
        if answer.caller != expected:
            return f"came from {answer.caller!r} instead of {expected!r}"
        return ""

    async def holds(self, world: World) -> None:
        """Wait until all is as expected."""
        last = ""

        async def well() -> bool:
            nonlocal last
            last = await self.complaint(world)
            return not last

        try:
            await eventually(well, what=self.name)
        except AssertionError:
            raise AssertionError(last) from None


def answered_by(answer: Answer) -> str:
    """The mesh of the Pod that answered, in whatever protocol; empty where none did."""
    return answer.body.partition(" ")[0] if isinstance(answer.body, str) and answer.status == 0 else answer.mesh


async def complaints(world: World, probes: Iterable[Probe]) -> list[str]:
    """What each of ``probes``, asked once, has to complain of; of those without complaint nothing."""
    return [one for one in await asyncio.gather(*(probe.complaint(world) for probe in probes)) if one]


async def hold(world: World, probes: Iterable[Probe]) -> None:
    """Wait until all of ``probes`` hold."""
    await asyncio.gather(*(probe.holds(world) for probe in probes))


CALLER = f"ns/{NAMESPACE}/sa/caller"
WEST = frozenset({"west"})
BOTH = frozenset({"east", "west"})


def _http(name: str, url: str, answered_by: frozenset[str] = WEST, spoken: str = "http/1.1") -> Probe:
    return Probe(name=name, url=url, answered_by=answered_by, spoken=spoken, identity=CALLER)


NAMES = (
    _http("short name", "http://echo:8080/"),
    _http("name and namespace", "http://echo.bookinfo:8080/"),
    _http("name up to svc", "http://echo.bookinfo.svc:8080/"),
    _http("full name", "http://echo.bookinfo.svc.cluster.local:8080/"),
)
"""One imported Service under each of the names that a workload may call it by."""

PROTOCOLS = (
    _http("HTTP/1.1", "http://echo.bookinfo:8080/"),
    _http("HTTP/2", "http2://echo.bookinfo:8082/", spoken="h2c"),
    _http("gRPC", "grpc://echo.bookinfo:7070/hello", spoken="grpc"),
    Probe(name="TCP", url="tcp://echo.bookinfo:9000/hello", answered_by=WEST),
    # The application's own TLS passes through that of the sidecars, which therefore cannot tell it who calls.
    Probe(name="TLS", url="https://echo.bookinfo:8443/", answered_by=WEST, spoken="https"),
)
"""Several ports of one Service, each of another protocol."""

TARGET_PORTS = (
    _http("numeric targetPort", "http://shifted.bookinfo:80/"),
    _http("named targetPort", "http://shifted.bookinfo:81/", spoken="h2c"),
)
"""Ports of a Service that are not those of its Pods."""

BOTH_SIDES = (
    _http("both, numeric here and named there", "http://both.bookinfo:80/", BOTH),
    _http("both, named here and numeric there", "http2://both.bookinfo:81/", BOTH, spoken="h2c"),
    _http("both, gRPC", "grpc://both.bookinfo:82/hello", BOTH, spoken="grpc"),
    Probe(name="both, TCP", url="tcp://both.bookinfo:83/hello", answered_by=BOTH),
)
"""A Service that both meshes have, each with targetPorts of its own."""

PROBES = NAMES + PROTOCOLS + TARGET_PORTS + BOTH_SIDES


async def shown_at(mesh: MeshWorld, name: str, *ports: int) -> set[int]:
    """The ports of a Service at which somebody shows a certificate to whoever asks the gateway for their SNI."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["istio"])
    address = await mesh.gateway_address()

    async def shown(port: int) -> bool:
        sni = f"outbound_.{port}_._.{name}.{NAMESPACE}.svc.cluster.local"
        try:
            _, writer = await asyncio.open_connection(address, 15443, ssl=context, server_hostname=sni)
        except OSError:
            return False
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return bool(found)

    return {port for port in ports if await shown(port)}


async def bring(here: MeshWorld, *there: MeshWorld) -> None:
    """Run what the probes speak of: callers in ``here``, what they call in ``there``."""
    await run(here, "caller", image="sleep", account="caller")
    for mesh in (here, *there):
        await run(mesh, "echo-pods", image="echo", account="echo", ports=PORTS)
        await mesh.apply(both(named=mesh is not here))
    for mesh in there:
        await mesh.apply(echo(), SHIFTED)


PORTS = {"http": 8080, "http2": 8082, "grpc": 7070, "tcp": 9000, "https": 8443}
"""The ports of every echo, by name."""


def fronting(name: str, *ports: JSONObject, pods: str = "echo-pods") -> JSONObject:
    """A Service in front of the Pods of the Deployment ``pods``, without labels: it would be exported with them."""
    made = service(f"{name}.{NAMESPACE}", selector={"app": pods}, ports=ports)
    del made["metadata"]["labels"]
    return made


def echo(**ports: int) -> JSONObject:
    """The Service that the caller's mesh lacks, with some ports of other numbers."""
    return fronting(
        "echo", *({"name": name, "port": number, "targetPort": PORTS[name]} for name, number in (PORTS | ports).items())
    )


SHIFTED = fronting(
    "shifted",
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "http2-named", "port": 81, "targetPort": "http2"},
)


def both(*, named: bool) -> JSONObject:
    """The Service that all meshes have: its targetPorts are a name, a number, a name, a number, or the reverse."""
    return fronting(
        "both",
        {"name": "http-first", "port": 80, "targetPort": "http" if named else 8080},
        {"name": "http2-second", "port": 81, "targetPort": 8082 if named else "http2"},
        {"name": "grpc-third", "port": 82, "targetPort": "grpc" if named else 7070},
        {"name": "tcp-fourth", "port": 83, "targetPort": 9000 if named else "tcp"},
    )


def only(principal: str) -> JSONObject:
    """An AuthorizationPolicy that lets one identity alone call the Pods of Deployment ``echo``."""
    spec = {
        "selector": {"matchLabels": {"app": "echo"}},
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"principals": [principal]}}]}],
    }
    return manifest("AuthorizationPolicy", "echo", spec, namespace=NAMESPACE)


async def run(
    mesh: MeshWorld,
    name: str,
    *,
    image: str,
    account: str,
    ports: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Run a Deployment of one Pod, without a Service. ``labels`` are the Pod's, besides ``app``."""
    container = {
        "name": name,
        "image": image,
        "env": [{"name": "TLS_NAMES", "value": "echo.bookinfo"}],
        "ports": [{"name": name, "containerPort": number} for name, number in (ports or {}).items()],
    }
    pod = {
        "metadata": {"labels": {"app": name, **(labels or {})}},
        "spec": {"serviceAccountName": account, "containers": [container]},
    }
    metadata = {"name": account, "namespace": NAMESPACE}
    await mesh.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod},
        },
    )

"""Whether `Reachable` says what real proxies do: what breaks a path is named, and mended it is true again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from meshfed.cli.clusters import Where, read
from meshfed.cli.facts import Asked, find_out
from meshfed.cli.kinds import LEASES, OURS, SURROUNDINGS
from meshfed.views.checks import CheckOutcome
from meshfed.views.checks import run as checked
from meshfed.views.explain.asked import explained
from meshfed.views.explain.links import LinkName, State
from meshfed.views.explain.seen import Seen, seen
from meshfed_sandbox.dataplane.installation import GATEWAY
from tests.builders import manifest
from tests.e2e.probes import run
from tests.sandbox.dataplane.world import NAMESPACE, MeshWorld, World
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

URL = "http://echo.bookinfo:8080/"
RECORD = "echo.bookinfo.svc.cluster.local.west"
IDENTITY = "spiffe://cluster.local/ns/bookinfo/sa/echo"
CONTROLLER = "federation-controller"
IMPORT = {"import": {"merge": True}}
UNDAMPED = {"meshfed.controller.remotes.damping.FLAPPING": (600.0, 0.0, 0.0)}
"""What was mended is said at once, however often it broke: else, in time, it has to answer for half a minute first."""
Breaks = Callable[[World], Awaitable[Callable[[], Awaitable[None]]]]
"""Breaks the path, and returns what mends it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meshes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """East calls; west has what is called, and exports it."""
    async with World.up("east", "west", directory=tmp_path_factory.mktemp("world"), constants=UNDAMPED) as world:
        await run(world.east, "caller", image="sleep", account="caller")
        await world.west.run("echo", image="echo", port=8080, account="echo")
        await world.federate(**IMPORT)
        await world.west.export("echo.bookinfo")
        await world.settled()
        world.expected("Deprecated field")  # how Istio has an Envoy resolve the name of a remote's gateway
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(meshes: World) -> World:
    """The meshes, when all is reachable."""
    await becomes(meshes.east, "RemoteMesh", "west", "True Answered")
    await becomes(meshes.east, "FederatedService", RECORD, "True Answered")
    await meshes.east.until(URL, from_="caller", mesh="west")
    return meshes


async def becomes(mesh: MeshWorld, kind: str, name: str, said: str, condition: str = "Reachable") -> str:
    """Wait until the condition begins with this, and return all of it."""

    async def says() -> str:
        found = await mesh.condition(kind, name, condition)
        return found if found.startswith(said) else ""

    return str(await eventually(says, what=f"{condition} of {kind} {name} says {said}"))


class Diagnosis(NamedTuple):
    """What the commands say: of a link that is broken its name, its side and the reason; of checks, which are not ok.

    ``meshfed explain`` says it to whoever sees both meshes, west alone, or east alone; ``None`` is whatever it may be.
    """

    both: str
    west: str | None
    east: str
    checks_of_east: set[str]
    checks_of_west: set[str]


async def not_ok(mesh: MeshWorld, *outcomes: CheckOutcome) -> set[str]:
    """Return the checks that end so in a mesh, as ``group/name``."""
    (found,), _ = await find_out(Where(kubeconfig=str(mesh.kubeconfig)), Asked())
    return {f"{one.group}/{one.check}" for one in checked(found) if one.outcome in outcomes}


async def check_finds(mesh: MeshWorld, name: str) -> None:
    """Wait until a check, ``group/name``, says in a mesh that something does not hold: requests fail there."""

    async def finds() -> bool:
        return name in await not_ok(mesh, CheckOutcome.FAILED, CheckOutcome.WARNING)

    await eventually(finds, what=f"{mesh.name}: check {name} is not ok while requests fail")


async def sees(mesh: MeshWorld) -> Seen:
    """Return a mesh as ``meshfed explain`` sees it."""
    wanted = (*OURS, LEASES, *SURROUNDINGS)
    return seen(await read(mesh.client, mesh.name, None, wanted, mesh_config_map="istio"))


async def explains(*meshes: MeshWorld) -> str:
    """Return the link that ``meshfed explain`` says is broken, whose side it is and why; empty where none is.

    Of what nobody has any more it knows nothing, which is ``-``.
    """
    found = explained("echo.bookinfo", [await sees(one) for one in meshes])
    links = [chain.broken for chain in found if chain.broken is not None]
    return ", ".join(f"{one.name} {one.whose} {one.reason}" for one in links) if found else "-"


async def named(world: World, said: Diagnosis) -> None:
    """Wait until both commands say in either mesh what is wrong."""
    troubles = (CheckOutcome.FAILED, CheckOutcome.WARNING, CheckOutcome.UNKNOWN)
    found = said

    async def says() -> bool:
        nonlocal found
        found = Diagnosis(
            await explains(world.east, world.west),
            await explains(world.west) if said.west is not None else None,
            await explains(world.east),
            said.checks_of_east & await not_ok(world.east, *troubles),
            said.checks_of_west & await not_ok(world.west, *troubles),
        )
        return found == said

    try:
        await eventually(says)
    except AssertionError:
        assert found == said


async def silent(world: World) -> bool:
    """Whether neither command finds anything wrong in either mesh."""
    failing = [await not_ok(mesh, CheckOutcome.FAILED) for mesh in (world.east, world.west)]
    broken = [await explains(world.east, world.west), await explains(world.west), await explains(world.east)]
    return not any(failing) and not any(broken)


async def scale(mesh: MeshWorld, name: str, replicas: int, namespace: str = NAMESPACE) -> None:
    await mesh.patch("Deployment", name, {"spec": {"replicas": replicas}}, namespace)


async def test_what_answers_is_said_with_its_evidence(world: World) -> None:
    address = await world.west.gateway_address()
    found = await becomes(world.east, "FederatedService", RECORD, "True")
    assert found == f"True Answered: answered through {address}:15443 as {IDENTITY}"
    controller = "spiffe://cluster.local/ns/istio-system/sa/federation-controller-west"
    found = await becomes(world.east, "RemoteMesh", "west", "True")
    assert found == f"True Answered: answered through {address}:15443 as {controller}"


async def test_the_address_that_istiod_gave_the_host_is_said(world: World) -> None:
    await world.settled()
    (chain,) = explained("echo.bookinfo", [await sees(world.east)])
    (resolved,) = [link for link in chain.links if link.name is LinkName.RESOLVED]
    assert (resolved.state, resolved.message.startswith("as 240.240.")) == (State.OK, True)


async def test_who_subscribes_is_said_on_either_side(world: World) -> None:
    for mesh, other in ((world.east, "west"), (world.west, "east")):
        found = await becomes(mesh, "RemoteMesh", other, "True", "Subscribed")
        assert found.startswith("True Subscribed: subscribes at replica ")
        assert found.endswith(", incremental")


async def test_a_controller_that_is_asked_tries_it_at_once_and_so_does_the_command(world: World) -> None:
    (found,), _ = await find_out(Where(kubeconfig=str(world.east.kubeconfig)), Asked(remote="west", probe=True))
    said = {one.check: (one.outcome, one.evidence) for one in checked(found) if one.group == "remotes"}
    assert said["gateway"] == (CheckOutcome.OK, "handshake just now")
    assert said["gateway-from-here"] == (CheckOutcome.OK, "handshake just now, from here")
    assert said["imports"] == (CheckOutcome.OK, "stored status")


async def no_pod(world: World) -> Callable[[], Awaitable[None]]:
    await scale(world.west, "echo-v1", 0)
    return lambda: scale(world.west, "echo-v1", 1)


async def no_gateway(world: World) -> Callable[[], Awaitable[None]]:
    await scale(world.west, GATEWAY, 0, "istio-system")
    return lambda: scale(world.west, GATEWAY, 1, "istio-system")


async def pod_without_sidecar(world: World) -> Callable[[], Awaitable[None]]:
    async def inject(value: str) -> None:
        labels = {"metadata": {"labels": {"sidecar.istio.io/inject": value}}}
        await world.west.patch("Deployment", "echo-v1", {"spec": {"template": labels}})

    await inject("false")
    return lambda: inject("true")


def remote(**spec: Any) -> Breaks:
    """The RemoteMesh says something wrong."""

    async def breaks(world: World) -> Callable[[], Awaitable[None]]:
        await world.east.remote(world.west, **(IMPORT | spec))
        return lambda: world.east.remote(world.west, **IMPORT, port=15443)

    return breaks


def standing(mesh: str, kind: str, **spec: Any) -> Breaks:
    """Somebody has an object in a mesh."""

    async def breaks(world: World) -> Callable[[], Awaitable[None]]:
        at = world.meshes[mesh]
        await at.apply(manifest(kind, "theirs", spec, namespace=NAMESPACE))
        return lambda: at.delete(kind, "theirs")

    return breaks


async def not_listed(world: World) -> Callable[[], Awaitable[None]]:
    """Somebody paused west's Gateway, and took the host out."""
    (gateway,) = await world.west.list("Gateway", "istio-system")
    paused = "federation.openshift-service-mesh.io/paused"

    async def have(value: str | None, without: str) -> None:
        servers = [
            one | {"hosts": [host for host in one["hosts"] if not host.startswith(without)]}
            for one in gateway["spec"]["servers"]
        ]
        patch = {"metadata": {"annotations": {paused: value}}, "spec": {"servers": servers}}
        await world.west.patch("Gateway", gateway["metadata"]["name"], patch, "istio-system")

    await have("true", "echo.")
    return lambda: have(None, "nothing.")


def viewing(network: str) -> Callable[[World], Awaitable[None]]:
    """West's gateway is told of the endpoints of one network alone."""

    async def set_(world: World) -> None:
        leaving = world.west.plane.pod("istio-system", GATEWAY).proxy
        await scale(world.west, GATEWAY, 0, "istio-system")
        # Only then another has its address.
        await eventually(lambda: leaving is not None and leaving.pid is None, what="the gateway has ended")
        found = await world.west.get("Deployment", GATEWAY, "istio-system")
        assert found is not None
        (container,) = found["spec"]["template"]["spec"]["containers"]
        environment = [{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": network}]
        spec = {"template": {"spec": {"containers": [container | {"env": environment}]}}, "replicas": 1}
        await world.west.patch("Deployment", GATEWAY, {"spec": spec}, "istio-system")
        await world.settled()

    return set_


async def network_view(world: World) -> Callable[[], Awaitable[None]]:
    await viewing("east-network")(world)
    return lambda: viewing("west-network")(world)


async def own_network(world: World) -> Callable[[], Awaitable[None]]:
    return await remote(network=world.east.plane.settings.network)(world)


async def fails(world: World) -> bool:
    return (await world.east.request(URL, from_="caller")).status != 200


NO_PODS = "served exporter NoMeshEndpoints"
PAUSED = "gateway exporter Paused"
OTHER_VIEW = "gateway exporter "
NO_GATEWAY = "gateway exporter GatewayPodsMissing"
AWAY = {"remotes/imports", "remotes/gateway", "remotes/connected"}
EXPORTS = {"mesh/exports"}


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        pytest.param(
            no_pod,
            Diagnosis(NO_PODS, NO_PODS, "reached exporter NotPassedOn", {"remotes/imports"}, EXPORTS),
            id="no pod behind it",
        ),
        pytest.param(
            pod_without_sidecar,
            Diagnosis(NO_PODS, NO_PODS, "reached exporter NotPassedOn", {"remotes/imports"}, EXPORTS),
            id="a pod without a sidecar",
        ),
        pytest.param(
            no_gateway,
            Diagnosis(NO_GATEWAY, NO_GATEWAY, "reached either GatewayNotReached", AWAY, {"mesh/gateway"}),
            id="the gateway is down",
        ),
        # West knows of no fault: after half a minute it says that nobody subscribes.
        pytest.param(
            remote(addresses=["127.255.255.1"]),
            Diagnosis("reached importer GatewayNotReached", None, "reached either GatewayNotReached", AWAY, set()),
            id="a wrong address",
        ),
        pytest.param(
            not_listed,
            Diagnosis(PAUSED, PAUSED, "reached exporter NotPassedOn", {"remotes/imports"}, set()),
            id="not listed in the gateway",
        ),
        pytest.param(
            network_view,
            Diagnosis(OTHER_VIEW, OTHER_VIEW, "reached either NotPassedOn", AWAY, {"istio/gateway-view"}),
            id="the gateway sees another network",
        ),
        # The controller's own sidecar leaves the usual port alone; it takes the connection to another, and closes it.
        pytest.param(
            remote(port=15444),
            Diagnosis("reached importer NotPassedOn", None, "reached either NotPassedOn", AWAY, set()),
            id="a wrong port",
        ),
        # The connection that there is may stay.
        pytest.param(
            remote(addresses=["nowhere.example.com"]),
            Diagnosis(
                "reached importer NameNotResolved", None, "reached importer NameNotResolved", {"remotes/imports"}, set()
            ),
            id="a name without an address",
        ),
    ],
)
async def test_a_broken_path_is_named_and_mended_it_is_true_again(
    world: World, breaks: Breaks, said: Diagnosis
) -> None:
    mends = await breaks(world)
    await becomes(world.east, "FederatedService", RECORD, f"False {said.east.rpartition(' ')[2]}")
    assert (await world.east.request(URL, from_="caller")).status != 200
    await named(world, said)
    assert await world.east.get("ServiceEntry", "import.echo.bookinfo.svc.cluster.local", "istio-system") is not None
    await mends()
    await becomes(world.east, "FederatedService", RECORD, "True Answered")
    await eventually(lambda: silent(world), what="neither command finds anything wrong in either mesh")


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        pytest.param(
            own_network,
            Diagnosis("described importer ", None, "connected importer NameConflict", {"remotes/ready"}, set()),
            id="a wrong network",
        ),
        pytest.param(
            remote(**{"import": {"rules": [{"action": "Deny", "namespaces": [NAMESPACE]}]}}),
            Diagnosis("accepted importer DeniedByRule", "", "accepted importer DeniedByRule", set(), set()),
            id="a denied namespace",
        ),
        pytest.param(
            standing(
                "east",
                "DestinationRule",
                host="echo.bookinfo.svc.cluster.local",
                trafficPolicy={"tls": {"mode": "DISABLE"}},
            ),
            Diagnosis(
                "accepted importer MTLSDisabled", "", "accepted importer MTLSDisabled", {"remotes/imports"}, set()
            ),
            id="a DestinationRule of others",
        ),
        pytest.param(
            standing("west", "PeerAuthentication", selector={"matchLabels": {"app": "echo"}}, mtls={"mode": "DISABLE"}),
            Diagnosis(
                "exported exporter MTLSDisabled", "exported exporter MTLSDisabled", "received exporter ", set(), EXPORTS
            ),
            id="a PeerAuthentication",
        ),
    ],
)
async def test_what_keeps_it_from_whoever_calls_is_named(world: World, breaks: Breaks, said: Diagnosis) -> None:
    mends = await breaks(world)
    await eventually(lambda: fails(world), what="nobody answers")
    await named(world, said)
    await mends()
    await world.east.until(URL, from_="caller", mesh="west")
    await eventually(lambda: silent(world), what="neither command finds anything wrong in either mesh")


async def test_an_address_has_a_port_of_its_own(world: World) -> None:
    address = await world.west.gateway_address()
    await world.east.remote(world.west, **IMPORT, addresses=[f"{address}:15443"], port=15444)
    await world.settled()
    await becomes(world.east, "RemoteMesh", "west", "True Answered")
    await becomes(world.east, "FederatedService", RECORD, "True Answered")
    await world.east.until(URL, from_="caller", mesh="west")

    await world.east.remote(world.west, **IMPORT, addresses=[f"{address}:15443", f"{address}:15444"])
    found = await becomes(world.east, "FederatedService", RECORD, "False")
    assert f"{address}:15444: " in found
    assert found.endswith(f"; {address}:15443 answers")
    await world.east.remote(world.west, **IMPORT)
    await becomes(world.east, "FederatedService", RECORD, "True Answered")


async def test_the_remote_is_of_another_trust_domain_than_is_stated(world: World) -> None:
    other = "spiffe://west.local/ns/istio-system/sa/federation-controller-west"
    await world.east.remote(world.west, **IMPORT, trustDomain="west.local", identity=other)
    found = await becomes(world.east, "RemoteMesh", "west", "False UnexpectedIdentity")
    assert "spiffe://cluster.local/ns/istio-system/sa/federation-controller-west answers" in found
    assert f"not {other}" in found
    await world.east.remote(world.west, **IMPORT)
    await becomes(world.east, "RemoteMesh", "west", "True Answered")
    await becomes(world.east, "FederatedService", RECORD, "True Answered")


async def test_the_discovery_service_is_not_whom_the_remote_should_be(world: World) -> None:
    other = "spiffe://cluster.local/ns/istio-system/sa/somebody-else"
    await world.east.remote(world.west, **IMPORT, identity=other)
    found = await becomes(world.east, "RemoteMesh", "west", "False UnexpectedIdentity")
    assert "sa/federation-controller-west answers for outbound_.15080_._." in found
    assert f"not {other}" in found
    # What is recorded stays, and is reached.
    await named(world, Diagnosis("described importer ", None, "", {"remotes/gateway"}, set()))
    assert (await world.east.request(URL, from_="caller")).mesh == "west"
    await world.east.remote(world.west, **IMPORT)
    await becomes(world.east, "RemoteMesh", "west", "True Answered")
    await eventually(lambda: silent(world), what="neither command finds anything wrong in either mesh")


async def test_a_certificate_that_has_expired_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """West's control plane issues certificates of the day before."""
    plane = world.west.plane.control_plane
    with monkeypatch.context() as yesterday:
        yesterday.setattr(plane._trust, "_clock", lambda: datetime.now(UTC) - timedelta(days=2))
        plane.rotate()
        await becomes(world.east, "FederatedService", RECORD, "False CertificateNotValid")
        await check_finds(world.east, "remotes/imports")
        found = {
            chain.broken.reason
            for chain in explained(RECORD.removesuffix(".west"), [await sees(world.east)])
            if chain.broken
        }
        assert found == {"CertificateNotValid"}
    plane.rotate()
    await becomes(world.east, "FederatedService", RECORD, "True Answered")
    await world.east.until(URL, from_="caller", mesh="west")
    await eventually(lambda: silent(world), what="neither command finds anything wrong in either mesh")


async def test_a_remote_whose_controller_is_down_is_named_and_what_it_offered_is_reached(world: World) -> None:
    await scale(world.west, CONTROLLER, 0, "istio-system")
    await named(world, Diagnosis("", None, "", {"remotes/gateway", "remotes/connected"}, {"mesh/controller"}))
    assert (await world.east.request(URL, from_="caller")).mesh == "west"
    await scale(world.west, CONTROLLER, 1, "istio-system")
    await eventually(lambda: silent(world), what="neither command finds anything wrong in either mesh")


async def test_a_policy_of_the_application_is_beyond_the_handshake(world: World) -> None:
    deny = manifest("AuthorizationPolicy", "deny", {"selector": {"matchLabels": {"app": "echo"}}}, namespace=NAMESPACE)
    await world.west.apply(deny)
    await world.east.until(URL, from_="caller", status=403)
    found = await becomes(world.east, "FederatedService", RECORD, "True Answered")
    assert IDENTITY in found
    assert await silent(world)
    (chain,) = explained("echo.bookinfo", [await sees(world.east), await sees(world.west)])
    (policy,) = [link for link in chain.links if link.name is LinkName.POLICY]
    assert (policy.state, policy.mesh, "bookinfo/deny (ALLOW)" in policy.message) == (State.UNKNOWN, "west", True)
    await world.west.delete("AuthorizationPolicy", "deny")
    await world.east.until(URL, from_="caller", mesh="west")


async def test_a_sidecar_that_lets_nothing_unknown_through_is_named(world: World) -> None:
    """Its own sidecar closes what the controller begins, as under REGISTRY_ONLY, where nobody left the port out."""

    async def leave_out(ports: str | None) -> None:
        annotations = {"traffic.sidecar.istio.io/excludeOutboundPorts": ports}
        template = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        await world.east.patch("Deployment", CONTROLLER, template, "istio-system")

    await leave_out(None)
    for kind, name in (("RemoteMesh", "west"), ("FederatedService", RECORD)):
        found = await becomes(world.east, kind, name, "Unknown NotProbed")
        assert "it is this controller's own sidecar that closes the handshakes: name port 15443" in found
    assert {"remotes/gateway", "remotes/imports"} <= await not_ok(world.east, CheckOutcome.UNKNOWN)
    assert await silent(world)
    await world.east.until(URL, from_="caller", mesh="west")
    await leave_out("15443")
    await becomes(world.east, "FederatedService", RECORD, "True Answered")

"""The condition `Reachable`, from a whole controller in virtual time: what it says, when, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from meshfed.api.v1alpha1 import PROBE_REQUEST_ANNOTATION
from meshfed.controller.config_maps import CONFIG_MAPS
from meshfed.model.meshes import GatewayAddress
from meshfed.model.probes import Answered, Broken, Link, Way
from tests.builders import HTTP, RESOURCES, SYSTEM, host, mesh_federation, offer, remote_mesh
from tests.controller.in_memory import Remote, World
from tests.virtual import virtual_loop

ADDRESS = "192.0.2.20"
WHO = "spiffe://cluster.local/ns/default/sa/cart"
CONTROLLER = f"spiffe://cluster.local/ns/{SYSTEM}/sa/controller-west"
CART = f"FederatedService {host('cart')}.west"
DISCOVERY = Way(
    GatewayAddress(ADDRESS, 15443), f"outbound_.15080_._.federation-discovery-service-west.{SYSTEM}.svc.cluster.local"
)


def cart(address: str = ADDRESS, name: str = "cart") -> Way:
    return Way(GatewayAddress(address, 15443), f"outbound_.{HTTP.number}_._.{host(name)}")


def west(**spec: Any) -> Any:
    plain = {"identity": CONTROLLER, "addresses": [ADDRESS], "import_": {"merge": True}}
    return remote_mesh("west", **(plain | spec))


def told(story: Callable[[World], Awaitable[None]]) -> None:
    """Have a story happen: west offers ``cart``, and everything answers."""

    async def run(monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(monkeypatch, west=Remote())
        world.remotes["west"].offer(offer("cart", identities=(WHO,)))
        world.put(mesh_federation("east"), west())
        world.trust()
        world.ways = {DISCOVERY: Answered(CONTROLLER, 1e10), cart(): Answered(WHO, 1e10)}
        await world.start()
        await asyncio.sleep(10)
        await story(world)
        await world.stop()

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(run(monkeypatch))


def condition(world: World, of: str, kind: str = "Reachable") -> str:
    """A condition of an object as ``status reason``; empty where it has none."""
    return next((f"{status} {reason}" for type_, status, reason in world.said()[of] if type_ == kind), "")


def events(world: World) -> set[str]:
    found = [one for (resource, *_), one in world.cluster.objects.items() if resource.kind == "Event"]
    return {f"{one['reason']}: {one.get('note', one.get('message', ''))}" for one in found}


def test_what_answers_is_reachable() -> None:
    async def story(world: World) -> None:
        assert condition(world, CART) == "True Answered"
        assert condition(world, "RemoteMesh west") == "True Answered"

    told(story)


def test_a_broken_way_is_said_and_removes_nothing() -> None:
    async def story(world: World) -> None:
        before = world.written()
        world.ways[cart()] = Broken(Link.SNI)
        await asyncio.sleep(10)
        assert condition(world, CART) == "False NotPassedOn"
        assert condition(world, "RemoteMesh west") == "True Answered"
        assert condition(world, "RemoteMesh west", "Ready") == "True Ready"
        await asyncio.sleep(60)
        assert condition(world, "RemoteMesh west", "Ready") == "True ImportsNotReached", "it is that import's trouble"
        message = (
            f"1 of 1 offered service imported; FederatedServices {host('cart')}.west are not reached: NotPassedOn: "
        )
        assert any(one.startswith(f"ImportsNotReached: {message}") for one in events(world))
        await asyncio.sleep(3600)
        assert world.written() == before
        world.ways[cart()] = Answered(WHO, 1e10)
        await asyncio.sleep(20)
        assert condition(world, CART) == "True Answered"
        assert condition(world, "RemoteMesh west", "Ready") == "True Ready"

    told(story)


def test_an_import_that_ends_at_the_gateways_address_is_the_remotes_trouble() -> None:
    async def story(world: World) -> None:
        way = {"discovery": {"address": "fds.west.example:15080"}}
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update(way), namespace=SYSTEM)
        world.ways[cart()] = Broken(Link.ADDRESS)
        await asyncio.sleep(60)
        assert condition(world, "RemoteMesh west") == "", "discovery has a way of its own"
        assert condition(world, "RemoteMesh west", "Ready") == "False GatewayNotReached"

    told(story)


def handled(world: World) -> str:
    """The request upon which ways were tried last, as the status has it."""
    found = world.cluster.objects[RESOURCES["RemoteMesh"], SYSTEM, "west"]
    return str(found.get("status", {}).get("probeHandledAt", ""))


def test_upon_a_request_all_ways_are_tried_at_once_and_the_status_says_so_once_it_says_what_was_seen() -> None:
    def ask(world: World, request: str) -> None:
        annotations = {PROBE_REQUEST_ANNOTATION: request}
        world.edit("RemoteMesh", "west", lambda one: one["metadata"].update(annotations=annotations), namespace=SYSTEM)

    async def story(world: World) -> None:
        assert handled(world) == ""
        ask(world, "first")
        await asyncio.sleep(3)
        assert handled(world) == "first"
        world.ways[cart()] = Broken(Link.SNI)
        ask(world, "second")
        seen = set()
        for _ in range(100):
            await asyncio.sleep(0.05)
            seen.add((condition(world, CART), handled(world)))
        assert (condition(world, CART), handled(world)) == ("False NotPassedOn", "second")
        assert ("True Answered", "second") not in seen
        await world.stop()
        await world.start()
        await asyncio.sleep(10)
        assert handled(world) == "second"

    told(story)


def turns(world: World) -> tuple[Any, ...]:
    """What somebody who watches could take for news: which conditions hold since when, and how often Events came."""
    seen = {
        (kind.kind, name, one["type"]): (one["status"], one["reason"], one["lastTransitionTime"])
        for (kind, _, name), manifest in world.cluster.objects.items()
        for one in manifest.get("status", {}).get("conditions", [])
        if one["type"] in ("Ready", "Reachable")
    }
    counts = {
        (one["reason"], one["involvedObject"]["name"]): one["count"]
        for (resource, *_), one in world.cluster.objects.items()
        if resource.kind == "Event"
    }
    return seen, counts


@pytest.mark.parametrize("broken", [cart(), DISCOVERY])
def test_a_restart_says_nothing_again_of_what_is_broken(broken: Way) -> None:
    async def story(world: World) -> None:
        world.ways[broken] = Broken(Link.WORKLOAD)
        await asyncio.sleep(120)
        before = turns(world)
        assert any("NoCertificate" in str(one) for one in events(world))
        for seconds in (1, 20, 100):
            await world.stop()
            await world.start()
            for _ in range(seconds):
                await asyncio.sleep(1)
                assert turns(world) == before
        world.ways[broken] = Answered(WHO if broken == cart() else CONTROLLER, 1e10)
        await asyncio.sleep(10)
        assert condition(world, CART) == condition(world, "RemoteMesh west") == "True Answered"
        assert condition(world, "RemoteMesh west", "Ready") == "True Ready"

    told(story)


def test_a_way_that_is_another_since_before_a_restart_has_no_history() -> None:
    async def story(world: World) -> None:
        world.ways[DISCOVERY] = Broken(Link.WORKLOAD)
        await asyncio.sleep(120)
        assert condition(world, "RemoteMesh west", "Ready") == "False NoCertificate"
        await world.stop()
        two = ["192.0.2.21"]
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update(addresses=two), namespace=SYSTEM)
        gateway = GatewayAddress(two[0], 15443)
        world.ways = {Way(gateway, DISCOVERY.name): Answered(CONTROLLER, 1e10), cart(two[0]): Answered(WHO, 1e10)}
        await world.start()
        await asyncio.sleep(10)
        assert condition(world, "RemoteMesh west", "Ready") == "True Ready"
        assert condition(world, "RemoteMesh west") == condition(world, CART) == "True Answered"

    told(story)


def test_a_gateway_that_is_down_is_the_remotes() -> None:
    async def story(world: World) -> None:
        world.ways.clear()
        await asyncio.sleep(60)
        assert condition(world, "RemoteMesh west") == "False GatewayNotReached"
        assert condition(world, "RemoteMesh west", "Ready") == "False GatewayNotReached"
        assert world.imported()

    told(story)


def test_what_is_not_imported_any_more_is_not_said_to_be_reachable() -> None:
    async def story(world: World) -> None:
        deny = {"merge": True, "rules": [{"action": "Deny", "hosts": ["*"]}]}
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update({"import": deny}), namespace=SYSTEM)
        await asyncio.sleep(5)
        assert condition(world, CART, "Accepted") == "False DeniedByRule"
        assert condition(world, CART) == ""
        world.edit("RemoteMesh", "west", lambda one: one["spec"].pop("import"), namespace=SYSTEM)
        await asyncio.sleep(5)
        assert condition(world, "RemoteMesh west") == ""

    told(story)


def test_a_new_controller_leaves_what_was_seen_until_it_has_looked() -> None:
    async def story(world: World) -> None:
        await world.stop()
        place = (RESOURCES["FederatedService"], SYSTEM, f"{host('cart')}.west")
        seen = world.cluster.objects[place]["metadata"]["resourceVersion"]
        await world.start()
        await asyncio.sleep(60)
        assert world.cluster.objects[place]["metadata"]["resourceVersion"] == seen, "nothing was written"
        await world.stop()
        world.ways[cart()] = Broken(Link.ROOT)
        await world.start()
        await asyncio.sleep(10)
        assert condition(world, CART) == "False RootNotTrusted"

    told(story)


def test_addresses_and_ports_that_are_another() -> None:
    async def story(world: World) -> None:
        two = [ADDRESS, "192.0.2.21"]
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update(addresses=two), namespace=SYSTEM)
        await asyncio.sleep(10)
        assert condition(world, CART) == "False GatewayNotReached"
        world.ways[cart("192.0.2.21")] = Answered(WHO, 1e10)
        await asyncio.sleep(10)
        assert condition(world, CART) == "True Answered"

    told(story)


def test_an_address_with_a_port_of_its_own() -> None:
    async def story(world: World) -> None:
        two = [ADDRESS, f"{ADDRESS}:31443"]
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update(addresses=two), namespace=SYSTEM)
        await asyncio.sleep(10)
        assert condition(world, CART) == "False GatewayNotReached"
        other = Way(GatewayAddress(ADDRESS, 31443), cart().name)
        world.ways[other] = Answered(WHO, 1e10)
        await asyncio.sleep(10)
        assert condition(world, CART) == "True Answered"

    told(story)


def test_without_roots_it_is_unknown() -> None:
    async def story(world: World) -> None:
        await world.stop()
        world.cluster.edit(CONFIG_MAPS, SYSTEM, "istio-ca-root-cert", lambda one: one.update(data={}))
        await world.start()
        await asyncio.sleep(10)
        assert condition(world, CART) == "Unknown NotProbed"
        world.trust()
        await asyncio.sleep(20)
        assert condition(world, CART) == "True Answered"

    told(story)


def test_a_remote_that_is_gone_is_proven_no_more() -> None:
    async def story(world: World) -> None:
        assert world.metrics.registry.get_sample_value("meshfed_unreachable_services", {"remote": "west"}) == 0
        world.cluster.remove(RESOURCES["RemoteMesh"], SYSTEM, "west")
        await asyncio.sleep(30)
        text = world.metrics.exposition().decode()
        assert 'meshfed_probes_total{outcome="answered",remote="west"}' not in text

    told(story)


def test_a_remote_with_our_own_network_is_not_said_to_be_reachable() -> None:
    async def story(world: World) -> None:
        world.edit("RemoteMesh", "west", lambda one: one["spec"].update(network="east-network"), namespace=SYSTEM)
        await asyncio.sleep(20)
        assert condition(world, "RemoteMesh west", "Ready") == "False NameConflict"
        assert condition(world, "RemoteMesh west") == ""

    told(story)

"""The ConfigMap with Istio's configuration, from a whole controller in virtual time: when it is read, and when not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import yaml

from meshfed.controller.config_maps import CONFIG_MAPS, PERIOD
from meshfed.kube import Forbidden, KubeError, TransportError
from tests.builders import SYSTEM, host, mesh_federation, offer, remote_mesh, service
from tests.controller.in_memory import Remote, World
from tests.virtual import virtual_loop

NAME = "istio"
ALIAS = ["west.local"]
WEST = f"FederatedService {host('cart')}.west"


def told(story: Callable[[World], Awaitable[None]]) -> None:
    """Have a story happen: west, of another trust domain, offers what this mesh has too."""

    async def run(monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(monkeypatch, west=Remote())
        world.remotes["west"].offer(offer("cart", identities=("spiffe://west.local/ns/default/sa/cart",)))
        world.put(mesh_federation("east"), service("cart"))
        world.put(remote_mesh("west", trustDomain="west.local", import_={"merge": True}))
        await story(world)
        await world.stop()

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(run(monkeypatch))


def configure(world: World, namespace: str = SYSTEM, **stated: object) -> None:
    data = {"mesh": yaml.safe_dump({"trustDomain": "cluster.local"} | stated)}
    world.cluster.put(CONFIG_MAPS, {"metadata": {"name": NAME, "namespace": namespace}, "data": data})


def said(world: World, of: str, kind: str) -> str:
    return next(f"{status} {reason}" for type_, status, reason in world.said()[of] if type_ == kind)


def test_it_is_read_before_anything_is_decided_and_again_and_again() -> None:
    async def story(world: World) -> None:
        configure(world, trustDomainAliases=ALIAS)
        await world.start()
        await asyncio.sleep(10)
        assert said(world, WEST, "Accepted") == "True Accepted"
        assert said(world, "MeshFederation east", "Ready") != "False TrustDomainMismatch"
        configure(world, trustDomain="east.local", trustDomainAliases=ALIAS)
        await asyncio.sleep(PERIOD + 10)
        assert said(world, "MeshFederation east", "Ready") == "False TrustDomainMismatch"
        configure(world)
        await asyncio.sleep(PERIOD + 10)
        assert said(world, WEST, "Accepted") == "False IdentityMismatch"
        assert said(world, "MeshFederation east", "Ready") != "False TrustDomainMismatch"

    told(story)


def test_no_import_goes_because_it_cannot_be_read() -> None:
    async def story(world: World) -> None:
        configure(world, trustDomainAliases=ALIAS)
        await world.start()
        await asyncio.sleep(10)
        before = world.written()
        assert world.imported()
        error: KubeError = Forbidden(403, "Forbidden", "configmaps is forbidden")
        world.cluster.refuse = lambda _verb, name: error if name == NAME else None
        await asyncio.sleep(3 * PERIOD)
        assert world.written() == before
        await world.stop()
        error = TransportError("connection reset")
        await world.start()
        await asyncio.sleep(3 * PERIOD)
        assert world.written() == before
        world.cluster.refuse = lambda _verb, _name: None
        await asyncio.sleep(PERIOD)
        assert world.written() == before
        assert said(world, WEST, "Accepted") == "True Accepted"

    told(story)


def _is_gone(world: World) -> None:
    world.cluster.remove(CONFIG_MAPS, SYSTEM, NAME)


def _is_forbidden(world: World) -> None:
    error = Forbidden(403, "Forbidden", "configmaps is forbidden")
    world.cluster.refuse = lambda _verb, name: error if name == NAME else None


def _is_nonsense(world: World) -> None:
    configure(world, trustDomain=1)


def _is_of_no_trust_domain(world: World) -> None:
    configure(world, trustDomain="")


@pytest.mark.parametrize("lost", [_is_gone, _is_forbidden, _is_nonsense, _is_of_no_trust_domain])
def test_what_hangs_on_it_stays_also_where_a_controller_starts_without_it(lost: Callable[[World], None]) -> None:
    """An alias of the trust domain that cannot be read is not one that is gone; nor is who sees a ServiceEntry."""

    async def story(world: World) -> None:
        world.remotes["west"].offer(offer("only", identities=("spiffe://west.local/ns/default/sa/only",)))
        world.remotes["west"].offer(offer("shop", identities=("spiffe://west.local/ns/default/sa/shop",)))
        world.put(service("shop"))
        configure(world, trustDomainAliases=ALIAS, defaultServiceExportTo=["."])
        await world.start()
        await asyncio.sleep(10)
        before = world.written()
        assert said(world, WEST, "Accepted") == "True Accepted"
        await world.stop()
        lost(world)
        await world.start()
        await asyncio.sleep(3 * PERIOD)
        assert world.written() == before
        assert said(world, WEST, "Accepted") == "Unknown NotUnderstood"
        # What comes now is decided by what is known, and what no alias would mend.
        world.remotes["west"].offer(offer("late", identities=("spiffe://west.local/ns/default/sa/late",)))
        world.put(service("late"))
        await asyncio.sleep(10)
        assert said(world, f"FederatedService {host('late')}.west", "Accepted") == "False IdentityMismatch"
        world.remotes["west"].offer(offer("shop", identities=("spiffe://west.local/ns/elsewhere/sa/shop",)))
        await asyncio.sleep(10)
        assert said(world, f"FederatedService {host('shop')}.west", "Accepted") == "False IdentityMismatch"
        world.cluster.refuse = lambda _verb, _name: None
        configure(world)
        await asyncio.sleep(PERIOD + 10)
        assert said(world, WEST, "Accepted") == "False IdentityMismatch"
        assert world.written() != before

    told(story)


@pytest.mark.parametrize("error", [None, Forbidden(403, "Forbidden", "configmaps is forbidden")])
def test_where_there_is_none_or_it_may_not_be_read_nothing_is_waited_for(error: KubeError | None) -> None:
    async def story(world: World) -> None:
        world.cluster.refuse = lambda _verb, name: error if name == NAME else None
        await world.start()
        await asyncio.sleep(10)
        assert said(world, WEST, "Accepted") == "False IdentityMismatch"
        world.cluster.refuse = lambda _verb, _name: None
        configure(world, trustDomainAliases=ALIAS)
        await asyncio.sleep(PERIOD + 10)
        assert said(world, WEST, "Accepted") == "True Accepted"

    told(story)


def test_what_istiod_would_not_take_changes_nothing() -> None:
    async def story(world: World) -> None:
        configure(world, trustDomainAliases=ALIAS)
        await world.start()
        await asyncio.sleep(10)
        configure(world, trustDomain=1)
        await asyncio.sleep(2 * PERIOD)
        assert said(world, WEST, "Accepted") == "True Accepted"
        world.cluster.remove(CONFIG_MAPS, SYSTEM, NAME)
        await asyncio.sleep(2 * PERIOD)
        assert said(world, WEST, "Accepted") == "True Accepted"

    told(story)


def test_it_is_looked_for_where_the_control_plane_is() -> None:
    async def story(world: World) -> None:
        configure(world, trustDomainAliases=ALIAS)
        configure(world, "elsewhere", trustDomain="east.local")
        await world.start()
        await asyncio.sleep(10)
        world.put(mesh_federation("east", controlPlaneNamespace="elsewhere"))
        await asyncio.sleep(10)
        assert said(world, "MeshFederation east", "Ready") == "False TrustDomainMismatch"
        world.put(mesh_federation("east", controlPlaneNamespace="nowhere"))
        await asyncio.sleep(10)
        assert said(world, "MeshFederation east", "Ready") != "False TrustDomainMismatch"

    told(story)

"""A network that fails, and storms of refusals, between a controller and its API server: through real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from meshfed.kube import ClusterConfig
from meshfed.kube import client as client_module
from meshfed.kube import reflector as reflector_module
from tests.controller.meshes import Mesh, federated, synced
from tests.controller.test_federation import BOOKINFO, export_all
from tests.controller.test_static import nothing_lost
from tests.faulty import Fault, FaultyNetwork
from tests.waiting import eventually, meanwhile

SECONDS = 4.0
"""How long each fault lasts."""


@asynccontextmanager
async def behind_a_network() -> AsyncIterator[tuple[Mesh, Mesh, FaultyNetwork]]:
    """East, whose controller reaches its API server through a network, and west, with what both import in place."""
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        async with FaultyNetwork.before(int(east.server.url.rpartition(":")[2])) as network:
            await east.stop()
            east.way = ClusterConfig(server=network.url)
            await east.start()
            await synced(east, west)
            await synced(west, east)
            try:
                yield east, west, network
            finally:
                await east.stop()


async def _cuts(network: FaultyNetwork) -> None:
    while True:
        network.cut()
        await asyncio.sleep(0.15)


def _fault(**what: float) -> Callable[[FaultyNetwork], None]:
    def begin(network: FaultyNetwork) -> None:
        network.fault = Fault(**what)  # type: ignore[arg-type] # bytes are whole
        network.cut()  # so that lists and watches begin anew, in the middle of it

    return begin


SILENT = "connections stand and are silent"
FAULTS: dict[str, Callable[[FaultyNetwork], None]] = {
    "every answer late, and watches out of step": _fault(delay=0.4),
    "20 kB a second": _fault(rate=20_000),
    "answers end in the middle": _fault(truncate=3_000),
    "answers turn into nonsense": _fault(garble=0.2),
    SILENT: lambda network: network.hold(),
    "new ones are silent too": lambda network: network.hold(new=True),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", [*FAULTS, "every connection cut, again and again"])
async def test_no_fault_of_the_network_to_the_api_costs_an_import_and_all_is_caught_up_with(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "_WATCH_SECONDS", 2)
    monkeypatch.setattr(client_module, "_WATCH_GRACE", 0.5)
    async with behind_a_network() as (east, west, network):
        objects = east.written()
        async with nothing_lost(east):
            async with meanwhile(*([] if fault in FAULTS else [_cuts(network)])):
                if fault in FAULTS:
                    FAULTS[fault](network)
                await west.label("productpage", export_service="true")
                for name in east.all("Gateway"):
                    await east.delete("Gateway", name)
                await asyncio.sleep(SECONDS)
                assert east.controller is not None
            network.release()
            if fault != SILENT:  # of which it is for the controller to find out
                network.cut()
            await eventually(lambda: ("default", "productpage") in east.merged(), within=150)
            await eventually(lambda: len(east.all("Gateway")) == 1)
        await west.label("productpage", export_service=None)
        await eventually(lambda: east.written() == objects)


@pytest.mark.parametrize(("status", "retry_after"), [(429, 1), (429, 0), (500, 0), (503, 0)])
async def test_a_storm_of_refusals_costs_no_import_and_is_not_answered_by_a_storm_of_requests(
    status: int, retry_after: int
) -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        objects = east.written()
        async with nothing_lost(east):
            storm = east.server.fail(status=status, retry_after=retry_after, times=10**9)
            east.server.drop_watches()
            await asyncio.sleep(2)  # in which whatever was under way has failed
            left = storm.times
            await asyncio.sleep(5)
            kinds = len({resource for _, resource in east.server.counters.requests})
            assert left - storm.times <= 5 * kinds, "each kind, once a second"
            storm.times = 0
            await west.label("productpage", export_service="true")
            await eventually(lambda: ("default", "productpage") in east.merged())
        await west.label("productpage", export_service=None)
        await eventually(lambda: east.written() == objects)

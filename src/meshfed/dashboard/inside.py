"""The page out of a controller: of its mesh, by what the controller may read, for whoever is let through to it.

It has watches of its own, so that a controller without it has none of this in memory, and is disturbed by nothing
that a page asks for. Every replica serves it: what is shown comes from the cluster, and not from who leads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

from meshfed.controller.options import Address, Options
from meshfed.controller.serving import served
from meshfed.dashboard.board import Board
from meshfed.dashboard.server import DashboardServer
from meshfed.dashboard.watching import EVENTS, REPLICAS, WatchedMesh
from meshfed.kube import ClusterConfig

_HERE: Final = "this cluster"
_NO_EVENTS: Final = "the controller, out of which this page is, may not read Events"
_NO_REPLICAS: Final = (
    "the controller, out of which this page is, may not ask its replicas: "
    "`meshfed dashboard` does, with your own rights"
)
_NO_PODS: Final = "the controller, out of which this page is, reads no Pods"


@asynccontextmanager
async def inside(
    config: ClusterConfig, options: Options, address: Address, names: Collection[str]
) -> AsyncIterator[None]:
    """Serve the page at ``address`` while the context lasts, under ``names`` and those of the loopback.

    Raises:
        OSError: the address cannot be bound.
    """
    left = {EVENTS.kind: _NO_EVENTS, REPLICAS: _NO_REPLICAS}
    if not options.read_pods:
        left |= dict.fromkeys(("Pod", "EndpointSlice"), _NO_PODS)
    board = Board([WatchedMesh(_HERE, config, namespace=options.namespace, left=left)], mesh_config=options.mesh_config)
    server = DashboardServer(board, names=names, asks=())
    async with board.running(), served(server.app(), address):
        yield

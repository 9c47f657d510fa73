"""A controller asked to try the ways into its remotes now, and waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshfed.cli.clusters import LEASES, OURS, Wanted, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.kube import Client
    from meshfed.views.checks import Proof

SECONDS: Final = 12.0
"""For all ways: two handshakes with a gateway that swallows packets, and a pause between."""
_LOOK_SECONDS: Final = 0.25
_WANTED: Final = (*OURS[:2], LEASES, Wanted("", "Pod"))


async def proofs(client: Client, source: str, namespace: str | None, remote: str) -> Mapping[str, Proof]:
    """Ask for proofs of the way to ``remote``, or to all, and return what became of each; raises ``KubeError``."""
    import asyncio

    from meshfed.kube import micro_time_now
    from meshfed.views.checks import Facts, Proof
    from meshfed.views.checks.remotes import untried
    from meshfed.views.checks.stored import alive

    facts = Facts(snapshot=await read(client, source, namespace, _WANTED), remote=remote)
    wanted = [one for one in facts.remotes if not untried(facts, one)]
    living = alive(facts)
    if living.alive is not True:
        return {one.metadata.name: Proof(handled=False, why=living.words) for one in wanted}
    request = micro_time_now()
    found = await asyncio.gather(*(_proof(client, one, request) for one in wanted))
    return dict(zip((one.metadata.name for one in wanted), found, strict=True))


async def _proof(client: Client, remote: RemoteMesh, request: str) -> Proof:
    import asyncio

    from meshfed.api.v1alpha1 import GROUP, PROBE_REQUEST_ANNOTATION, VERSION
    from meshfed.kube import Forbidden, NotFound, Resource
    from meshfed.views.checks import Proof

    resource = Resource(GROUP, VERSION, "remotemeshes", "RemoteMesh")
    name, namespace = remote.metadata.name, remote.metadata.namespace
    patch: dict[str, Any] = {"metadata": {"annotations": {PROBE_REQUEST_ANNOTATION: request}}}
    try:
        now = await client.patch(resource, name, patch, namespace=namespace)
        async with asyncio.timeout(SECONDS):
            while (now.get("status") or {}).get("probeHandledAt") != request:
                await asyncio.sleep(_LOOK_SECONDS)
                now = await client.get(resource, name, namespace=namespace)
    except TimeoutError:
        return Proof(
            handled=False,
            why=f"it has not tried all ways within {SECONDS:g} s, or is of a version that is not asked so",
        )
    except Forbidden:
        return Proof(handled=False, why=f"you may not patch or get {resource} in namespace {namespace}")
    except NotFound:
        return Proof(handled=False, why="it was deleted")
    return Proof(handled=True)

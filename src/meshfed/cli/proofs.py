"""A controller asked to try the ways into its remotes now, and waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshfed.cli.clusters import read
from meshfed.cli.kinds import LEASES, OURS, Wanted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.kube import Client, Resource
    from meshfed.views.checks import Proof

SECONDS: Final = 12.0
"""For all ways: two handshakes with a gateway that swallows packets, and a pause between."""
_LOOK_SECONDS: Final = 0.25
_WANTED: Final = (*OURS[:2], LEASES, Wanted("", "Pod"))


async def proofs(
    client: Client,
    source: str,
    namespace: str | None,
    remotes: Collection[str] = (),
    *,
    seconds: float,
    imports: bool = False,
) -> Mapping[str, Proof]:
    """Ask for proofs of the ways to ``remotes``, or to all, and return what became of each within ``seconds``.

    Who is not behind its gateway is asked about only where it is about ``imports``; those to which no way is tried are
    only asked by the controller what of this mesh they have worked out. Raises ``KubeError``.
    """
    import asyncio

    from meshfed.kube import micro_time_now

    snapshot = await read(client, source, namespace, _WANTED)

    from meshfed.views.checks import Facts, Proof
    from meshfed.views.checks.facts import arguments
    from meshfed.views.checks.remotes import untried
    from meshfed.views.checks.stored import alive

    facts = Facts(snapshot=snapshot)
    chosen = [one for one in facts.remotes if not remotes or one.metadata.name in remotes]
    wanted = [one for one in chosen if imports or not untried(facts, one)]
    living = alive(facts)
    why = "" if living.alive is True else living.words
    if "--no-probe" in arguments(facts.snapshot):
        why = "the controller is told to try no way (--no-probe)"
    if why:
        return {one.metadata.name: Proof(handled=False, why=why) for one in wanted}
    request = micro_time_now()
    others = [one for one in chosen if one not in wanted and not one.metadata.deletion_timestamp]
    found, _ = await asyncio.gather(
        asyncio.gather(*(_proof(client, one, request, seconds) for one in wanted)),
        asyncio.gather(*(_request(client, one, request) for one in others), return_exceptions=True),
    )
    return dict(zip((one.metadata.name for one in wanted), found, strict=True))


async def _request(client: Client, remote: RemoteMesh, request: str) -> Mapping[str, Any]:
    from meshfed.api.v1alpha1 import PROBE_REQUEST_ANNOTATION

    patch: dict[str, Any] = {"metadata": {"annotations": {PROBE_REQUEST_ANNOTATION: request}}}
    return await client.patch(_resource(), remote.metadata.name, patch, namespace=remote.metadata.namespace)


def _resource() -> Resource:
    from meshfed.api.v1alpha1 import GROUP, VERSION
    from meshfed.kube import Resource

    return Resource(GROUP, VERSION, "remotemeshes", "RemoteMesh")


async def _proof(client: Client, remote: RemoteMesh, request: str, seconds: float) -> Proof:
    import asyncio

    from meshfed.kube import Forbidden, NotFound
    from meshfed.views.checks import Proof

    resource = _resource()
    name, namespace = remote.metadata.name, remote.metadata.namespace
    try:
        now = await _request(client, remote, request)
        async with asyncio.timeout(seconds):
            while (now.get("status") or {}).get("probeHandledAt") != request:
                await asyncio.sleep(_LOOK_SECONDS)
                now = await client.get(resource, name, namespace=namespace)
    except TimeoutError:
        return Proof(
            handled=False,
            why=f"it has not tried all ways within {seconds:g} s, or is of a version that is not asked so",
        )
    except Forbidden:
        return Proof(handled=False, why=f"you may not patch or get {resource} in namespace {namespace}")
    except NotFound:
        return Proof(handled=False, why="it was deleted")
    return Proof(handled=True)

"""Applying a RemoteMesh for ``meshfed link``, for good or as a dry run, and waiting until it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshfed.cli.clusters import One, clusters
from meshfed.cli.exits import Exit, NotHeld, OutOfReach
from meshfed.cli.output import as_json, one_line, say
from meshfed.model.installation import API_GROUP

if TYPE_CHECKING:
    from meshfed.views.snapshot import Document

FIELD_MANAGER: Final = "meshfed-link"
"""Who has set what a card states, to the API server."""
_LOOK_SECONDS: Final = 1.0


def applied(manifest: Document, output: str | None, how: str = "") -> int:
    """Print what was applied, or would be: its name, or all of it."""
    from meshfed.api.documents import encode_document

    match output:
        case None:
            print(f"remotemesh.{API_GROUP}/{manifest['metadata']['name']} applied{how}", flush=True)
        case "json":
            print(as_json(manifest))
        case _:
            print(encode_document(manifest), end="")
    return Exit.OK


async def apply_remote(
    one: One, manifest: Document, seconds: float | None, *, output: str | None = None, dry: bool = False
) -> int:
    """Apply a RemoteMesh and, where ``seconds`` are given, wait for that long until it is ready and reached.

    ``dry``: have the API server do all but store it.
    """
    from meshfed.kube import Client, Conflict, Forbidden, Invalid, KubeError, PatchType, Resource

    resource = Resource(API_GROUP, "v1alpha1", "remotemeshes", "RemoteMesh")
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    (_, config), *_ = clusters(one.where)
    try:
        async with Client(config, field_manager=FIELD_MANAGER) as client:
            stored = await client.patch(
                resource, name, manifest, namespace=namespace, patch_type=PatchType.APPLY, dry_run=dry
            )
            applied(stored if dry else manifest, output, " (server dry run)" if dry else "")
            _refuse_what_others_keep(manifest, stored)
            if seconds is not None:
                await _until_reached(client, resource, name, namespace, seconds)
    except Conflict as error:
        raise NotHeld(f"{error}; change it there: without --apply, the RemoteMesh is printed") from error
    except (Forbidden, Invalid) as error:
        raise NotHeld(str(error)) from error
    except KubeError as error:
        raise OutOfReach(str(error)) from error
    return Exit.OK


def _refuse_what_others_keep(manifest: Document, stored: Document) -> None:
    """Raise ``NotHeld`` where what was applied is not what there is: others' entries in a list stay."""
    wanted, found = manifest["spec"], stored["spec"]
    kept = ["import"] if "import" in found and "import" not in wanted else []
    if more := sorted(set(found["addresses"]) - set(wanted["addresses"])):
        kept.append(f"addresses {', '.join(more)}")
    if kept:
        name = manifest["metadata"]["name"]
        raise NotHeld(f"RemoteMesh {name} still has {' and '.join(kept)}, which somebody else has set: remove it there")


async def _until_reached(client: Any, resource: Any, name: str, namespace: str, seconds: float) -> None:
    """Wait until a RemoteMesh is ready and reached, and say what is waited for."""
    import asyncio

    from meshfed.api.v1alpha1 import RemoteMesh
    from meshfed.kube import NotFound
    from meshfed.views.links import standing

    said = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                now = standing(await client.get(resource, name, namespace=namespace, into=RemoteMesh))
                if now.done:
                    print(one_line(now.said))
                    return
                if now.said != said:
                    said = now.said
                    say(f"waiting: {said}")
                await asyncio.sleep(_LOOK_SECONDS)
    except NotFound as error:
        raise NotHeld(f"RemoteMesh {name} was deleted") from error
    except TimeoutError as error:
        raise NotHeld(f"after {seconds:g} s RemoteMesh {name} is not reached: {said}") from error

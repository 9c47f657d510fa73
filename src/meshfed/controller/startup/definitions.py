"""Brings the CRDs of a cluster to this version's.

By server-side apply. The list of versions, schemas and all, is one value to it, so that a rule which this version has
given up goes, whoever put it there; what others noted beside it stays. Unlike by POST, the permission to create can be
had for these names only. And the resourceVersion that was judged goes along, so that nothing unseen is overwritten.
"""

from __future__ import annotations

import asyncio
from typing import Final

from meshfed.api.crd_upgrade import Step, UpgradeVerdict, definition, judge
from meshfed.api.crds import all_crds
from meshfed.controller.watches import CRDS
from meshfed.kube import Client, Conflict, Manifest, NotFound, PatchType

_PAUSE: Final = 0.2
"""Seconds between two looks."""


class CRDRefused(Exception):
    """A definition must not be replaced; nothing was written. The message names each, and what to do."""


async def bring_up(client: Client, *, adopt: bool = False, dry_run: bool = False) -> list[tuple[str, str]]:
    """Apply our definitions, where that is needed and right; returns what was done about each, in words.

    ``adopt`` as for ``judge``; with ``dry_run`` nothing is written. Waits, as long as it takes, until each of them is
    in force. Raises what the client raises, and

    Raises:
        CRDRefused: one of them must not be replaced, and so none was.
    """
    names = [crd["metadata"]["name"] for crd in all_crds()]
    judged = [(name, judge(name, await _live(client, name), adopt=adopt)) for name in names]
    refused = [f"{name} is {verdict.said}" for name, verdict in judged if verdict.step is Step.REFUSE]
    if refused:
        raise CRDRefused("; ".join(refused))
    if dry_run:
        return [(name, verdict.said) for name, verdict in judged]
    done = [(name, await _bring_up(client, name, adopt=adopt)) for name in names]
    for name, _ in done:
        await _established(client, name)
    return [(name, verdict.said) for name, verdict in done]


async def _bring_up(client: Client, name: str, *, adopt: bool) -> UpgradeVerdict:
    while True:
        live = await _live(client, name)
        verdict = judge(name, live, adopt=adopt)
        if verdict.step is Step.REFUSE:
            raise CRDRefused(f"{name} is {verdict.said}")
        try:
            if verdict.step is Step.APPLY:
                crd = definition(name)
                if live is not None:
                    crd["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
                await client.patch(CRDS, name, crd, patch_type=PatchType.APPLY, force=True)
        except Conflict:
            await asyncio.sleep(_PAUSE)  # another was faster: what of it is there now?
        else:
            return verdict


async def _live(client: Client, name: str) -> Manifest | None:
    try:
        return await client.get(CRDS, name)
    except NotFound:
        return None


async def _established(client: Client, name: str) -> None:
    while (live := await _live(client, name)) is not None:
        conditions = {one["type"]: one["status"] for one in (live.get("status") or {}).get("conditions") or ()}
        if conditions.get("Established") == conditions.get("NamesAccepted") == "True":
            return
        await asyncio.sleep(_PAUSE)

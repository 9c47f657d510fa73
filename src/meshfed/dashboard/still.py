"""The page as one file, of what clusters held at one moment: what a server would answer is in it.

It is bounded: of the hosts, of what happened, and of the chains of hosts it has the first, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from meshfed.api.times import timestamp
from meshfed.dashboard.files import whole
from meshfed.views import hosts as hosts_of
from meshfed.views import timeline as timeline_of
from meshfed.views.bundles import kept
from meshfed.views.explain.answers import answer
from meshfed.views.explain.seen import Seen, seen
from meshfed.views.federation_map import federation
from meshfed.views.importers import NOT_REPORTED
from meshfed.views.imports import imports
from meshfed.views.meshes import mesh
from meshfed.views.propagation import propagation
from meshfed.views.snapshot import Snapshot

MOST_HOSTS: Final = 5000
"""The worst come first."""
MOST_HAPPENINGS: Final = 2000
"""The latest come first."""
MOST_CHAINS: Final = 1000
"""Hosts of which the chain is in the file, the worst first: each takes some 3 KB."""


def still(snapshots: Sequence[Snapshot], mesh_config: str) -> bytes:
    """Return the page of what clusters held, as HTML."""
    return whole(documents(snapshots, mesh_config), timestamp(min(one.taken for one in snapshots)))


def documents(
    snapshots: Sequence[Snapshot],
    mesh_config: str,
    *,
    most_hosts: int = MOST_HOSTS,
    most_happenings: int = MOST_HAPPENINGS,
    most_chains: int = MOST_CHAINS,
) -> dict[str, Any]:
    """Return what the page shows: the federation, the hosts, what happened, the chains of hosts by their name.

    And how long changes took, by cluster and remote.
    """
    held = [msgspec.structs.replace(one, objects=tuple(kept(one.objects))) for one in snapshots]
    offers = [imports(one) for one in held]
    meshes = [mesh(one, found) for one, found in zip(held, offers, strict=True)]
    sides = [seen(one, mesh_config_map=mesh_config) for one in held]
    hosts = hosts_of.hosts([one for found in offers for one in found], [one for side in sides for one in side.services])
    happened = sorted((event for one in held for event in timeline_of.happenings(one)), key=_moment, reverse=True)
    now = {one.mesh: one.taken for one in held}
    names = [one.service if one.state == hosts_of.NOT_EXPORTED else one.host for one in hosts[:most_chains]]
    found = {
        "federation": federation(meshes, {}, {name: timestamp(at) for name, at in now.items()}),
        "hosts": hosts_of.page(
            hosts,
            hosts_of.HostQuery(),
            start=0,
            size=most_hosts,
            notes=(*_limits(sides), *_cut(len(hosts), most_hosts, "hosts", "the worst")),
        ),
        "timeline": timeline_of.page(
            happened,
            timeline_of.HappeningQuery(),
            now=now,
            start=0,
            size=most_happenings,
            notes=tuple(_cut(len(happened), most_happenings, "happenings", "the latest")),
        ),
        "propagation": {
            one.source: {
                remote.metadata.name: propagation(one.importers or NOT_REPORTED, one.source, remote.metadata.name)
                for remote in one.remotes
            }
            for one in held
        },
        "explanations": {name: answer(tuple(name.split()), sides) for name in dict.fromkeys(names)},
    }
    plain: dict[str, Any] = msgspec.to_builtins(found, str_keys=True)
    return plain


def _moment(one: timeline_of.HappeningView) -> str:
    return one.at


def _limits(sides: Sequence[Seen]) -> Iterator[str]:
    """Yield what limits what can be said."""
    for side in sides:
        for why in dict.fromkeys((*side.snapshot.unread.values(), *side.problems)):
            yield f"{side.snapshot.source}: {why}"


def _cut(number: int, most: int, what: str, which: str) -> Iterator[str]:
    if number > most:
        yield f"of {number} {what} this file has {most}, {which}"

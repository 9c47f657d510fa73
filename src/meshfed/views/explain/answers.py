"""The answer to what a person asked, from all that was read of the meshes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from meshfed.views.controllers import controller
from meshfed.views.explain.asked import Missing, explained, is_known, missing
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.explanation import Explanation
from meshfed.views.explain.named import named
from meshfed.views.explain.objects import TreeView, asks_about, find_object, no_object, trees
from meshfed.views.explain.objects import tree as tree_of
from meshfed.views.explain.parts import Part
from meshfed.views.explain.seen import Seen

if TYPE_CHECKING:
    from meshfed.views.access_log import LogVerdict
    from meshfed.views.snapshot import Unreached


def answer(
    words: tuple[str, ...],
    sides: Sequence[Seen],
    *,
    given: Sequence[Part] = (),
    unreached: Sequence[Unreached] = (),
    remote: str | None = None,
    log: LogVerdict | None = None,
    tree: bool = False,
) -> Explanation:
    """Return what there is to say of a host, or of an object that ``words`` name.

    ``given`` are parts of meshes that were not read here, ``unreached`` those that did not answer. With ``tree`` the
    objects that chains lead to are among it.
    """
    name, wanted = " ".join(words), named(words)
    asked: list[str] = [name]
    objects: list[TreeView] = []
    lacking: Missing | None = None
    if wanted is not None:
        found = [(side, one) for side in sides if (one := find_object(side, wanted)) is not None]
        objects = [tree_of(side, one) for side, one in found if one.get("kind") != "Service"]
        asked = [origin for _, one in found if (origin := asks_about(one))]
        lacking = no_object(wanted, sides) if sides and not found else None
    chains: dict[tuple[str, str, str], Chain] = {}
    for about in dict.fromkeys(asked):
        for chain in explained(about, sides, given, remote=remote):
            chains[chain.exporter, chain.importer, chain.host] = chain
    # Where nothing was read, nobody knows what there is.
    if lacking is None and (sides or given) and not objects and not (chains and is_known(asked[0], sides, given)):
        lacking = missing(name, sides, told=bool(chains))
    if tree:
        objects += [one for chain in chains.values() for one in trees(sides, chain)]
    return Explanation(
        asked=name,
        chains=tuple(chains.values()),
        objects=tuple(dict.fromkeys(objects)),
        missing=lacking,
        log=log,
        notes=tuple(_notes(sides, given, unreached)),
    )


def _notes(sides: Sequence[Seen], given: Sequence[Part], unreached: Sequence[Unreached]) -> Iterator[str]:
    """Yield what limits what can be said."""
    for one in unreached:
        yield f"{one.source}: not reached: {one.why}"
    for side in sides:
        snapshot = side.snapshot
        for why in dict.fromkeys((*snapshot.unread.values(), *snapshot.not_understood(), *side.problems)):
            yield f"{snapshot.source}: {why}"
        alive = controller(snapshot).alive
        if alive is False:
            yield f"{snapshot.source}: no controller is at work in {side.mesh.name}: its statuses may be old"
        elif alive is None and "Lease" not in snapshot.unread:
            yield f"{snapshot.source}: no controller is seen at work in {side.mesh.name}: its statuses may be old"
    for mesh, taken in dict.fromkeys((part.mesh.name, part.taken) for part in given):
        yield f"what {mesh} says is from a file, of {taken}"

"""One mesh on one screen."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from meshfed.api.meta import StatusCondition
from meshfed.api.times import timestamp
from meshfed.model.reasons import ConditionType
from meshfed.views.controllers import ControllerView, controller
from meshfed.views.imports import ImportState, ImportView, imports
from meshfed.views.problems import ProblemView, problems
from meshfed.views.remotes import RemoteView, remotes
from meshfed.views.snapshot import Snapshot, find


class MeshView(msgspec.Struct, frozen=True, rename="camel"):
    """One mesh: who controls it, what it exports and imports, its remotes, and what is wrong.

    ``found`` is false where there is no MeshFederation. ``imports`` counts offers by what became of them.
    """

    mesh: str
    source: str
    namespace: str
    taken: str
    found: bool
    ready: str
    message: str
    since: str
    controller: ControllerView
    exported: int
    imported: int
    imports: dict[ImportState, int]
    remotes: tuple[RemoteView, ...]
    problems: tuple[ProblemView, ...]
    conditions: tuple[StatusCondition, ...]
    unread: dict[str, str]


def mesh(snapshot: Snapshot, offers: tuple[ImportView, ...] | None = None) -> MeshView:
    """Return how the mesh of a snapshot stands; ``offers`` are its imports, where they are known already."""
    federation = next(iter(snapshot.federations), None)
    offers, at_work = imports(snapshot) if offers is None else offers, controller(snapshot)
    counts: dict[ImportState, int] = {}
    for one in offers:
        counts[one.state] = counts.get(one.state, 0) + 1
    conditions = federation.status.conditions if federation is not None else ()
    ready = find(conditions, ConditionType.READY)
    return MeshView(
        mesh=snapshot.mesh,
        source=snapshot.source,
        namespace=snapshot.namespace,
        taken=timestamp(snapshot.taken),
        found=federation is not None,
        ready=ready.status if ready is not None else "Unknown",
        message=ready.message if ready is not None else _no_status(snapshot, there=federation is not None),
        since=ready.last_transition_time if ready is not None else "",
        controller=at_work,
        exported=federation.status.exported_services if federation is not None else 0,
        imported=federation.status.imported_services if federation is not None else 0,
        imports=counts,
        remotes=remotes(snapshot, offers),
        problems=(*_of_controller(snapshot, at_work), *problems(snapshot, offers)),
        conditions=conditions,
        unread=dict(snapshot.unread) | dict.fromkeys(snapshot.not_understood(), "cannot be understood"),
    )


def is_well(view: MeshView) -> bool:
    """Whether nothing is wrong, as far as can be seen."""
    return view.found and view.ready == "True" and not view.problems and view.controller.alive is not False


def _of_controller(snapshot: Snapshot, seen: ControllerView) -> Iterator[ProblemView]:
    """Yield that no controller shows itself, where it would be seen: what statuses say may be long past."""
    if seen.alive is None and "Lease" not in snapshot.unread and snapshot.federations:
        message = (
            "no Lease of one is in this namespace: either none runs, and every status is as it was when it went, or it "
            "may not write Leases; `meshfed check` looks at its Pods and permissions"
        )
        yield ProblemView("Controller", (snapshot.namespace,), 1, "", "Unknown", "", message, "")


def _no_status(snapshot: Snapshot, *, there: bool) -> str:
    if there:
        return "it has no status: no controller has looked at it yet; see whether one runs in this namespace"
    if why := snapshot.unread.get("MeshFederation"):
        return f"whether there is a MeshFederation is not known: {why}"
    return f"there is no MeshFederation in namespace {snapshot.namespace}; name another with --namespace, or create one"

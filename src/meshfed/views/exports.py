"""What this mesh offers to others, and why not what it does not.

No status says it of each Service. It is decided anew from what the cluster holds, by what the controller decides it by.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meshfed.api.errors import InvalidInput
from meshfed.model.installation import MESH_CONFIG
from meshfed.model.offers import Port
from meshfed.model.reasons import Decision
from meshfed.plan import Plan, Published, Settings, plan_all
from meshfed.plan.claims import EXPECTED
from meshfed.plan.documents import read_documents
from meshfed.plan.values import Place
from meshfed.views.importers import ImportersSeen, ImporterView
from meshfed.views.snapshot import Snapshot


class ExportView(msgspec.Struct, frozen=True, rename="camel"):
    """One Service, and as what it is offered, if it is. ``to`` names remotes; ``None`` is all of them."""

    mesh: str
    namespace: str
    name: str
    exported: bool
    reason: str
    message: str
    labels: dict[str, str]
    """The Service's own."""
    host: str = ""
    ports: tuple[Port, ...] = ()
    identities: tuple[str, ...] = ()
    to: tuple[str, ...] | None = None
    importers: tuple[ImporterView, ...] | None = None
    """Whether each remote that it is offered to imports it, as those say; ``None`` where nobody was asked."""


def planned(
    snapshot: Snapshot, *, mesh_config_map: str = MESH_CONFIG, account: Place | None = None
) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan for what a cluster holds, and what of that cannot be understood, in words.

    ``account`` has namespace and name of the controller's ServiceAccount, where that is known.
    """
    problems: list[str] = []

    def not_understood(error: InvalidInput) -> None:
        problems.append(str(error))

    documents = ((snapshot.source, document) for document in snapshot.objects)
    inputs = read_documents(documents, snapshot.namespace, mesh_config_map, stored=not_understood)
    inputs = msgspec.structs.replace(inputs, pods_listed="Pod" not in snapshot.unread)
    return plan_all(inputs, Settings(namespace=snapshot.namespace, account=account)), tuple(problems)


def exports(snapshot: Snapshot, plan: Plan) -> tuple[ExportView, ...]:
    """Return every Service: first those that somebody may expect to be exported, then those that are, then the others.

    Within each, by namespace and name.
    """
    labels = {
        (one["metadata"].get("namespace", "default"), one["metadata"].get("name", "")): one["metadata"].get("labels")
        or {}
        for one in snapshot.of_kind("Service")
    }
    mesh = snapshot.mesh
    found = [_view(mesh, labels.get(export[0], {}), *export) for export in plan.exports]
    return tuple(sorted(found, key=lambda one: (_rank(one), one.namespace, one.name)))


def imported(one: ExportView, found: ImportersSeen, remotes: Sequence[str]) -> ExportView:
    """Return an export with what is known of who imports it; ``remotes``: the names of all RemoteMeshes."""
    if not one.exported:
        return one
    offered_to = [remote for remote in remotes if one.to is None or remote in one.to]
    return msgspec.structs.replace(one, importers=found.of(one.host, offered_to))


def _rank(one: ExportView) -> int:
    return 1 if one.exported else 2 if is_nobodys(one) else 0


def is_nobodys(one: ExportView) -> bool:
    """Whether nobody would expect the Service to be exported."""
    return one.reason in EXPECTED


def _view(
    mesh: str, labels: dict[str, str], place: tuple[str, str], decision: Decision, published: Published | None
) -> ExportView:
    namespace, name = place
    view = ExportView(
        mesh=mesh,
        namespace=namespace,
        name=name,
        exported=published is not None,
        reason=decision.reason,
        message=decision.message,
        labels=labels,
    )
    if published is None:
        return view
    return msgspec.structs.replace(
        view,
        host=published.offer.host,
        ports=published.offer.ports,
        identities=published.offer.identities,
        to=tuple(sorted(published.audience)) if published.audience is not None else None,
    )

"""Whether a pair of meshes can be measured: what a Service that is labelled in one becomes in the other.

It is decided by the plan, as the controllers decide it, so that a bench that could not end does not begin.
"""

from __future__ import annotations

import msgspec

from meshfed.federation.imports import record_name
from meshfed.istio.names import import_name
from meshfed.model.reasons import ConditionType
from meshfed.plan import Plan, Settings, plan_all
from meshfed.plan.documents import read_documents
from meshfed.views.exports import planned
from meshfed.views.links import find_remote
from meshfed.views.snapshot import Document, Snapshot, find

SAMPLE = "bench-00000"
"""The Service whose way is worked out; those of the bench differ from it in the number alone."""


class NotMeasurable(Exception):
    """A pair that cannot be measured; the message says why, and what to do."""


class BenchCourse(msgspec.Struct, frozen=True):
    """Where things are, and what they are called: of the Service `SAMPLE`, and so of any.

    ``exporter`` and ``importer`` are the names of the meshes. ``records`` is the importer's namespace of
    FederatedServices, ``entries`` that of ServiceEntries, ``gateways`` the exporter's of Gateways. ``room``: how many
    more hosts the importer takes.
    """

    exporter: str
    importer: str
    host: str
    imported: str
    records: str
    entries: str
    gateways: str
    room: int

    def entry(self, service: str) -> str:
        """Return the name of the ServiceEntry of a Service."""
        return import_name(self.imported.replace(SAMPLE, service, 1))

    def record(self, service: str) -> str:
        """Return the name of the FederatedService of a Service."""
        return record_name(self.host.replace(SAMPLE, service, 1), self.exporter)


def course(
    exporter: Snapshot, importer: Snapshot, namespace: Document, plain: Document, labelled: Document
) -> BenchCourse:
    """Return the way of a Service: ``plain`` as it is at first, ``labelled`` as it is exported by; in ``namespace``.

    Raises `NotMeasurable`.
    """
    for snapshot in (exporter, importer):
        for problem in snapshot.not_understood():
            raise NotMeasurable(f"{snapshot.source}: {problem}")
        if not snapshot.federations:
            raise NotMeasurable(
                f"{snapshot.source}: there is no MeshFederation in namespace {snapshot.namespace}: name another with "
                "--namespace, or install the controller first"
            )
    _linked(exporter, importer)
    before, after = _planned(exporter, namespace, plain), _planned(exporter, namespace, labelled)
    labels = ", ".join(
        f"{key}={value}"
        for key, value in labelled["metadata"]["labels"].items()
        if key not in plain["metadata"]["labels"]
    )
    _, decision, published = after.exports[0]
    if published is None:
        raise NotMeasurable(
            f"{exporter.mesh} does not export what is labelled {labels}: {decision.message}; see --label"
        )
    if before.exports[0][2] is not None:
        raise NotMeasurable(
            f"{exporter.mesh} exports Services without the label {labels} as well, so that no label changes anything: "
            "measure where `export` of the MeshFederation selects by one, and name it by --label"
        )
    offer = published.offer
    if not offer.host.startswith(f"{SAMPLE}."):
        raise NotMeasurable(
            f"Service {SAMPLE} would be offered as {offer.host}, as all others would: a rule renames it"
        )
    if offer.host not in after.offered.get(importer.mesh, ()):
        raise NotMeasurable(f"{exporter.mesh} exports what is labelled {labels}, but not to {importer.mesh}")
    inputs = read_documents(((importer.source, one) for one in importer.objects), importer.namespace, "istio")
    remote = next(one for one in importer.remotes if one.metadata.name == exporter.mesh)
    policy = remote.spec.import_
    # What it offers besides is not looked at: one host more is all that is asked about.
    others = tuple(one for one in inputs.records if one.spec.remote != exporter.mesh)
    inputs = msgspec.structs.replace(inputs, records=others, offers={exporter.mesh: (offer,)})
    plan = plan_all(inputs, Settings(namespace=importer.namespace))
    found = next((one for one in plan.imports if any(b.remote.name == exporter.mesh for b in one.backends)), None)
    if found is None or plan.mesh is None or after.mesh is None:
        raise NotMeasurable(
            f"{importer.mesh} does not import it: {_why_not(plan, record_name(offer.host, exporter.mesh))}"
        )
    return BenchCourse(
        exporter=exporter.mesh,
        importer=importer.mesh,
        host=offer.host,
        imported=found.host,
        records=importer.namespace,
        entries=plan.mesh.control_plane_namespace,
        gateways=after.mesh.control_plane_namespace,
        room=policy.limit - remote.status.imported_services if policy is not None else 0,
    )


def _linked(exporter: Snapshot, importer: Snapshot) -> None:
    for here, there in ((exporter, importer), (importer, exporter)):
        if find_remote(here, there.mesh) is None:
            raise NotMeasurable(
                f"{here.mesh} has no RemoteMesh {there.mesh} in namespace {here.namespace}: link the two first, as "
                "`meshfed link --help` says"
            )
    remote = next(one for one in importer.remotes if one.metadata.name == exporter.mesh)
    for type_ in (ConditionType.CONNECTED, ConditionType.SYNCED):
        condition = find(remote.status.conditions, type_)
        if condition is None or condition.status != "True":
            said = condition.message if condition is not None else "no controller has said anything of it"
            raise NotMeasurable(
                f"RemoteMesh {exporter.mesh} of {importer.mesh} is not {type_}: {said}; `meshfed check` says what to do"
            )


def _planned(exporter: Snapshot, namespace: Document, service: Document) -> Plan:
    objects = (*(one for one in exporter.objects if one.get("kind") != "FederatedService"), namespace, service)
    plan, _ = planned(msgspec.structs.replace(exporter, objects=objects))
    return plan


def _why_not(plan: Plan, record: str) -> str:
    for status in plan.statuses:
        if status.kind == "FederatedService" and status.name == record:
            return "; ".join(one.message for one in status.conditions if one.status != "True")
    return "`meshfed check` says more"

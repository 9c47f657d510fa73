"""What ``meshfed check`` finds out before anything is judged: objects, access reviews, handshakes."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from meshfed.cli.clusters import as_object, ask, clusters, now, read, reported
from meshfed.cli.kinds import LEASES, OURS, SURROUNDINGS, Wanted
from meshfed.cli.proofs import SECONDS, proofs
from meshfed.model.installation import MESH_CONFIG, TRUST_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meshfed.cli.clusters import Where
    from meshfed.kube import Client, Resource
    from meshfed.probe import Roots
    from meshfed.views.checks import Facts, Need, Reviewed, Root
    from meshfed.views.importers import ImportersSeen
    from meshfed.views.snapshot import Document, Snapshot, Unreached

ALL: Final = (
    *OURS,
    LEASES,
    *SURROUNDINGS,
    Wanted("networking.istio.io", "Sidecar", everywhere=True, optional=True),
)
BEFORE: Final = (Wanted("", "Namespace", everywhere=True),)
_LIVING: Final = ("Lease", "Pod")
"""Kinds that say whether a controller lives."""
_ANSWERS, _ANSWER_SECONDS = 8, 0.25
"""How often it is looked whether remotes have answered, and the pause between."""
_AT_ONCE: Final = 8
"""Handshakes at a time."""


class Asked(NamedTuple):
    """What a call of the command is for."""

    before: bool = False
    """It is before an installation."""
    remote: str = ""
    probe: bool = False


async def find_out(where: Where, asked: Asked) -> tuple[tuple[Facts, ...], tuple[Unreached, ...]]:
    """Find out all there is of every cluster, at the same time; raises ``BadInput``."""
    from meshfed.cli.arguments import duration

    if where.file:
        return _together(tuple(_of_report(snapshot, asked) for snapshot in reported(where))), ()
    seconds = duration("--request-timeout", where.request_timeout, some=True) + (SECONDS if asked.probe else 0.0)
    answers = await asyncio.gather(
        *(
            ask(source, config, seconds, lambda client, source=source: _of_cluster(client, source, where, asked))  # type: ignore[misc] # bound now
            for source, config in clusters(where)
        )
    )
    from meshfed.views.snapshot import Unreached  # once the clusters were asked

    found = tuple([await _with_handshakes(*one, asked) for one in answers if not isinstance(one, Unreached)])
    return _together(found), tuple(one for one in answers if isinstance(one, Unreached))


def _together(found: tuple[Facts, ...]) -> tuple[Facts, ...]:
    if not found:
        return ()
    from meshfed.views.checks import beside_each_other

    return beside_each_other(found)


def _of_report(snapshot: Snapshot, asked: Asked) -> Facts:
    """Return what a report tells; what is not in it is not known."""
    from meshfed.views.checks import Facts

    there = {document.get("kind") for document in snapshot.objects}
    untold = {kind: f"the report has no {kind}" for kind in _LIVING if kind not in there}
    return Facts(
        snapshot=msgspec.structs.replace(snapshot, unread=untold | dict(snapshot.unread)),
        no_roots="a report has none",
        importers=snapshot.importers,
        remote=asked.remote,
    )


async def _of_cluster(client: Client, source: str, where: Where, asked: Asked) -> tuple[Facts, Roots | None]:
    began = time.monotonic()
    remotes = {asked.remote} - {""}
    asked_for = await proofs(client, source, where.namespace, remotes, seconds=SECONDS) if asked.probe else {}
    snapshot = await read(client, source, where.namespace, BEFORE if asked.before else ALL)

    # What decides takes a moment to load, which a cluster that does not answer need not wait for.
    from meshfed.views.checks import Facts
    from meshfed.views.checks.facts import account, control_plane

    snapshot, mesh_config_map = await _with_istio(client, snapshot, before=asked.before)
    roots, no_roots = await _roots(client, snapshot, before=asked.before)
    access, own = await _reviews(client, snapshot, control_plane(snapshot), before=asked.before)
    importers = None if asked.before else await _importers(client, snapshot, began if asked.probe else None)
    plan = None
    if not asked.before and not snapshot.unread.keys() & {one.kind for one in (*OURS, *SURROUNDINGS)}:
        from meshfed.views.exports import planned

        plan, _ = planned(snapshot, mesh_config_map=mesh_config_map, account=account(snapshot))
    facts = Facts(
        snapshot=snapshot,
        plan=plan,
        access=access,
        own=own,
        roots=_ends(roots) if roots is not None else (),
        no_roots=no_roots,
        proofs=asked_for,
        importers=importers,
        before=asked.before,
        remote=asked.remote,
    )
    return facts, roots


async def _importers(client: Client, snapshot: Snapshot, asked_at: float | None) -> ImportersSeen:
    """Return what the replicas know of importers; those that were asked for it may take a moment to answer."""
    from meshfed.cli.importers import of_cluster

    found = await of_cluster(client, snapshot, ())
    for _ in range(_ANSWERS if asked_at is not None else 0):
        passed = time.monotonic() - (asked_at or 0.0)
        saying = [one for one in found.remotes.values() if one.says]
        if all(one.echo is not None and one.echo.ago <= passed for one in saying):
            break
        await asyncio.sleep(_ANSWER_SECONDS)
        found = await of_cluster(client, snapshot, ())
    return found


async def _with_istio(client: Client, snapshot: Snapshot, *, before: bool) -> tuple[Snapshot, str]:
    """Add what is read by name, and return with it the name of the ConfigMap with Istio's configuration."""
    from meshfed.kube import Resource, discover
    from meshfed.views.checks.cluster import CRD_NAMES, ISTIO
    from meshfed.views.checks.configuration import shared_config
    from meshfed.views.checks.facts import control_plane, flag
    from meshfed.views.checks.istio import revisions

    unread, place = dict(snapshot.unread), control_plane(snapshot)
    crds = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
    objects = await _named(client, crds, CRD_NAMES, None, unread)
    deployments = await _istiods(client, place, unread)
    stated = flag(snapshot, "--mesh-config", "")
    names = {stated or MESH_CONFIG} | {
        f"{MESH_CONFIG}-{one}" for one in revisions(deployments) if one != "default" and not stated
    }
    config_maps = Resource("", "v1", "configmaps", "ConfigMap")
    read = await _named(client, config_maps, sorted(names | {shared_config(deployments)} - {""}), place, unread)
    objects += [*deployments, *read]
    if before:
        served = await discover(client)
        unread |= {kind: f"the cluster does not serve {kind}" for group, kind in ISTIO if not served.find(group, kind)}
    found = next((name for one in read if (name := one["metadata"]["name"]) in names), MESH_CONFIG)
    return msgspec.structs.replace(snapshot, objects=(*snapshot.objects, *objects), unread=unread), found


async def _istiods(client: Client, place: str, unread: dict[str, str]) -> list[Document]:
    from meshfed.kube import Forbidden, Resource

    try:
        resource = Resource("apps", "v1", "deployments", "Deployment")
        found = await client.list(resource, namespace=place, label_selector="app=istiod")
        return [as_object(one, resource) for one in found]
    except Forbidden:
        unread["Deployment"] = f"you may not list deployments.apps in namespace {place}"
        return []


async def _named(
    client: Client, resource: Resource, names: Iterable[str], place: str | None, unread: dict[str, str]
) -> list[Document]:
    """Return the objects of these names that there are; of what may not be read ``unread`` says so."""
    from meshfed.kube import Forbidden, NotFound

    found = []
    for name in names:
        try:
            found.append(as_object(await client.get(resource, name, namespace=place), resource, name))
        except NotFound:
            continue
        except Forbidden:
            unread[resource.kind] = f"you may not get {resource} {name}" + (f" in namespace {place}" if place else "")
    return found


# --- whom this mesh trusts


async def _roots(client: Client, snapshot: Snapshot, *, before: bool) -> tuple[Roots | None, str]:
    """Return the roots that this mesh trusts, or why they are not known."""
    from meshfed.kube import Resource
    from meshfed.probe import Roots
    from meshfed.views.checks.facts import control_plane, flag

    name = flag(snapshot, "--trust-bundle", TRUST_BUNDLE)
    place = control_plane(snapshot) if before else snapshot.namespace
    unread: dict[str, str] = {}
    found = await _named(client, Resource("", "v1", "configmaps", "ConfigMap"), [name], place, unread)
    if not found:
        return None, unread.get("ConfigMap", f"there is no ConfigMap {place}/{name}, in which istiod puts them")
    try:
        return Roots("\n".join(map(str, (found[0].get("data") or {}).values()))), ""
    except ValueError as error:
        return None, f"ConfigMap {place}/{name}: {error}"


def _ends(roots: Roots) -> tuple[Root, ...]:
    from meshfed.views.checks import Root

    certificates = zip(roots.context.get_ca_certs(), roots.context.get_ca_certs(binary_form=True), strict=True)
    return tuple(
        Root(
            subject=_name(one.get("subject", ())),
            ends=datetime.fromtimestamp(ssl.cert_time_to_seconds(str(one["notAfter"])), UTC),
            sha256=hashlib.sha256(der).hexdigest(),
        )
        for one, der in certificates
    )


def _name(subject: Any) -> str:
    """Return the name of a certificate: what it is commonly called, else the organization."""
    parts = dict(pair for part in subject for pair in part)
    return str(parts.get("commonName") or parts.get("organizationName") or "a root without a name")


# --- who may do what


async def _reviews(
    client: Client, snapshot: Snapshot, istio_namespace: str, *, before: bool
) -> tuple[Mapping[Need, Reviewed], Mapping[Need, Reviewed]]:
    """Ask what the controller may do, or before an installation what whoever runs this may."""
    from meshfed.api.documents import decode_documents
    from meshfed.cli.manifests import controller_yaml
    from meshfed.views.checks.access import of_controller, of_installer
    from meshfed.views.checks.facts import account

    text = controller_yaml(snapshot.mesh, snapshot.namespace, istio_namespace, "meshfed")
    manifests = decode_documents(text, "meshfed manifests")
    if before:
        return {}, await _ask_each(client, "SelfSubjectAccessReview", of_installer(manifests), {})
    who = account(snapshot)
    if who is None:
        return {}, {}
    namespace, name = who
    user = {
        "user": f"system:serviceaccount:{namespace}:{name}",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
    }
    return await _ask_each(client, "SubjectAccessReview", of_controller(snapshot, manifests), user), {}


async def _ask_each(
    client: Client, kind: str, needs: Sequence[Need], who: Mapping[str, Any]
) -> Mapping[Need, Reviewed]:
    from meshfed.kube import Forbidden, Resource
    from meshfed.views.checks import Reviewed

    resource = Resource("authorization.k8s.io", "v1", f"{kind.lower()}s", kind, namespaced=False)

    async def allowed(need: Need) -> Reviewed:
        name, _, subresource = need.resource.partition("/")
        attributes = {
            "group": need.group,
            "resource": name,
            "subresource": subresource,
            "verb": need.verb,
            "namespace": need.namespace,
            "name": need.name,
        }
        review = {"apiVersion": resource.api_version, "kind": kind, "metadata": {}}
        try:
            answer = await client.create(resource, review | {"spec": {**who, "resourceAttributes": attributes}})
        except Forbidden:
            return Reviewed(None, f"you may not create {resource}, by which that is asked")
        return Reviewed(bool((answer.get("status") or {}).get("allowed")))

    if not needs:
        return {}
    # Whoever may not ask once may not ask at all.
    first = await allowed(needs[0])
    rest = await asyncio.gather(*map(allowed, needs[1:])) if first.allowed is not None else [first] * (len(needs) - 1)
    return dict(zip(needs, [first, *rest], strict=True))


# --- what answers from here


async def tried_from_here(client: Client, snapshot: Snapshot, remote: str) -> Facts:
    """Shake hands with a remote's gateway from where this runs; a controller is not asked to."""
    from meshfed.views.checks import Facts

    roots, no_roots = await _roots(client, snapshot, before=False)
    ends = _ends(roots) if roots is not None else ()
    facts = Facts(snapshot=snapshot, roots=ends, no_roots=no_roots, remote=remote)
    return await _with_handshakes(facts, roots, Asked(remote=remote, probe=True))


async def _with_handshakes(facts: Facts, roots: Roots | None, asked: Asked) -> Facts:
    from meshfed.model.probes import ways
    from meshfed.probe import Names, attempt
    from meshfed.views.checks.facts import way_of

    if not asked.probe:
        return facts
    if roots is None:
        return msgspec.structs.replace(facts, findings={})
    probes = [way_of(remote) for remote in facts.remotes]
    wanted = sorted({way for probe in probes if probe is not None for way in ways(probe)})
    names, free = Names(), asyncio.Semaphore(_AT_ONCE)

    async def tried(way: Any) -> Any:
        async with free:
            return await attempt(way, roots, names)

    found = await asyncio.gather(*map(tried, wanted))
    snapshot = msgspec.structs.replace(facts.snapshot, taken=now(facts.snapshot.server))  # certificates end meanwhile
    return msgspec.structs.replace(facts, snapshot=snapshot, findings=dict(zip(wanted, found, strict=True)))

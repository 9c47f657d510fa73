"""From another mesh's card to the RemoteMesh for it: what stands in the way, what to think about, how it comes along.

What stands in the way is decided by the plan, as the controller decides it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from meshfed.api.documents import encode_document
from meshfed.api.times import parse_time
from meshfed.api.v1alpha1 import API_VERSION, ImportPolicy, RemoteMesh
from meshfed.model.installation import MESH_CONFIG
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import ConditionType, Reason
from meshfed.plan import meshes
from meshfed.plan.values import Place
from meshfed.views.cards import MeshCard, as_spec
from meshfed.views.exports import planned
from meshfed.views.snapshot import Document, Snapshot, find

_IN_THE_WAY: Final = frozenset({Reason.NAME_CONFLICT, Reason.NO_MESH_FEDERATION})
_SOON: Final = timedelta(days=30)
_LAST: Final = "9999-12-31T23:59:59Z"
"""Since when there is a RemoteMesh that is yet to be made: all others are older."""


class DriftView(msgspec.Struct, frozen=True, rename="camel"):
    """A field in which a RemoteMesh, ``here``, is not as its mesh's ``card`` says."""

    mesh: str
    remote: str
    field: str
    card: str
    here: str


# --- the RemoteMesh


def remote_mesh(card: MeshCard, namespace: str, before: RemoteMesh | None, imports: ImportPolicy | None) -> Document:
    """Return the whole RemoteMesh: what the card states, ``imports`` if anything, and the rest as it was ``before``.

    What is the API's default is left out, but for what the card states.
    """
    stated = as_spec(card)
    kept: dict[str, Any] = {}
    if before is not None:
        kept = _plain(msgspec.structs.replace(before.spec, import_=None))
        stated["discovery"] = kept.get("discovery", {}) | stated["discovery"]
    spec = {**stated, **{name: value for name, value in kept.items() if name not in stated}}
    if imports is not None:
        spec["import"] = _plain(imports)
    return _manifest(card.name, namespace, spec)


def imported(before: RemoteMesh | None, *, wanted: bool | None, merge: bool) -> ImportPolicy | None:
    """Return what is imported: as it is in the RemoteMesh that there is, everything in a new one, unless ``wanted``
    says otherwise.
    """
    now = before.spec.import_ if before is not None else ImportPolicy()
    if wanted is False or (wanted is None and not merge and now is None):
        return None
    policy = now or ImportPolicy()
    return msgspec.structs.replace(policy, merge=True) if merge else policy


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain


def to_apply(whole: Document, card: MeshCard) -> Document:
    """Return what of the RemoteMesh is applied: who applies it has no say in the rest."""
    stated = {**as_spec(card), "import": None}
    spec = {name: value for name, value in whole["spec"].items() if name in stated}
    return _manifest(card.name, whole["metadata"]["namespace"], spec | {"discovery": stated["discovery"]})


def _manifest(name: str, namespace: str, spec: dict[str, Any]) -> Document:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "RemoteMesh", "metadata": metadata, "spec": spec}


_TO_THINK_ABOUT: Final = {
    "  addresses:": ("Where its gateway answers. This cluster's pods have to reach it; a firewall may be in the way.",),
    "  identity:": (
        "Who its controller is. Whoever has this identity is told what this mesh exports: be sure that the card came",
        "from the owner of that mesh, and was not changed on its way.",
    ),
    "  import:": (
        "What is taken from it. Without `rules`, every host that it offers and that this mesh has not, up to `limit`.",
        "With `merge: true` it also serves hosts that this mesh has. Without `import`, nothing is taken: it only hears",
        "what this mesh exports.",
    ),
}
_NO_IMPORT: Final = "There is no `import`, so nothing is taken from it: it only hears what this mesh exports."


def commented(manifest: Document, card: MeshCard) -> str:
    """Return a RemoteMesh as YAML, with what to think about before it is committed."""
    lines = [f"# From the card of {card.name}."]
    lines += [
        f"# It trusts the root with the SHA-256 {root.sha256}, valid until {root.not_after}." for root in card.roots
    ]
    for line in encode_document(manifest).splitlines():
        start = next((start for start in _TO_THINK_ABOUT if line.startswith(start)), "")
        lines += [f"  # {text}" for text in _TO_THINK_ABOUT.get(start, ())]
        lines.append(line)
    if "import" not in manifest["spec"]:
        lines.append(f"  # {_NO_IMPORT}")
    return "\n".join(lines)


# --- what stands in the way


def obstacles(
    snapshot: Snapshot, manifest: Document, *, account: Place | None, mesh_config_map: str = MESH_CONFIG
) -> tuple[str, ...]:
    """Return why nothing would come of a RemoteMesh, each as ``Reason: message``; empty where nothing is in the way.

    ``account`` is that of this mesh's controller; without one, it is not compared with the remote's.
    """
    name = manifest["metadata"]["name"]
    before = find_remote(snapshot, name)
    created = before["metadata"].get("creationTimestamp", _LAST) if before is not None else _LAST
    given = manifest | {"metadata": manifest["metadata"] | {"creationTimestamp": created}}
    others = tuple(one for one in snapshot.objects if one is not before)
    plan, _ = planned(
        msgspec.structs.replace(snapshot, objects=(*others, given)),
        mesh_config_map=mesh_config_map,
        account=account or (snapshot.namespace, ""),
    )
    status = next(one for one in plan.statuses if one.kind == "RemoteMesh" and one.name == name)
    return tuple(
        f"{one.reason}: {one.message}"
        for one in status.conditions
        if (one.type is ConditionType.READY and one.reason in _IN_THE_WAY)
        or (one.type is ConditionType.IDENTITY_UNIQUE and one.status == "False")
    )


def find_remote(snapshot: Snapshot, name: str) -> Document | None:
    """Return the RemoteMesh of that name, as it came."""
    return next(
        (
            one
            for one in snapshot.of_kind("RemoteMesh")
            if one["metadata"].get("name") == name
            and one["metadata"].get("namespace", snapshot.namespace) == snapshot.namespace
        ),
        None,
    )


# --- what to think about


def concerns(
    card: MeshCard, mesh: LocalMesh, trusted: Sequence[str] | None, now: datetime, *, merge: bool
) -> tuple[str, ...]:
    """Return what of a card may keep calls from being accepted, and what to do about it.

    ``trusted`` has the SHA-256 of each root that this mesh trusts; ``None`` where that is not known.
    """
    return (*_of_roots(card, trusted, now), *_of_trust_domains(card, mesh, merge=merge))


def _of_roots(card: MeshCard, trusted: Sequence[str] | None, now: datetime) -> Iterator[str]:
    theirs = {root.sha256: root.not_after for root in card.roots}
    if not theirs:
        yield "roots are not compared: the card has none"
    elif trusted is None:
        yield "roots are not compared: those of this mesh cannot be read; name their ConfigMap by --trust-bundle"
    elif not theirs.keys() & set(trusted):
        yield (
            f"no root is common: {card.name} trusts {_shortened(theirs)}, this mesh {_shortened(trusted)}. Until both "
            "trust a root of the other, no call between them is accepted: sign both meshes by one root, or have each "
            "mesh trust the other's bundle (SPIFFE federation); and compare the fingerprints by another way than the "
            "card's"
        )
    for sha256, until in theirs.items():
        if trusted is not None and sha256 not in trusted:
            continue
        left = _until(until) - now
        if left <= timedelta(0):
            yield f"its root {sha256[:16]}... expired at {until}: it has to be renewed"
        elif left <= _SOON:
            yield f"its root {sha256[:16]}... expires at {until}, in {left.days} days: it has to be renewed"


def _until(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:  # of the right form, and no time
        return parse_time("1970-01-01T00:00:00Z")


def _shortened(fingerprints: Any) -> str:
    found = sorted(fingerprints)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (", ".join(f"{one[:16]}..." for one in found[:3]) or "none") + more


def _of_trust_domains(card: MeshCard, mesh: LocalMesh, *, merge: bool) -> Iterator[str]:
    ours = set(mesh.trust_domains)
    if card.trust_domain not in ours:
        yield (
            f"its trust domain is {card.trust_domain}, and this mesh's {' or '.join(mesh.trust_domains)}: sidecars "
            "refuse callers of another trust domain unless istiod of their mesh has PILOT_SKIP_VALIDATE_TRUST_DOMAIN, "
            "in both meshes"
            + (f". Aliases of this mesh's are not known: {mesh.config.unread}" if mesh.config.unread else "")
        )
        if merge:
            yield (
                f"`merge` joins no host that this mesh has with one of trust domain {card.trust_domain}: the accounts "
                "of a local Service are of this mesh's trust domain (IdentityMismatch)"
            )
    if shared := sorted(ours & set(card.trust_domain_aliases) - {card.trust_domain}):
        yield (
            f"it takes identities of {', '.join(shared)} for its own (`trustDomainAliases`): its policies do not tell "
            "this mesh's callers from its own"
        )


# --- drift


def drift(card: MeshCard, remote: RemoteMesh, mesh: str) -> tuple[DriftView, ...]:
    """Return in which fields a RemoteMesh is not as the card says; addresses are compared with the port of each."""
    wanted = msgspec.convert(_manifest(card.name, remote.metadata.namespace, as_spec(card)), RemoteMesh)
    pairs = zip(_compared(wanted), _compared(remote), strict=True)
    return tuple(DriftView(mesh, card.name, field, said, here) for (field, said), (_, here) in pairs if said != here)


def effects(manifest: Document, before: RemoteMesh | None) -> tuple[str, ...]:
    """Return what applying a whole RemoteMesh sets that is not so ``before``, field by field, in words."""
    wanted = msgspec.convert(manifest, RemoteMesh)
    after = {**dict(_compared(wanted)), "import": _imports(wanted)}
    was = {**dict(_compared(before)), "import": _imports(before)} if before is not None else {}
    return tuple(
        f"{field}: {value}" if before is None else f"{field}: from {was[field]} to {value}"
        for field, value in after.items()
        if was.get(field) != value
    )


def _imports(remote: RemoteMesh) -> str:
    """Return what is imported from a remote, on one line."""
    policy = remote.spec.import_
    return "nothing" if policy is None else msgspec.json.encode(_plain(policy)).decode()


def _compared(remote: RemoteMesh) -> Iterator[tuple[str, str]]:
    found = meshes.remote(remote)
    yield "network", found.network
    yield "addresses", ",".join(sorted(map(str, found.addresses)))
    yield "ingressType", found.ingress_type
    yield "trustDomain", found.trust_domain
    yield "clusterDomain", found.cluster_domain
    yield "identity", str(found.identity)
    yield "discovery.namespace", found.discovery_namespace
    yield "discovery.port", str(found.discovery_port)


# --- how it comes along


class Standing(msgspec.Struct, frozen=True):
    """How far a RemoteMesh is: ``done``, or what is waited for, in words."""

    done: bool
    said: str


def standing(remote: RemoteMesh) -> Standing:
    """Return whether a RemoteMesh is ready and reached, by its conditions, or which of them says that it is not.

    Where nothing is imported, or `discovery.address` leads past the gateway, no way is proven, and Ready is enough.
    """
    status = remote.status
    ready, reachable = find(status.conditions, ConditionType.READY), find(status.conditions, ConditionType.REACHABLE)
    if ready is None or status.observed_generation < remote.metadata.generation:
        return Standing(False, "no controller has looked at it yet")
    if ready.status != "True":
        return Standing(False, f"Ready {ready.status} {ready.reason}: {ready.message}")
    if remote.spec.import_ is None or remote.spec.discovery.address is not None:
        return Standing(True, f"Ready: {ready.message}")
    if reachable is None:
        return Standing(False, "Ready, and the way to it is not proven yet")
    if reachable.status != "True":
        return Standing(False, f"Reachable {reachable.status} {reachable.reason}: {reachable.message}")
    return Standing(True, f"Ready and Reachable: {reachable.message}")

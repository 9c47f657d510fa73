"""The objects that carry each imported host, and what DNS says of the remotes' addresses, which some of them need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sys import intern
from typing import Final

import msgspec

from meshfed import istio
from meshfed.derive import Derived, Graph, Index, Input, Unknown
from meshfed.federation.merging import Merged
from meshfed.model.imports import Import
from meshfed.model.meshes import LocalMesh, is_ip
from meshfed.model.reasons import Decision
from meshfed.plan.keys import ImportKey, Mark
from meshfed.plan.values import THIS, Outputs

MAX_ADDRESSES: Final = 64
"""The most IPs of one name that are used, as many as a RemoteMesh may list by itself."""


class HostOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a host: its objects as ``Kind namespace/name``, and who serves it and cannot be reached."""

    objects: tuple[str, ...] = ()
    unresolved: frozenset[str] = frozenset()
    """Remotes that serve the host and have no endpoint yet, for want of an address."""


_NOTHING: Final = HostOutcome()


class ImportObjects:
    """Renders a host when somebody writes it, and remembers its objects by name. ``told`` hears where they change."""

    def __init__(
        self,
        graph: Graph,
        mark: Mark,
        *,
        meshes: Input[str, LocalMesh],
        merged: Derived[str, Merged],
        told: Callable[[str], None],
    ) -> None:
        self._mark = mark
        self._meshes = meshes
        self._merged = merged
        self._told = told
        self._needing = Index(graph, "hosts that need the addresses of", merged, _names, perhaps=lambda _: ())
        self._resolved: dict[str, tuple[str, ...]] = {}
        self._outcomes: dict[str, HostOutcome] = {}

    def resolution_changed(self, host_name: str, addresses: tuple[str, ...]) -> None:
        """Take in an answer of DNS; no answer keeps the last one."""
        answers = tuple(sorted(set(addresses)))[:MAX_ADDRESSES]
        if answers and answers != self._resolved.get(host_name):
            self._resolved[host_name] = answers
            for host in self._needing.members(host_name):
                self._mark(ImportKey(host), host_name)

    def names_to_resolve(self) -> frozenset[str]:
        """Return the host names of remotes that some WorkloadEntry needs the IPs of."""
        return frozenset(self._needing.known_keys())

    def outcome(self, host: str) -> HostOutcome:
        """Return what became of a host when it was worked out last."""
        return self._outcomes.get(host, _NOTHING)

    def reconcile(self, host: str) -> Outputs | None:
        """Return the objects that carry a host, ``None`` where that is unknown; and keep what became of it."""
        merged, mesh = self._merged.get(host), self._meshes.get(THIS)
        if isinstance(merged, Unknown):
            return None
        objects: list[istio.Manifest] = []
        outcome, carried = _NOTHING, None
        if merged is not None and merged.imported is not None and isinstance(mesh, LocalMesh):
            objects = self._render(mesh, merged.imported)
            outcome = HostOutcome(tuple(map(_reference, objects)), self._unresolved(merged.imported))
            carried = _without(merged.imported, outcome.unresolved) if objects else None
        if outcome != self._outcomes.get(host, _NOTHING):
            if outcome == _NOTHING:
                del self._outcomes[host]
            else:
                self._outcomes[host] = outcome
            self._told(host)
        return Outputs(objects=tuple(objects), imported=carried)

    def _render(self, mesh: LocalMesh, imported: Import) -> list[istio.Manifest]:
        rule = istio.import_rule(mesh, imported)
        if imported.local is None:
            objects = [istio.import_entry(mesh, imported)]
        else:
            entries = istio.workload_entries(mesh, imported, imported.local, self._resolved)
            objects = entries if not isinstance(entries, Decision) else []
        return [*objects, rule] if rule is not None and objects else objects

    def _unresolved(self, imported: Import) -> frozenset[str]:
        # An address of a ServiceEntry is resolved by whoever calls.
        unresolved = frozenset(
            backend.remote.name
            for backend in imported.backends
            if not any(
                imported.local is None or is_ip(address.host) or address.host in self._resolved
                for address in backend.remote.addresses
            )
        )
        return unresolved or _NOTHING.unresolved


def _names(_host: str, merged: Merged) -> Iterable[str]:
    """Return the host names of remotes that WorkloadEntries need the IPs of."""
    imported = merged.imported
    if imported is None or imported.local is None:
        return ()
    hosts = (address.host for backend in imported.backends for address in backend.remote.addresses)
    return {host for host in hosts if not is_ip(host)}


def _without(imported: Import, remotes: frozenset[str]) -> Import:
    if not remotes:
        return imported
    backends = tuple(one for one in imported.backends if one.remote.name not in remotes)
    return msgspec.structs.replace(imported, backends=backends)


def _reference(manifest: istio.Manifest) -> str:
    meta = manifest["metadata"]
    return intern(f"{manifest['kind']} {meta['namespace']}/{meta['name']}")  # as the status says it

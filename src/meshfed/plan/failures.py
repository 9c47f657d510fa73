"""What could not be put in place, or is not reached, and who is told of it.

It is derived, since a status changes with every verdict.

A status says how many failed, names the first few and quotes one of them. Where a webhook refuses thousands of objects,
sorting them all for each would take as long as all of them together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from meshfed.api.v1alpha1 import FederatedService
from meshfed.derive import Context, Derived, Graph, Index, Input
from meshfed.federation.merging import Merged
from meshfed.model.reasons import Reason
from meshfed.plan.claims import Listed
from meshfed.plan.keys import ExportKey, ImportKey, OfferKey
from meshfed.plan.values import Applied, FailedWrites

Record: TypeAlias = tuple[str, str]
"""The FederatedService for what a remote offers, by that one's name and the host."""
Subject: TypeAlias = ExportKey | ImportKey | OfferKey | Record
Group: TypeAlias = tuple[Literal["exports", "imports", "records", "gateways", "ways"], str]
"""What one status tells of: of what, and the remote whose status it is; of exports that of this mesh tells.

Ways into a remote that end at the address of its gateway, by which nobody gets there, are apart from those that end
behind it.
"""
_AT_THE_GATEWAY = frozenset({Reason.NAME_NOT_RESOLVED, Reason.GATEWAY_NOT_REACHED})


class Failures:
    """Exports, imports and FederatedServices that could not be written, and imports whose way there is broken.

    ``imports`` says who serves a host.
    """

    def __init__(self, graph: Graph, imports: Derived[str, Merged], offers: Input[str, FederatedService]) -> None:
        self._imports = imports
        self._offers = offers
        self._verdicts = Input[Subject, Applied](graph, "the failure of")
        told = Derived[Subject, tuple[Group, ...]](graph, "who is told of", self._told, over=[self._verdicts])
        self._by_group = Index(graph, "what failed for", told, _groups, perhaps=lambda _: ())

    def change(self, subject: Subject, applied: Applied | None) -> None:
        """Take in the verdict on ``subject``, ``None`` where there is none any more."""
        failed = applied is not None and applied.state == "failed"
        if failed or self._verdicts.has(subject):
            self._verdicts.put(subject, applied if failed else None)

    def _told(self, context: Context, subject: Subject) -> tuple[Group, ...] | None:
        """Return whose status tells of a failure."""
        verdict = context.get(self._verdicts, subject)
        if verdict is None:
            return None
        match subject:
            case ExportKey():
                return (("exports", ""),)
            case ImportKey(host=host):
                merged = context.get(self._imports, host)
                imported = merged.imported if merged is not None else None
                return (
                    tuple(("imports", one.remote.name) for one in imported.backends) if imported is not None else None
                )
            case OfferKey(name=name):
                offer = context.get(self._offers, name)
                if offer is None:
                    return None
                return (("gateways" if verdict.reason in _AT_THE_GATEWAY else "ways", offer.spec.remote),)
            case remote, _:
                return (("records", remote),)

    def of(self, context: Context, group: Group) -> FailedWrites | None:
        """Return what failed of all that one status tells of."""
        subjects = context.members(self._by_group, group)
        first = context.get(self._verdicts, subjects[0]) if subjects else None
        return FailedWrites(Listed(subjects, _name), first) if first is not None else None


def _groups(_subject: Subject, groups: tuple[Group, ...]) -> Iterable[Group]:
    return groups


def _name(subject: Subject) -> str:
    match subject:
        case ExportKey(namespace=namespace, name=name):
            return f"{namespace}/{name}"
        case ImportKey(host=host):
            return host
        case OfferKey(name=name):
            return name
        case _, host:
            return host

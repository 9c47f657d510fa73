"""Workloads: what of a Pod, or of a WorkloadEntry that is not ours, matters to a federation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Workload(msgspec.Struct, frozen=True, weakref=True):
    """A Pod or a WorkloadEntry without its name: those of one Deployment are equal, and are kept once.

    ``labels`` are sorted. ``account`` is its service account, empty where none is stated. ``in_mesh``: whether it takes
    Istio's mTLS, so that a gateway can reach it by SNI. ``ready``: whether it takes requests. ``ports`` are those that
    have names, sorted. ``is_entry``: whether it is a WorkloadEntry.
    """

    labels: tuple[tuple[str, str], ...] = ()
    account: str = ""
    in_mesh: bool = False
    ready: bool = False
    ports: tuple[tuple[str, int], ...] = ()
    is_entry: bool = False

    def has(self, selector: Mapping[str, str]) -> bool:
        """Whether it carries every label of ``selector``."""
        return selector.items() <= dict(self.labels).items()


class Located(msgspec.Struct, frozen=True, gc=False):
    """A workload that is not alone in being like this, and its IP; empty where it has none, or that does not matter."""

    workload: Workload
    address: str = ""


class Serving(msgspec.Struct, frozen=True):
    """What is behind a Service: the accounts of those in the mesh, and whether there are any in it, or outside it.

    Where there may be more than anybody knows, these may be in the mesh, and no account is stated.
    """

    accounts: frozenset[str] = frozenset()
    in_mesh: bool = False
    outside: bool = False

    @classmethod
    def of(cls, workloads: Iterable[Workload], *, all_known: bool = True) -> Serving:
        """Return what these are, together; ``all_known``: there are no others."""
        found = tuple(workloads)
        return cls(
            accounts=frozenset(one.account for one in found if one.in_mesh) if all_known else frozenset(),
            in_mesh=not all_known or any(one.in_mesh for one in found),
            outside=any(not one.in_mesh for one in found),
        )

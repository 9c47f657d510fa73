"""Hosts over all meshes that were read: who serves each, who uses it, and what became of that; the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from meshfed.views.exports import ExportView, is_nobodys
from meshfed.views.imports import GOOD, ORDER, ImportState, ImportView

OFFERED: Final = "Offered"
"""It is exported, and no mesh that was read imports it."""
NOT_EXPORTED: Final = "NotExported"
"""Somebody may expect that it is exported, and it is not."""
STATES: Final = (
    *(str(one) for one in ImportState if one not in GOOD),
    NOT_EXPORTED,
    *(str(one) for one in ImportState if one in GOOD),
    OFFERED,
)
"""What may become of a host, the worst first."""
_RANK: Final = {state: position for position, state in enumerate(STATES)}
_DOMAIN: Final = ".svc."


class HostUse(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a host in one mesh to which it is offered, as `ImportView` says it."""

    mesh: str
    state: ImportState
    reachable: str
    imported_as: str
    reason: str
    message: str
    since: str


class HostView(msgspec.Struct, frozen=True, rename="camel"):
    """One host of one exporter. ``state`` is the worst of what became of it, ``reason`` and ``message`` say why.

    ``service`` is the exporter's, as ``namespace/name``, and ``to`` the remotes that may see it, ``None`` for all; both
    only where the exporter was read. ``namespace`` is the exporter's, as far as the host says it.
    """

    host: str
    exporter: str
    namespace: str
    state: str
    reason: str
    message: str
    since: str
    service: str = ""
    to: tuple[str, ...] | None = None
    used_by: tuple[HostUse, ...] = ()


class HostGroup(msgspec.Struct, frozen=True, rename="camel"):
    """The hosts of one namespace of one exporter: how many of each state."""

    exporter: str
    namespace: str
    total: int
    states: dict[str, int]


class HostPage(msgspec.Struct, frozen=True, rename="camel"):
    """Some of the hosts: those that were asked for, ``items`` from ``start`` on, of ``total``.

    ``all`` counts all hosts; ``states`` those that the other words ask for, by state; ``groups`` are of all that were
    asked for, the worst first.
    """

    items: tuple[HostView, ...]
    start: int
    total: int
    all: int
    states: dict[str, int]
    groups: tuple[HostGroup, ...]
    notes: tuple[str, ...] = ()


class HostQuery(msgspec.Struct, frozen=True):
    """Which hosts are asked for. ``words`` each have to be in the host, Service, namespace, mesh or reason."""

    words: tuple[str, ...] = ()
    state: str = ""
    mesh: str = ""
    """That serves it, or to which it is offered."""
    namespace: str = ""


def hosts(imports: Iterable[ImportView], exports: Iterable[ExportView]) -> tuple[HostView, ...]:
    """Return every host that is offered, or that somebody may expect to be, the worst first, then by host."""
    used: dict[tuple[str, str], list[ImportView]] = {}
    for one in imports:
        used.setdefault((one.remote, one.host), []).append(one)
    found = []
    for export in exports:
        if export.exported:
            found.append(_exported(export, used.pop((export.mesh, export.host), [])))
        elif not is_nobodys(export):
            found.append(_not_exported(export))
    found += [_offered(exporter, host, given) for (exporter, host), given in used.items()]
    return tuple(sorted(found, key=lambda one: (_RANK[one.state], one.host, one.exporter)))


def _exported(export: ExportView, used: Sequence[ImportView]) -> HostView:
    view = HostView(
        host=export.host,
        exporter=export.mesh,
        namespace=export.namespace,
        state=OFFERED,
        reason=export.reason,
        message="no mesh that was read imports it",
        since="",
        service=f"{export.namespace}/{export.name}",
        to=export.to,
    )
    return _with_uses(view, used) if used else view


def _not_exported(export: ExportView) -> HostView:
    return HostView(
        host=export.host or f"{export.name}.{export.namespace}",
        exporter=export.mesh,
        namespace=export.namespace,
        state=NOT_EXPORTED,
        reason=export.reason,
        message=export.message,
        since="",
        service=f"{export.namespace}/{export.name}",
        to=(),
    )


def _offered(exporter: str, host: str, used: Sequence[ImportView]) -> HostView:
    labels, domain, _ = host.partition(_DOMAIN)
    namespace = labels.rpartition(".")[2] if domain else ""
    return _with_uses(HostView(host, exporter, namespace, "", "", "", ""), used)


def _with_uses(view: HostView, used: Sequence[ImportView]) -> HostView:
    ordered = sorted(used, key=lambda one: (ORDER[one.state], one.mesh))
    worst = ordered[0]
    return msgspec.structs.replace(
        view,
        state=str(worst.state),
        reason=worst.reason,
        message=worst.message,
        since=worst.since,
        used_by=tuple(
            HostUse(one.mesh, one.state, one.reachable, one.imported_as, one.reason, one.message, one.since)
            for one in ordered
        ),
    )


def page(
    found: Sequence[HostView], query: HostQuery, *, start: int, size: int, notes: tuple[str, ...] = ()
) -> HostPage:
    """Return the hosts that are asked for, ``size`` of them from ``start`` on."""
    words = tuple(word.lower() for word in query.words)
    asked = [one for one in found if _is_asked(one, query) and _has(one, words)]
    states: dict[str, int] = {}
    for one in asked:
        states[one.state] = states.get(one.state, 0) + 1
    shown = [one for one in asked if not query.state or one.state == query.state]
    start = max(0, min(start, (len(shown) - 1) // size * size)) if shown else 0
    return HostPage(
        items=tuple(shown[start : start + size]),
        start=start,
        total=len(shown),
        all=len(found),
        states=_ordered(states),
        groups=tuple(_groups(shown)),
        notes=notes,
    )


def _is_asked(one: HostView, query: HostQuery) -> bool:
    if query.namespace and one.namespace != query.namespace:
        return False
    return not query.mesh or query.mesh == one.exporter or any(query.mesh == use.mesh for use in one.used_by)


def _has(one: HostView, words: Sequence[str]) -> bool:
    if not words:
        return True
    users = (word for use in one.used_by for word in (use.mesh, use.imported_as, use.reason))
    text = " ".join((one.host, one.service, one.exporter, one.state, one.reason, *users)).lower()
    return all(word in text for word in words)


def _ordered(states: dict[str, int]) -> dict[str, int]:
    return {state: states[state] for state in STATES if state in states}


def _groups(shown: Iterable[HostView]) -> Iterator[HostGroup]:
    counted: dict[tuple[str, str], dict[str, int]] = {}
    for one in shown:
        states = counted.setdefault((one.exporter, one.namespace), {})
        states[one.state] = states.get(one.state, 0) + 1
    found = [
        HostGroup(
            exporter, namespace, sum(states.values()), {state: states[state] for state in STATES if state in states}
        )
        for (exporter, namespace), states in counted.items()
    ]
    yield from sorted(found, key=lambda one: (min(map(_RANK.__getitem__, one.states)), one.exporter, one.namespace))

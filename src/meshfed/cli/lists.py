"""``meshfed exports``, ``imports`` and ``remotes``: what is offered, what became of what others offer, who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from meshfed.cli.clusters import Where, look
from meshfed.cli.exits import Exit, NotHeld
from meshfed.cli.kinds import EVENTS, OURS, SURROUNDINGS
from meshfed.cli.output import How, Listing, TableColumn, follow, say, several
from meshfed.model.installation import MESH_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfed.model.offers import Port
    from meshfed.views.exports import ExportView
    from meshfed.views.imports import ImportView
    from meshfed.views.remotes import RemoteView
    from meshfed.views.snapshot import Snapshot, Unreached

_NO_MATCH: Final = "no {} matches these flags; without them, everything is listed"


def imports(
    name: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    remote: str | None = None,
    selector: Annotated[str | None, Parameter(name=["--selector", "-l"])] = None,
    problems: Annotated[bool, Parameter(show_default=False)] = False,
    where: Where = Where(),  # noqa: B008 - immutable
    how: How = How(),  # noqa: B008 - immutable
) -> int:
    """List what remote meshes offer, and what became of each offer here; the worst first.

    Exit codes: 0 listed, be it nothing, 1 nothing has the name that was given, 2 bad usage, 3 a cluster cannot be
    reached.

    Parameters
    ----------
    name
        A host, as it is offered or imported, its first labels (`ratings` or `ratings.bookinfo`), or the name of a
        FederatedService.
    remote
        Only what this RemoteMesh offers.
    selector
        Only what is offered with labels that meet this, such as `app=ratings,tier!=test`.
    problems
        Only what somebody may have to act on.
    """
    from meshfed.cli.arguments import selector as read_selector

    chosen = read_selector(selector)
    session = _Session(where, OURS)

    def listing() -> Listing[ImportView]:
        snapshots = session.look()
        from meshfed.views.imports import GOOD, is_named  # once a cluster was asked
        from meshfed.views.imports import imports as imports_of

        def wanted(one: ImportView) -> bool:
            return (
                (not name or is_named(name, one.host, one.imported_as) or one.name == name)
                and (remote is None or one.remote == remote)
                and chosen.matches(one.labels)
                and not (problems and one.state in GOOD)
            )

        rows = [one for snapshot in snapshots for one in imports_of(snapshot) if wanted(one)]
        columns = [
            TableColumn[Any]("HOST", lambda one: one.host if how.output == "wide" else _short(one.host)),
            TableColumn[Any]("REMOTE", lambda one: one.remote),
            TableColumn[Any]("STATE", lambda one: one.state),
            TableColumn[Any]("REACHABLE", lambda one: one.reachable, spare=1),
            TableColumn[Any]("REASON", lambda one: one.reason),
            TableColumn[Any]("AGE", session.age, spare=2),
            TableColumn[Any]("PORTS", lambda one: _ports(one.ports), wide=True),
            TableColumn[Any]("MESSAGE", lambda one: one.message, wide=True),
        ]
        return session.listing(
            "ImportList",
            columns,
            rows,
            lambda one: f"federatedservice.federation.openshift-service-mesh.io/{one.name}",
            nothing=_NO_MATCH.format("offer") if remote or selector or problems else "nothing is offered to this mesh",
        )

    return session.run(listing, how, name, gone=lambda: _withdrawn(where, name))


def _withdrawn(where: Where, name: str) -> str:
    """Return which remote withdrew what has a name, and when; empty where nobody knows of any."""
    from meshfed.views.ages import age
    from meshfed.views.imports import is_named
    from meshfed.views.withdrawn import withdrawn_hosts

    snapshots, _ = look(where, (*OURS, EVENTS))
    found = [
        f"{remote} withdrew {host} from {snapshot.mesh} {age(at, snapshot.taken)} ago"
        for snapshot in snapshots
        for remote, host, at in withdrawn_hosts(snapshot)
        if is_named(name, host)
    ]
    return "; ".join([*found, *(why for snapshot in snapshots if (why := snapshot.unread.get("Event")))])


def remotes(
    name: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    problems: Annotated[bool, Parameter(show_default=False)] = False,
    where: Where = Where(),  # noqa: B008 - immutable
    how: How = How(),  # noqa: B008 - immutable
) -> int:
    """List the remote meshes: whether each is heard and hears this mesh, and what came of it.

    HEARD says whether this mesh is connected to the remote's discovery service, HEARS whether the remote subscribes to
    what this mesh exports, REACHABLE whether a handshake by way of its gateway was answered by whom it should be,
    IMPORTED how many of what it offers are imported.

    Exit codes: 0 listed, be it nothing, 1 nothing has the name that was given, 2 bad usage, 3 a cluster cannot be
    reached.

    Parameters
    ----------
    name
        The name of a RemoteMesh.
    problems
        Only those that are not ready.
    """
    session = _Session(where, OURS)

    def listing() -> Listing[RemoteView]:
        snapshots = session.look()
        from meshfed.views.imports import imports as imports_of  # once a cluster was asked
        from meshfed.views.remotes import remotes as remotes_of

        rows = [
            one
            for snapshot in snapshots
            for one in remotes_of(snapshot, imports_of(snapshot))
            if (not name or one.name == name) and not (problems and one.ready == "True")
        ]
        return session.listing(
            "RemoteList",
            [*remote_columns(), TableColumn[Any]("AGE", session.age, spare=1), *_WIDE_REMOTE],
            rows,
            lambda one: f"remotemesh.federation.openshift-service-mesh.io/{one.name}",
            nothing=_NO_MATCH.format("RemoteMesh") if problems else "there are no RemoteMeshes",
        )

    return session.run(listing, how, name)


def remote_columns() -> list[TableColumn[Any]]:
    """Return the columns that are for people in a hurry."""
    return [
        TableColumn[Any]("REMOTE", lambda one: one.name),
        TableColumn[Any]("READY", lambda one: one.ready),
        TableColumn[Any]("HEARD", lambda one: one.heard),
        TableColumn[Any]("HEARS", lambda one: one.hears),
        TableColumn[Any]("REACHABLE", lambda one: one.reachable),
        TableColumn[Any]("IMPORTED", lambda one: f"{one.imported}/{one.offered}"),
        TableColumn[Any]("REASON", lambda one: one.reason if one.ready != "True" else ""),
    ]


_WIDE_REMOTE = [
    TableColumn[Any]("DENIED", lambda one: str(one.denied), wide=True),
    TableColumn[Any]("REFUSED", lambda one: str(one.refused), wide=True),
    TableColumn[Any]("HELD", lambda one: str(one.held), wide=True),
    TableColumn[Any]("THERE", lambda one: str(one.imported_there), wide=True),
    TableColumn[Any]("ADDRESSES", lambda one: ",".join(one.addresses), wide=True),
    TableColumn[Any]("MESSAGE", lambda one: one.message, wide=True),
]


def exports(
    name: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", show_default=False)] = False,
    to: str | None = None,
    selector: Annotated[str | None, Parameter(name=["--selector", "-l"])] = None,
    mesh_config: str = MESH_CONFIG,
    where: Where = Where(),  # noqa: B008 - immutable
    how: How = How(),  # noqa: B008 - immutable
) -> int:
    """List the Services that this mesh offers to others, and those that it does not though it might.

    It is decided anew, by what the controller decides it by, from the Services, Pods and objects of Istio in the
    cluster. Of a Service that is named, and with `-o wide`, `json` or `yaml` of all, each replica of the controller is
    asked who imports it; that takes `get` on `pods/proxy` in its namespace.

    Exit codes: 0 listed, be it nothing, 1 nothing has the name that was given, 2 bad usage, 3 a cluster cannot be
    reached.

    Parameters
    ----------
    name
        A Service as NAMESPACE/NAME, NAME alone, or the host that it is offered under.
    all_
        Also those that nobody asked to export.
    to
        Only what this RemoteMesh may see.
    selector
        Only Services whose labels meet this, such as `app=ratings,tier!=test`.
    mesh_config
        The name of the ConfigMap with Istio's configuration of the mesh, as for the controller.
    """
    from meshfed.cli.arguments import selector as read_selector

    chosen = read_selector(selector)

    def wanted(one: ExportView) -> bool:
        from meshfed.views.exports import is_nobodys
        from meshfed.views.imports import is_named

        if not chosen.matches(one.labels):
            return False
        if name:
            return name in {one.name, f"{one.namespace}/{one.name}"} or is_named(name, one.host)
        if to is not None:
            return one.exported and (one.to is None or to in one.to)
        return all_ or not is_nobodys(one)

    described = [one for one in OURS if one.kind != "FederatedService"]  # what others offer decides nothing here
    session = _Session(where, (*described, *SURROUNDINGS), mesh_config)
    asks = bool(name) or how.output in {"wide", "json", "yaml"}

    def listing() -> Listing[ExportView]:
        rows: list[list[ExportView]] = []
        snapshots = session.look()
        from meshfed.views.exports import exports as exports_of  # it takes a moment: once a cluster was asked
        from meshfed.views.exports import planned
        from meshfed.views.importers import count, in_words

        for snapshot in snapshots:
            plan, problems = planned(snapshot, mesh_config_map=mesh_config)
            for problem in problems:
                say(problem)
            rows.append([one for one in exports_of(snapshot, plan) if wanted(one)])
        if asks:
            rows = session.imported(rows)
        found = [one for of_mesh in rows for one in of_mesh]
        columns = [
            TableColumn[Any]("SERVICE", lambda one: f"{one.namespace}/{one.name}"),
            TableColumn[Any]("EXPORTED", lambda one: str(one.exported)),
            TableColumn[Any]("PORTS", lambda one: _ports(one.ports), short=lambda one: _few(_ports(one.ports))),
            TableColumn[Any]("TO", _audience, short=lambda one: _few(_audience(one))),
            TableColumn[Any]("REASON", lambda one: one.reason),
            TableColumn[Any]("HOST", lambda one: one.host, wide=True),
            TableColumn[Any]("IMPORTED-BY", lambda one: count(one.importers) if one.exported else "-", wide=True),
            TableColumn[Any]("IDENTITIES", lambda one: ",".join(one.identities), wide=True),
            TableColumn[Any]("MESSAGE", lambda one: one.message, wide=True),
        ]
        listed = session.listing(
            "ExportList",
            columns,
            found,
            lambda one: f"{one.namespace}/{one.name}",
            nothing=_NO_MATCH.format("Service") if to or selector else "nothing is exported",
        )
        if not name:
            return listed
        below = [f"{one.namespace}/{one.name}: {in_words(one.importers)}" for one in found if one.importers is not None]
        return listed._replace(below=below)

    return session.run(listing, how, name)


def _audience(one: ExportView) -> str:
    if not one.exported:
        return "-"
    return "all" if one.to is None else ",".join(one.to)


class _Session:
    """One call of a command that lists: what was looked at, and what could not be."""

    def __init__(self, where: Where, wanted: Sequence[Any], mesh_config_map: str | None = None) -> None:
        self._where = where
        self._wanted = wanted
        self._mesh_config_map = mesh_config_map
        self._snapshots: tuple[Snapshot, ...] = ()
        self._unreached: tuple[Unreached, ...] = ()
        self._told: set[str] = set()

    def look(self) -> tuple[Snapshot, ...]:
        """Look once more, and say once what cannot be seen."""
        self._snapshots, self._unreached = look(self._where, self._wanted, mesh_config_map=self._mesh_config_map)
        for one in self._unreached:
            self._say(f"{one.source}: not reached: {one.why}")
        for snapshot in self._snapshots:
            for why in (*snapshot.unread.values(), *snapshot.not_understood()):
                self._say(f"{snapshot.source}: {why}")
        return self._snapshots

    def imported(self, rows: Sequence[Sequence[ExportView]]) -> list[list[ExportView]]:
        """Ask the controllers who imports what is exported, and say once what cannot be known."""
        from meshfed.cli.importers import importers
        from meshfed.views.exports import imported

        seen = list(zip(self._snapshots, rows, strict=True))
        hosts = {snapshot.source: [one.host for one in views if one.exported] for snapshot, views in seen}
        found = importers(self._where, self._snapshots, hosts)
        for snapshot, answer in zip(self._snapshots, found, strict=True):
            if answer.why and hosts[snapshot.source]:
                self._say(f"{snapshot.source}: who imports is not known: {answer.why}")
        return [
            [imported(one, answer, [remote.metadata.name for remote in snapshot.remotes]) for one in views]
            for (snapshot, views), answer in zip(seen, found, strict=True)
        ]

    def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            say(text)

    def age(self, one: Any) -> str:
        """Return how long ago what a row tells of came about."""
        from meshfed.views.ages import age

        return age(one.since, self._snapshots[0].taken)

    def listing(
        self, kind: str, columns: list[TableColumn[Any]], rows: list[Any], name: Callable[[Any], str], *, nothing: str
    ) -> Listing[Any]:
        """Return the rows, with a column for the mesh where they are of several."""
        if several(rows):
            columns = [TableColumn[Any]("MESH", lambda one: one.mesh), *columns]
        beside: dict[str, Any] = {}
        if self._unreached:
            beside["unreached"] = self._unreached
        return Listing(
            kind, columns, rows, name, beside, "" if self._told else nothing
        )  # it may be in what is not seen

    def run(
        self, listing: Callable[[], Listing[Any]], how: How, name: str, *, gone: Callable[[], str] | None = None
    ) -> int:
        """Show the list, and return how the command ends; ``gone`` says what there was under a name lately."""
        found = False

        def looked() -> Listing[Any]:
            nonlocal found
            listed = listing()
            found = bool(listed.rows)
            return listed if not name else listed._replace(nothing="")

        follow(looked, how)
        if self._unreached:
            return Exit.OUT_OF_REACH
        if name and not found:
            was = gone() if gone is not None else ""
            here = f"there is nothing of that name here{f' ({was})' if was else ''}"
            raise NotHeld(f"{name}: {here}; without a name, everything is listed")
        return Exit.OK


def _short(host: str) -> str:
    """Return the first labels of a Service's host, by which it may be asked for."""
    return host.partition(".svc.")[0]


def _few(text: str) -> str:
    """Return the first of some names that commas part, and how many more there are."""
    first, *more = text.split(",")
    return f"{first} +{len(more)}" if more else first


def _ports(ports: Sequence[Port]) -> str:
    return ",".join(f"{port.number}/{port.protocol}" for port in ports) or "-"

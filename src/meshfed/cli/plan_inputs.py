"""What ``meshfed plan`` plans for: what is in files, what a cluster holds, or that with files laid over it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from meshfed.cli.clusters import InClusters, look
from meshfed.cli.exits import BadInput, OutOfReach
from meshfed.cli.kinds import OURS, SURROUNDINGS

if TYPE_CHECKING:
    from meshfed.model.offers import Offer
    from meshfed.plan import PlanInputs
    from meshfed.views.snapshot import Document, Snapshot

_REPORTS: Final = (".tgz", ".tar.gz")
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_LEAVE_OUT: Final = (
    "name by -f only files and folders with the objects of one mesh, and give what a remote offers with "
    "--remote NAME=FILE"
)
_OF_PODS: Final = frozenset({"Pod", "EndpointSlice"})
"""What a controller does without, where it may not read it."""
Documents = Sequence[tuple[str, "Document"]]
"""Objects as plain data, each with where it is from."""


class Given(NamedTuple):
    """What only a cluster or a remote knows and the command line says."""

    remotes: Sequence[str]
    answers: Sequence[str]
    mesh_config: str
    read_pods: bool


@contextmanager
def _as_bad_input() -> Iterator[None]:
    """Make ``BadInput`` of what is wrong with objects."""
    from meshfed.api.errors import InvalidInput, NotAnObject

    try:
        yield
    except NotAnObject as error:
        raise BadInput(f"{error}: {_LEAVE_OUT}") from error
    except InvalidInput as error:
        raise BadInput(str(error)) from error


def read_files(files: Sequence[str], flag: str = "-f") -> Documents:
    """Return the objects of files, folders and reports, ``flag`` being how they were given; raises ``BadInput``."""
    from meshfed.api.documents import decode_documents

    found: list[tuple[str, Document]] = []
    with _as_bad_input():
        for name in files:
            if name.endswith(_REPORTS):
                found += ((name, one) for one in _reported(name, flag).objects)
            else:
                found += (
                    (source, one) for source, text in _texts(name, flag) for one in decode_documents(text, source)
                )
    return found


def read_text(text: str, source: str) -> Documents:
    """Return the objects of a text; raises ``BadInput``."""
    from meshfed.api.documents import decode_documents

    with _as_bad_input():
        return [(source, one) for one in decode_documents(text, source)]


def namespace_of(documents: Documents, namespace: str | None) -> str:
    """Return the controller's namespace: the one that is named, or that of the MeshFederation; raises ``BadInput``."""
    from meshfed.plan.documents import namespace_of_mesh

    with _as_bad_input():
        return namespace or namespace_of_mesh(documents)


def inputs_of(documents: Iterable[tuple[str, Document]], namespace: str, facts: Given) -> PlanInputs:
    """Return what the controller of ``namespace`` would take in; raises ``BadInput``."""
    import msgspec

    from meshfed.plan.documents import read_documents

    with _as_bad_input():
        inputs = read_documents(documents, namespace, facts.mesh_config)
    return msgspec.structs.replace(inputs, resolved=inputs.resolved | _resolved(facts.answers))


def with_offers(sides: Sequence[PlanInputs], facts: Given) -> list[PlanInputs]:
    """Return ``sides`` with what remotes offer; each takes that of the RemoteMeshes that it has."""
    import msgspec

    names = [{remote.metadata.name for remote in side.remotes} for side in sides]
    offers = _offers(facts.remotes, sorted(set().union(*names)))
    return [
        msgspec.structs.replace(side, offers={name: those for name, those in offers.items() if name in known})
        for side, known in zip(sides, names, strict=True)
    ]


def read_cluster(where: InClusters, documents: Documents, facts: Given) -> Snapshot:
    """Return what the cluster holds that ``documents`` are for; raises ``BadInput`` and ``OutOfReach``.

    What may not be read is unknown, and a plan without it would take what is there for gone: so there is none.
    """
    if len(where.context) > 1:
        raise BadInput(f"--context {where.context[1]}: a plan is for one cluster; give one --context")
    if where.namespace is None and any(one.get("kind") == "MeshFederation" for _, one in documents):
        where = replace(where, namespace=namespace_of(documents, None))
    wanted = [one for one in (*OURS, *SURROUNDINGS) if facts.read_pods or one.kind not in _OF_PODS]
    seen, unreached = look(where, wanted, mesh_config_map=facts.mesh_config)
    for one in unreached:
        raise OutOfReach(f"{one.source}: not reached: {one.why}")
    (snapshot,) = seen
    return whole(snapshot)


def whole(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot of which all was read; raises ``OutOfReach`` where something was not."""
    if snapshot.unread:
        lacking = "; ".join(snapshot.unread.values())
        mend = "; where the controller does without, give --no-read-pods" if _OF_PODS & snapshot.unread.keys() else ""
        raise OutOfReach(f"{snapshot.source}: {lacking}: a plan without that would take what is there for gone{mend}")
    return snapshot


def inputs_of_cluster(snapshot: Snapshot, documents: Iterable[tuple[str, Document]], facts: Given) -> PlanInputs:
    """Return what the controller would take in of a cluster that holds ``documents``."""
    import msgspec

    inputs = inputs_of(documents, snapshot.namespace, facts)
    return msgspec.structs.replace(inputs, pods_listed=facts.read_pods)


def _texts(name: str, flag: str) -> Iterator[tuple[str, str]]:
    """Yield a file's name and text; of a folder, those of the YAML and JSON files below it, by name."""
    if name == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(name)
    try:
        found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    except OSError as error:
        raise BadInput(f"{flag} {name}: {error.filename}: {error.strerror}") from error
    if path.is_dir() and not found:
        raise BadInput(f"{flag} {name}: the folder holds no .yaml, .yml or .json file")
    for file in found if path.is_dir() else [path]:
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{flag} {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{flag} {file}: not UTF-8 text: {error}") from error


def _reported(name: str, flag: str) -> Snapshot:
    """Return what a report tells of its one mesh."""
    from meshfed.cli.clusters import read_report

    snapshots = read_report(name)
    if len(snapshots) > 1:
        meshes = ", ".join(one.mesh for one in snapshots)
        raise BadInput(f"{flag} {name}: it tells of several meshes ({meshes}); unpack it, and name the folder of one")
    return snapshots[0]


def _pairs(option: str, entries: Sequence[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name or not equals or not value:
            raise BadInput(f"{option} {entry}: it has to be NAME={'FILE' if option == '--remote' else 'IP'}")
        yield name, value


def _offers(entries: Sequence[str], known: Sequence[str]) -> dict[str, tuple[Offer, ...]]:
    from meshfed.cli.fds import read_offers

    offers: dict[str, tuple[Offer, ...]] = {}
    for name, path in _pairs("--remote", entries):
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "there are none"
            raise BadInput(f"--remote {name}: the input has no RemoteMesh of that name ({there})")
        if name in offers:
            raise BadInput(f"--remote {name}: it is given twice; put all that {name} offers into one file")
        try:
            offers[name] = tuple(read_offers(Path(path)))
        except ValueError as error:
            raise BadInput(f"--remote {name}: {error}") from error
    return offers


def _resolved(entries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from meshfed.model.meshes import is_ip

    resolved: dict[str, tuple[str, ...]] = {}
    for name, address in _pairs("--resolve", entries):
        if not is_ip(address):
            raise BadInput(f"--resolve {name}: {address} is not an IP address")
        resolved[name] = (*resolved.get(name, ()), address)
    return resolved

"""Reports: what a cluster held, as files for a colleague, and read back as if it were the cluster.

No Secret is ever in one, nor anything of a Pod but what decides something here: its environment may hold passwords.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from meshfed import __version__
from meshfed.api.core import EndpointSlice, Pod
from meshfed.api.documents import decode_documents, encode_documents
from meshfed.api.errors import InvalidInput
from meshfed.api.times import parse_time, timestamp
from meshfed.model.installation import CONTROLLER_APP
from meshfed.views import API_VERSION
from meshfed.views.edits import EDITED, shortened
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Document, Snapshot

T = TypeVar("T")

MOST_BYTES: Final = 256 * 1024 * 1024
"""What is read of a report at most, unpacked."""
_CHUNK: Final = 1024 * 1024
_HEAD: Final = "report.json"
_IMPORTERS: Final = "importers.json"
_OBJECTS: Final = re.compile(r"([^/]+)/objects/[A-Za-z]+\.yaml")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_NEVER: Final = frozenset({"Secret"})


class ReportHead(msgspec.Struct, frozen=True, rename="camel"):
    """What a report says of itself."""

    source: str
    mesh: str
    namespace: str
    taken: str
    version: str
    unread: dict[str, str] = {}
    api_version: str = API_VERSION
    kind: str = "Report"


class _Envelope(msgspec.Struct):
    name: str
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Object(msgspec.Struct, rename="camel"):
    """What every object has that an API server serves."""

    api_version: str
    kind: str
    metadata: _Envelope


class _Bounded(io.RawIOBase):
    """What a compressed file unpacks to, as far as ``left`` bytes; raises ``InvalidInput`` beyond."""

    def __init__(self, archive: bytes, source: str) -> None:
        self._file = gzip.GzipFile(fileobj=io.BytesIO(archive))
        self._source = source
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise InvalidInput(f"{self._source}: it unpacks to more than {MOST_BYTES} bytes")
        return content


def folder(snapshot: Snapshot) -> str:
    """Return the name of the folder that holds what a cluster held."""
    return _UNSAFE.sub("-", snapshot.mesh).strip("-.") or "mesh"


def folders(snapshots: Iterable[Snapshot]) -> list[str]:
    """Return the name of a folder for each; meshes of one name get a number."""
    found: list[str] = []
    for one in map(folder, snapshots):
        numbered = (f"{one}-{number}" for number in itertools.count(2))
        found.append(next(name for name in itertools.chain([one], numbered) if name not in found))
    return found


def files(snapshot: Snapshot, place: str = "") -> dict[str, bytes]:
    """Return what a snapshot holds as files, by path: what it says of itself, and a file for each kind.

    They are in the folder ``place``; without it, in the mesh's own.
    """
    place = place or folder(snapshot)
    head = ReportHead(
        source=snapshot.source,
        mesh=snapshot.mesh,
        namespace=snapshot.namespace,
        taken=timestamp(snapshot.taken),
        version=__version__,
        unread=dict(snapshot.unread),
    )
    kinds: defaultdict[str, list[Document]] = defaultdict(list)
    for one in kept(snapshot.objects):
        kinds[str(one.get("kind"))].append(one)
    objects = {f"{place}/objects/{kind}.yaml": encode_documents(of_kind).encode() for kind, of_kind in kinds.items()}
    said = {f"{place}/{_HEAD}": head} | ({f"{place}/{_IMPORTERS}": snapshot.importers} if snapshot.importers else {})
    return {
        **{name: msgspec.json.format(msgspec.json.encode(one), indent=2) for name, one in said.items()},
        **dict(sorted(objects.items())),
    }


def kept(objects: Iterable[Document]) -> Iterator[Document]:
    """Yield of objects what may be in a report."""
    return (cleaned(one) for one in objects if one.get("kind") not in _NEVER)


def cleaned(one: Document) -> Document:
    """Return an object without what nothing here looks at."""
    metadata = dict(one.get("metadata") or {})
    changed = metadata.pop("managedFields", None)
    if one.get("kind") in EDITED and (own := shortened(changed)):
        metadata["managedFields"] = own
    annotations = {
        key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != _LAST_APPLIED
    }
    if annotations:
        metadata["annotations"] = annotations
    kept = one | {"metadata": metadata}
    match one.get("kind"):
        case "Pod":
            return _with_arguments(_projected(kept, Pod), one)
        case "EndpointSlice":
            return _projected(kept, EndpointSlice)
        case "Deployment":
            return kept | {"spec": _without_environment(one.get("spec"))}
        case "ConfigMap":
            data = one.get("data")
            kept.pop("binaryData", None)
            return kept | {"data": {"mesh": data["mesh"]} if isinstance(data, dict) and "mesh" in data else {}}
        case _:
            return kept


def _without_environment(value: Any) -> Any:
    """Return plain data without `env` of any container in it, which may hold passwords."""
    if isinstance(value, dict):
        return {key: _without_environment(one) for key, one in value.items() if key not in {"env", "envFrom"}}
    return [_without_environment(one) for one in value] if isinstance(value, list) else value


def _projected(one: Document, type_: type[Pod] | type[EndpointSlice]) -> Document:
    """Return the parts of an object that are decoded, with its metadata; only those where it cannot be decoded."""
    envelope: Document = {key: one[key] for key in ("apiVersion", "kind", "metadata") if key in one}
    try:
        parts: dict[str, Any] = msgspec.to_builtins(msgspec.convert(one, type_))
    except msgspec.ValidationError:
        return envelope
    return parts | envelope


def _with_arguments(kept: Document, pod: Document) -> Document:
    """Return what is kept of a Pod with the flags of the controller, if it is one: they say where it is asked."""
    if (kept["metadata"].get("labels") or {}).get("app.kubernetes.io/name") != CONTROLLER_APP or "spec" not in kept:
        return kept
    whole = (pod.get("spec") or {}).get("containers") or ()
    for container, one in zip(kept["spec"].get("containers", ()), whole, strict=False):
        args = one.get("args")
        if isinstance(args, list) and "controller" in args:
            container["args"] = args
    return kept


def packed(members: Mapping[str, bytes], *, moment: float) -> bytes:
    """Return files as a compressed archive; ``moment`` in Unix seconds is when they were made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), int(moment), 0o600
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(archive: bytes, source: str) -> tuple[Snapshot, ...]:
    """Return what the clusters held of which an archive tells; raises ``InvalidInput`` naming ``source``.

    It comes from anybody: nothing is written anywhere, what is not part of a report is skipped, and what unpacks to too
    much is refused.
    """
    heads: dict[str, ReportHead] = {}
    importers: dict[str, ImportersSeen] = {}
    objects: defaultdict[str, list[Document]] = defaultdict(list)
    for name, content in _members(archive, source):
        place, _, rest = name.partition("/")
        found = _OBJECTS.fullmatch(name)
        if rest == _HEAD:
            heads[place] = _said(content, ReportHead, f"{source}: {name}")
        elif rest == _IMPORTERS:
            importers[place] = _said(content, ImportersSeen, f"{source}: {name}")
        elif found is not None:
            try:
                objects[place] += map(_object, decode_documents(content.decode(), f"{source}: {name}"))
            except msgspec.ValidationError as error:
                raise InvalidInput(f"{source}: {name}: an object is not as an API server has it: {error}") from error
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{source}: {name}: not UTF-8 text: {error}") from error
    if not heads:
        raise InvalidInput(f"{source}: it holds no {_HEAD}, so it is no report of `meshfed report`")
    return tuple(
        msgspec.structs.replace(_snapshot(head, objects[place], source), importers=importers.get(place))
        for place, head in sorted(heads.items())
    )


def _said(content: bytes, type_: type[T], source: str) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{source} is not what a report has: {error}") from error


def _object(document: Document) -> Document:
    """Return an object; raises ``ValidationError`` where none can be like that."""
    msgspec.convert(document, _Object)
    return document


def _snapshot(head: ReportHead, objects: Iterable[Document], source: str) -> Snapshot:
    try:
        taken = parse_time(head.taken)
    except ValueError as error:
        raise InvalidInput(f"{source}: `taken` of {head.mesh}: {error}") from error
    return Snapshot(head.source, head.namespace, taken, tuple(objects), head.unread)


def _members(archive: bytes, source: str) -> Iterator[tuple[str, bytes]]:
    unpacked = _Bounded(archive, source)
    try:
        with tarfile.open(fileobj=unpacked, mode="r|") as opened:
            for member in opened:
                content = opened.extractfile(member) if member.isreg() and not member.issparse() else None
                if content is not None:
                    yield member.name.removeprefix("./"), content.read()
        # A damaged header looks like the end: the checksum, which comes last, tells them apart.
        while unpacked.read(_CHUNK):
            pass
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidInput(f"{source}: it is not a .tgz archive, or it is damaged: {error}") from error

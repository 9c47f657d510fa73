"""What is fuzzed: everything that reads bytes or objects from a remote, the Kubernetes API or a user.

A target takes any bytes. It returns where what reads them took them, or refused them by the exception that is meant for
that, and raises where anything else happened, or where what must always hold does not. It leaves nothing behind.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import ssl
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from meshfed.api.compact import decode_offer
from meshfed.api.core import EndpointSlice, Namespace, Pod, Route, Service, ServiceExport
from meshfed.api.documents import decode_documents, encode_documents
from meshfed.api.errors import InvalidInput
from meshfed.api.meta import ObjectMeta
from meshfed.api.objects import decode_object, type_of
from meshfed.api.v1alpha1 import FederatedService, MeshFederation, RemoteMesh
from meshfed.fds import identity, messages
from meshfed.fds._known import DeltaKnowledge, Limits, SotwKnowledge
from meshfed.fds.errors import ProtocolError
from meshfed.fds.messages import Dialect, MalformedError
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.istio import mesh_config
from meshfed.istio.peer_authentications import of_peer_authentication
from meshfed.kube.client import WatchEvent, _decode
from meshfed.kube.errors import ConfigError, KubeError, MalformedAnswer, api_error
from meshfed.kube.kubeconfig import contexts, load_kubeconfig
from meshfed.kube.lines import LineSplitter
from meshfed.kube.reflector import _metadata
from meshfed.model.offers import Offer, Refusal, checked
from meshfed.plan import Settings
from meshfed.plan.documents import read_documents
from meshfed.plan.endpoint_slices import of_slice
from meshfed.plan.foreign_destination_rules import of_destination_rule
from meshfed.plan.foreign_service_entries import of_service_entry
from meshfed.plan.offline import plan_all
from meshfed.plan.replicas import replica_of
from meshfed.plan.workloads import of_entry, of_pod
from meshfed.probe import Roots
from meshfed.probe.handshake import _answered
from meshfed.views.access_log import judge, parse
from meshfed.views.bundles import unpacked
from meshfed.views.cards import read_card
from tests.fuzz.connections import client_side, server_side

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder says of what it cannot read, as `meshfed.kube.reflector` has it."""


class Target(NamedTuple):
    """What takes the bytes, and who they come from."""

    feed: Callable[[bytes], object]
    sender: str


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what only gives way to others and never waits; returns what it returns."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value


def _parts(data: bytes) -> list[bytes]:
    """Cut into parts, each headed by its length in two bytes."""
    parts = []
    while len(data) >= 2:
        size = int.from_bytes(data[:2], "big")
        parts.append(data[2 : 2 + size])
        data = data[2 + size :]
    return parts


# --- from a remote


def offer(data: bytes) -> None:
    """A FederatedService, as a remote sends it, and what `checked` makes of it."""
    try:
        one = messages.decode(data)
    except MalformedError:
        return
    messages.version_of(one)
    for dialect in Dialect:
        with contextlib.suppress(ValueError):  # a port beyond what the message has room for
            assert messages.decode(messages.encode(one, dialect)).host == one.host
    found = checked(one, "cluster.local")
    if isinstance(found, Refusal):
        assert len(found.message) < 1000, "what is said of an offer does not grow with it"
        return
    assert checked(found.offer, "cluster.local") == msgspec.structs.replace(
        found, dropped_labels=0, dropped_identities=0
    )


def deltas(data: bytes) -> None:
    """Responses of the incremental dialect, one after the other."""
    limits = Limits(services=20, size=2000)
    known = DeltaKnowledge(limits, lambda _: None)
    known.begin("east")
    for part in _parts(data):
        if not part:
            known.begin("east").SerializeToString()
            continue
        try:
            response = pb.DeltaDiscoveryResponse.FromString(part)
        except DecodeError:
            continue
        with contextlib.suppress(ProtocolError):
            update = _run(known.receive(response))
            assert update is None or not {one.host for one in update.upserts} & {*update.removals}
        assert len(known) <= limits.services
        assert 0 <= known._size == sum(one.size for one in known._known.values()) <= limits.size
        digest = messages.SetDigest()
        for name, one in known._known.items():
            digest.add(messages.SetDigest.term(name, one.version))
        assert str(digest) == str(known._digest)


def lists(data: bytes) -> None:
    """Responses of the reference's dialect, one after the other."""
    limits = Limits(services=20)
    known = SotwKnowledge(limits, lambda _: None)
    known.begin()
    offered: dict[str, Offer] = {}
    for index, part in enumerate(_parts(data)):
        try:
            response = pb.DiscoveryResponse.FromString(part)
        except DecodeError:
            continue
        before = set(offered)
        update = _run(known.receive(response, confirms=index % 2 == 1))
        if update is None:
            continue
        kept = {one.host for one in update.rejected}
        if update.complete:
            offered = {host: one for host, one in offered.items() if host in kept}
        for host in update.removals:
            offered.pop(host, None)
        offered |= {one.host: one for one in update.upserts}
        assert response.resources or index % 2 == 1 or not before - set(offered), "one empty list withdraws nothing"
        assert len(offered) <= 2 * limits.services


def caller(data: bytes) -> None:
    """The header with whom a sidecar saw."""
    found = identity.from_header(data.decode("latin-1"))
    assert found is None or str(found) in data.decode("latin-1")


def certificate(data: bytes) -> None:
    """The certificate that a gateway shows, in DER, as Python reads it."""
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
    with _file(pem) as path:
        decode: Any = ssl._ssl._test_decode_cert  # type: ignore[attr-defined] # as `SSLObject.getpeercert` does
        with contextlib.suppress(ssl.SSLError, ValueError, OSError):
            _answered(decode(str(path)))


def card(data: bytes) -> None:
    """Another owner's card."""
    with contextlib.suppress(InvalidInput):
        read_card(data.decode(errors="replace"), "card.yaml")


def bundle(data: bytes) -> None:
    """A file of ``meshfed report``, as it is, and as what it unpacks to."""
    for archive in (data, gzip.compress(data, 1)):
        with contextlib.suppress(InvalidInput):
            unpacked(archive, "report.tgz")


# --- from the Kubernetes API


def watch(data: bytes) -> None:
    """Lines of a watch, however they are cut."""
    size, stream = 1 + (data[0] if data else 0), data[1:]
    splitter, lines = LineSplitter(limit=1000), list[bytes]()
    with contextlib.suppress(MalformedAnswer):
        for start in range(0, len(stream), size):
            lines += splitter.feed(stream[start : start + size])
    whole = [line for line in stream.split(b"\n")[:-1] if line]
    assert lines == whole[: len(lines)]
    for line in lines:
        try:
            event = _decode(line, WatchEvent)
        except MalformedAnswer:
            continue
        if event.type == "ERROR":
            assert isinstance(api_error(0, event.object), KubeError)
        with contextlib.suppress(MalformedAnswer):
            _metadata(event.object)


_PROJECTIONS: Final[tuple[Callable[[bytes], object], ...]] = (
    *(
        msgspec.json.Decoder(type_).decode
        for type_ in (MeshFederation, RemoteMesh, FederatedService, Service, Namespace, ServiceExport, Route)
    ),
    lambda data: decode_offer(msgspec.Raw(data)),
    lambda data: of_pod(msgspec.json.decode(data, type=Pod)),
    lambda data: of_slice(msgspec.json.decode(data, type=EndpointSlice)),
    *(
        lambda data, decode=decode: decode(msgspec.json.decode(data, type=dict[str, Any]))
        for decode in (of_entry, of_destination_rule, of_service_entry, of_peer_authentication, replica_of)
    ),
)


class _Stored(msgspec.Struct):
    """What of an object every API server sees to, whatever its kind."""

    metadata: ObjectMeta


def objects(data: bytes) -> None:
    """An object, in the form in which it is kept of each kind that is watched."""
    try:
        _metadata(msgspec.Raw(data))
    except MalformedAnswer:
        return  # and the list or watch of which this is a part is given up
    try:
        known = msgspec.json.decode(data, type=_Stored).metadata
    except UNDECODABLE:
        return
    if not known.name or not known.namespace:
        return
    for decode in _PROJECTIONS:
        with contextlib.suppress(*UNDECODABLE):
            decode(data)


def config(data: bytes) -> None:
    """Istio's configuration of the mesh, and the roots beside it."""
    text = data.decode(errors="replace")
    with contextlib.suppress(InvalidInput):
        mesh_config(text, "ConfigMap istio")
    with contextlib.suppress(ValueError):
        roots = Roots(text)
        roots.authorities()


# --- from a user


def kubeconfig(data: bytes) -> None:
    """A kubeconfig."""
    with _file(data) as path, contextlib.suppress(ConfigError):
        contexts(str(path), {})
        load_kubeconfig(str(path), None, {})


def documents(data: bytes) -> None:
    """Manifests; what was read is read back as it was."""
    try:
        found = decode_documents(data.decode(errors="replace"), "mesh.yaml")
    except InvalidInput:
        return
    with contextlib.suppress(InvalidInput):
        again = decode_documents(encode_documents(found), "again.yaml")
        assert msgspec.json.encode(again) == msgspec.json.encode(found)
    for one in found:
        type_ = type_of(one)
        if type_ is not None:
            with contextlib.suppress(InvalidInput):
                decode_object(one, type_)


def plan(data: bytes) -> None:
    """Manifests, and all that would follow from them."""
    with contextlib.suppress(InvalidInput):
        found = decode_documents(data.decode(errors="replace"), "mesh.yaml")
        inputs = read_documents([("mesh.yaml", one) for one in found], "istio-system", "istio")
        plan_all(inputs, Settings(namespace="istio-system"))


def access_log(data: bytes) -> None:
    """A line of an Envoy's access log."""
    with contextlib.suppress(ValueError):
        line = parse(data.decode(errors="replace"))
        judge(line)


@contextlib.contextmanager
def _file(data: bytes) -> Any:
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").exists() else None) as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


TARGETS: Final[dict[str, Target]] = {
    "http2-server": Target(server_side, "whoever connects to the discovery service"),
    "http2-client": Target(client_side, "the discovery service of a remote"),
    "offer": Target(offer, "a remote"),
    "deltas": Target(deltas, "a remote"),
    "lists": Target(lists, "a remote"),
    "caller": Target(caller, "a sidecar, and through it whoever calls"),
    "certificate": Target(certificate, "a remote's gateway"),
    "card": Target(card, "another owner"),
    "bundle": Target(bundle, "anybody"),
    "watch": Target(watch, "the Kubernetes API"),
    "objects": Target(objects, "the Kubernetes API, and through it its users"),
    "config": Target(config, "ConfigMaps"),
    "kubeconfig": Target(kubeconfig, "a user"),
    "documents": Target(documents, "a user"),
    "plan": Target(plan, "a user"),
    "access-log": Target(access_log, "a user, and through them whoever calls"),
}

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshfed.api.checks import check
from meshfed.api.core import Namespace, Service, ServicePort, ServiceSpec
from meshfed.api.crds import KINDS, Kind
from meshfed.api.errors import InvalidObject, Problem
from meshfed.api.meta import ObjectMeta
from meshfed.api.objects import decode_object, manifest_schema, type_of
from meshfed.api.scalars import SpiffeUri
from meshfed.api.v1alpha1 import (
    GatewayRef,
    ImportPolicy,
    LocalIngress,
    MeshFederation,
    MeshFederationSpec,
    RemoteMesh,
    RemoteMeshSpec,
)
from meshfed.model.identity import SpiffeID
from tests.api.cases import bare_mesh_federation, bare_remote_mesh

from .cases import BAD, GOOD, Bad
from .strategies import manifests, mutated

SEGMENTS = st.lists(st.sampled_from(["", ".", "..", "...", "....", ".a", "..a", "a.", "sa", "-", "a b"]), max_size=4)


@given(domain=st.sampled_from(["west.local", "", "A", "a" * 256]), segments=SEGMENTS)
def test_an_identity_is_admitted_where_it_is_a_spiffe_id_and_nowhere_else(domain: str, segments: list[str]) -> None:
    # One that was admitted and not understood would be taken for none, and anybody's certificate for the remote's.
    uri = "/".join([f"spiffe://{domain}", *segments])

    class Stored(msgspec.Struct):
        identity: SpiffeUri

    try:
        msgspec.convert({"identity": uri}, Stored)
    except msgspec.ValidationError:
        admitted = False
    else:
        admitted = True
    assert admitted == (SpiffeID.parse(uri) is not None)


def _decoded(obj: dict[str, Any]) -> msgspec.Struct:
    type_ = type_of(obj)
    assert type_ is not None
    return decode_object(obj, type_, source="mesh.yaml")


def test_defaults_are_filled_in_as_the_api_server_does() -> None:
    assert _decoded(bare_mesh_federation()) == MeshFederation(
        metadata=ObjectMeta(name="east", namespace="default"),
        spec=MeshFederationSpec(
            network="east-network", ingress=LocalIngress(gateway=GatewayRef(selector={"app": "gateway"}))
        ),
    )
    assert _decoded(bare_remote_mesh(**{"import": {"merge": True}})) == RemoteMesh(
        metadata=ObjectMeta(name="west", namespace="default"),
        spec=RemoteMeshSpec(network="west-network", import_=ImportPolicy(merge=True)),
    )


@pytest.mark.parametrize("obj", GOOD.values(), ids=GOOD)
def test_a_good_object_is_taken_and_left_as_it_is(obj: dict[str, Any]) -> None:
    before = copy.deepcopy(obj)
    decoded = _decoded(obj)
    assert obj == before
    assert decoded == msgspec.convert(msgspec.to_builtins(decoded), type(decoded))


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
def test_a_bad_object_is_refused_with_all_that_is_wrong(case: Bad) -> None:
    with pytest.raises(InvalidObject) as caught:
        _decoded(case.obj)
    found = caught.value.problems
    assert [problem.path for problem in found] == [path for path, _ in case.problems]
    for problem, (_, reason) in zip(found, case.problems, strict=True):
        assert reason in problem.reason


def test_an_error_says_where_what_and_what_to_do() -> None:
    with pytest.raises(InvalidObject) as caught:
        _decoded(bare_remote_mesh(port=0, adresses=["a"]))
    assert str(caught.value) == (
        "mesh.yaml: RemoteMesh default/west: spec.port is 0: it must be at least 1\n"
        "mesh.yaml: RemoteMesh default/west: spec.adresses: there is no such field: did you mean addresses?"
    )


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({}, ["", "apiVersion", "kind", "metadata", "spec"]),
        (bare_remote_mesh() | {"metadata": {"namespace": "a"}}, ["metadata.name"]),
        (bare_remote_mesh("West"), ["metadata.name"]),
        (bare_remote_mesh() | {"metadata": {"name": "west", "namespace": "a.b"}}, ["metadata.namespace"]),
        (bare_remote_mesh() | {"metadata": {"name": "west", "labels": {"a": 1}}}, ["metadata.labels.a"]),
        (bare_remote_mesh() | {"metadata": {"name": "west", "labels": {"a b": "c"}}}, ["metadata.labels.a b"]),
        (bare_remote_mesh() | {"metadata": {"name": "west", "lables": {}}}, ["metadata.lables"]),
        (bare_remote_mesh() | {"spec": None}, ["spec"]),
        (bare_remote_mesh() | {"kind": "MeshFederation"}, [""]),
        (bare_remote_mesh() | {"apiVersion": "v1"}, [""]),
        (bare_remote_mesh() | {"extra": 1}, ["extra"]),
    ],
)
def test_what_surrounds_a_spec_is_judged_too(obj: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(InvalidObject) as caught:
        decode_object(obj, RemoteMesh)
    assert sorted(problem.path for problem in caught.value.problems) == expected


def test_what_we_do_not_use_of_metadata_or_know_of_status_is_skipped() -> None:
    obj = bare_remote_mesh() | {"status": {"added": 1, "offeredServices": 2}}
    obj["metadata"] |= {"managedFields": [{"a": 1}], "creationTimestamp": None}
    decoded = decode_object(obj, RemoteMesh)
    assert (decoded.status.offered_services, decoded.metadata.creation_timestamp) == (2, "")


def test_services_and_namespaces_are_read_as_far_as_we_use_them() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ratings", "namespace": "bookinfo", "generateName": "x"},
        "spec": {
            "clusterIP": "None",
            "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "targetPort": "http", "nodePort": 1}],
        },
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bookinfo"}, "spec": {"finalizers": []}}
    assert [_decoded(service), _decoded(namespace)] == [
        Service(
            metadata=ObjectMeta(name="ratings", namespace="bookinfo"),
            spec=ServiceSpec(cluster_ip="None", ports=(ServicePort(port=80, target_port="http"),)),
        ),
        Namespace(metadata=ObjectMeta(name="bookinfo")),
    ]
    with pytest.raises(
        InvalidObject, match=r"Service bookinfo/ratings: spec.ports\[0\].port is \"80\": it must be a whole"
    ):
        _decoded(service | {"spec": {"ports": [{"port": "80"}]}})


def test_kinds_that_we_do_not_read_have_no_type() -> None:
    assert [type_of(obj) for obj in ({}, {"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": 1, "kind": []})] == [
        None
    ] * 3


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.one_of(*(st.tuples(st.just(kind), manifests(kind)) for kind in KINDS)))
def test_what_the_schema_allows_goes_through_the_types_unchanged(drawn: tuple[Kind, dict[str, Any]]) -> None:
    kind, obj = drawn
    schema = manifest_schema(kind.type)
    filled, problems = check(obj, schema)
    if problems:  # a rule may refuse what the schema allows
        with pytest.raises(InvalidObject):
            decode_object(obj, kind.type)
        return
    decoded = decode_object(obj, kind.type)
    again = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **msgspec.json.decode(msgspec.json.encode(decoded))}
    assert decode_object(again, kind.type) == decoded
    assert check(filled, schema) == (filled, [])


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(list(GOOD.values())))
def test_whatever_is_changed_an_object_is_taken_or_refused_in_words(obj: dict[str, Any]) -> None:
    type_ = type_of(obj) or RemoteMesh
    problems: tuple[Problem, ...] = ()
    try:
        assert isinstance(decode_object(obj, type_), type_)
    except InvalidObject as error:
        problems = error.problems
    # What msgspec itself would say is no answer for a person: the checks must have found it before.
    assert [str(each) for each in problems if each.reason.startswith(("Expected", "Invalid", "Object"))] == []

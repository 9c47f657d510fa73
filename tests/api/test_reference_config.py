from __future__ import annotations

import json
from typing import Any

import pytest

from meshfed.api.errors import InvalidFlag
from meshfed.api.meta import ObjectMeta
from meshfed.api.reference_config import ReferenceConfig, reference_config
from meshfed.api.v1alpha1 import (
    Discovery,
    Export,
    ExportRule,
    GatewayRef,
    ImportPolicy,
    ImportRule,
    LocalIngress,
    MeshFederation,
    MeshFederationSpec,
    PortConfig,
    RemoteMesh,
    RemoteMeshSpec,
)
from meshfed.api.validation_rules import ADDRESS
from meshfed.model.selectors import LabelSelector, Requirement

VALUES = "values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist"
LOCAL = {"name": "east", "gateways": {"ingress": {"selector": {"app": "federation-ingress-gateway"}}}}
WEST = {"name": "west", "network": "west-network", "addresses": ["192.0.2.10"]}


def _config(peers: Any, exported: Any = None, imported: Any = None) -> ReferenceConfig:
    return reference_config(
        mesh_peers=json.dumps(peers),
        exported_service_set=json.dumps(exported),
        imported_service_set="" if imported is None else json.dumps(imported),
        namespace="federation",
    )


def _selectors(*selectors: Any) -> dict[str, Any]:
    return {"rules": [{"type": "LabelSelector", "labelSelectors": list(selectors)}]}


def _mesh(export: Export | None = None, **spec: Any) -> MeshFederation:
    gateway = GatewayRef(selector={"app": "federation-ingress-gateway"})
    return MeshFederation(
        metadata=ObjectMeta(name="east", namespace="federation"),
        spec=MeshFederationSpec(network="", ingress=LocalIngress(gateway=gateway), export=export, **spec),
    )


def _remote(name: str = "west", **spec: Any) -> RemoteMesh:
    everything: dict[str, Any] = {
        "network": "west-network",
        "addresses": ("192.0.2.10",),
        "import_": ImportPolicy(merge=True, allow_tcp=True, rules=(ImportRule(action="Import", subject_alt_names=()),)),
        "discovery": Discovery(namespace="istio-system"),
    }
    return RemoteMesh(
        metadata=ObjectMeta(name=name, namespace="federation"), spec=RemoteMeshSpec(**(everything | spec))
    )


def test_the_kind_example() -> None:
    exported = _selectors({"matchLabels": {"export-service": "true"}})
    rule = ExportRule(action="Export", labels=LabelSelector(match_labels={"export-service": "true"}))
    assert _config({"local": LOCAL, "remotes": [WEST]}, exported) == ReferenceConfig(
        mesh=_mesh(Export(rules=(rule,))), remotes=(_remote(),)
    )


def test_the_openshift_example() -> None:
    local = {
        "name": "east",
        "controlPlane": {"namespace": "istio-east"},
        "gateways": {"ingress": {"selector": {"app": "g"}, "port": {"name": "tls", "number": 15444}}},
        "ingressType": "openshift-router",
    }
    remote = {"name": "west", "addresses": ["router.west.example"], "port": 443, "ingressType": "openshift-router"}
    assert _config({"local": local, "remotes": [remote]}) == ReferenceConfig(
        mesh=MeshFederation(
            metadata=ObjectMeta(name="east", namespace="federation"),
            spec=MeshFederationSpec(
                network="",
                ingress=LocalIngress(
                    type="openshift-router",
                    gateway=GatewayRef(selector={"app": "g"}, port_config=PortConfig(name="tls", number=15444)),
                ),
                control_plane_namespace="istio-east",
            ),
        ),
        remotes=(_remote(network="", addresses=("router.west.example",), port=443, ingress_type="openshift-router"),),
    )


@pytest.mark.parametrize(
    ("exported", "expected"),
    [
        (None, None),
        ({}, None),
        ({"rules": None}, None),
        (_selectors(), None),
        (_selectors({}), Export(rules=(ExportRule(action="Export", labels=LabelSelector()),))),
        (
            {
                "rules": [
                    {"labelSelectors": [{"matchLabels": {"a": "b"}}, {"matchLabels": None}]},
                    {"labelSelectors": [{"matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}]},
                ]
            },
            Export(
                rules=(
                    ExportRule(action="Export", labels=LabelSelector(match_labels={"a": "b"})),
                    ExportRule(action="Export", labels=LabelSelector()),
                    ExportRule(
                        action="Export",
                        labels=LabelSelector(match_expressions=(Requirement(key="c", operator="In", values=("d",)),)),
                    ),
                )
            ),
        ),
    ],
)
def test_selectors_of_all_rules_become_export_rules_of_which_one_must_match(exported: Any, expected: Any) -> None:
    assert _config({"local": LOCAL}, exported) == ReferenceConfig(mesh=_mesh(expected), remotes=())


def test_a_remote_may_come_without_addresses_and_network() -> None:
    remotes = [{"name": "west", "addresses": None}, {"name": "central"}]
    assert _config({"local": LOCAL, "remotes": remotes}).remotes == (
        _remote("west", network="", addresses=()),
        _remote("central", network="", addresses=()),
    )


def test_what_has_no_effect_is_warned_about() -> None:
    config = _config({"local": LOCAL}, imported=_selectors({}))
    (warning,) = config.warnings
    assert warning == (
        "--importedServiceSet has no effect, as in the reference: to choose what is imported, write a RemoteMesh with "
        "import rules instead of the flags"
    )
    assert _config({"local": LOCAL}, imported={"rules": []}).warnings == ()


def test_without_a_local_mesh_nothing_is_federated() -> None:
    assert _config(None) == ReferenceConfig(
        mesh=None, remotes=(), warnings=("--meshPeers names no local mesh, so nothing is federated: set local",)
    )


@pytest.mark.parametrize(
    ("peers", "exported", "expected"),
    [
        (
            {"local": LOCAL, "remotes": [WEST | {"prt": 1}]},
            None,
            "--meshPeers: remotes[0].prt: there is no such field: did you mean port?",
        ),
        ({"local": LOCAL | {"name": None}}, None, "--meshPeers: local.name: it is required, and missing"),
        (
            {"local": LOCAL, "remotes": [WEST | {"port": 0}]},
            None,
            "--meshPeers: remotes[0].port is 0: it must be at least 1",
        ),
        (
            {"local": LOCAL, "remotes": [WEST, WEST]},
            None,
            '--meshPeers: remotes[1].name is "west": remotes[0].name has this name already: give each mesh its own',
        ),
        (
            {"local": LOCAL, "remotes": [WEST | {"name": "east"}]},
            None,
            '--meshPeers: remotes[0].name is "east": local.name has this name already: give each mesh its own',
        ),
        (
            {"local": LOCAL, "remotes": [WEST | {"addresses": ["a", "https://b"]}]},
            None,
            f'--meshPeers: remotes[0].addresses[1] is "https://b": {ADDRESS.message}',
        ),
        ([], None, "--meshPeers: it must be an object"),
        (
            {"local": LOCAL},
            _selectors({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            f"--exportedServiceSet: rules[0].labelSelectors[0].matchExpressions[0].values: {VALUES}",
        ),
        (
            {"local": LOCAL},
            {"rules": [{"type": "Name"}]},
            '--exportedServiceSet: rules[0].type is "Name": it must be one of LabelSelector',
        ),
    ],
)
def test_what_is_wrong_is_said_with_flag_path_value_and_remedy(peers: Any, exported: Any, expected: str) -> None:
    with pytest.raises(InvalidFlag) as caught:
        _config(peers, exported)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("flag", "argument", "text"),
    [
        ("--meshPeers", "mesh_peers", "{local: x}"),
        ("--exportedServiceSet", "exported_service_set", ""),
        ("--importedServiceSet", "imported_service_set", "["),
    ],
)
def test_what_is_not_json_is_refused(flag: str, argument: str, text: str) -> None:
    flags = {"mesh_peers": json.dumps({"local": LOCAL}), "exported_service_set": "null", "namespace": "federation"}
    with pytest.raises(InvalidFlag, match=f"{flag}: not JSON, .*: give it as the reference's chart does, or null"):
        reference_config(**(flags | {argument: text}))

"""What is read of Istio's MeshConfig."""

from __future__ import annotations

import pytest

from meshfed.api.errors import InvalidDocument
from meshfed.istio import merged, mesh_config
from meshfed.model.meshes import MeshConfig

SOURCE = "ConfigMap istio-system/istio"
DEFAULT = MeshConfig(source=SOURCE, trust_domain="cluster.local", root_namespace="istio-system")
STATED = MeshConfig(source=SOURCE, trust_domain="a", root_namespace="b")
CHART = """
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
defaultProviders:
  metrics:
  - prometheus
enablePrometheusMerge: true
rootNamespace: istio-system
trustDomain: east.local
trustDomainAliases: [west.local, old.local, west.local]
defaultServiceExportTo: ["."]
defaultDestinationRuleExportTo: ["."]
"""


@pytest.mark.parametrize(
    ("text", "config"),
    [
        pytest.param(
            CHART,
            MeshConfig(
                source=SOURCE,
                trust_domain="east.local",
                trust_domain_aliases=("old.local", "west.local"),
                default_service_export_to=(".",),
                default_destination_rule_export_to=(".",),
                root_namespace="istio-system",
            ),
            id="as Istio's chart writes it",
        ),
        pytest.param("", DEFAULT, id="empty"),
        pytest.param("trustDomain: null\ntrustDomainAliases:\nrootNamespace:\n", DEFAULT, id="nulls"),
        pytest.param('{"trustDomain": "a", "rootNamespace": "b"}', STATED, id="JSON"),
    ],
)
def test_what_matters_is_read(text: str, config: MeshConfig) -> None:
    assert mesh_config(text, SOURCE) == config


@pytest.mark.parametrize(
    "text",
    [
        "trustDomain: [",
        "- a",
        "trustDomain: 1",
        "trustDomain: ''",
        "trustDomain: East",
        "trustDomainAliases: a",
        "trustDomainAliases: ['']",
        "defaultServiceExportTo: [~]",
    ],
)
def test_what_istiod_does_not_take_is_an_error_that_says_where(text: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^{SOURCE}:"):
        mesh_config(text, SOURCE)


def test_of_two_one_has_the_last_word() -> None:
    under = {
        "trustDomain": "a",
        "rootNamespace": "b",
        "trustDomainAliases": ["c"],
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "defaultConfig": {"concurrency": 1, "proxyMetadata": {"X": "1", "Y": "1"}},
    }
    over = {
        "trustDomain": "d",
        "rootNamespace": None,
        "trustDomainAliases": ["e"],
        "outboundTrafficPolicy": {},
        "defaultConfig": {"drainDuration": "1s", "proxyMetadata": {"Y": "2"}},
    }
    assert merged(under, over) == {
        "trustDomain": "d",
        "rootNamespace": "b",
        "trustDomainAliases": ["c", "e"],
        "outboundTrafficPolicy": {},
        "defaultConfig": {"concurrency": 1, "drainDuration": "1s", "proxyMetadata": {"X": "1", "Y": "2"}},
    }
    assert merged({}, {"trustDomain": "d"}) == {"trustDomain": "d"}
    assert merged({"defaultConfig": 1, "trustDomainAliases": "a"}, {"defaultConfig": []}) == {
        "defaultConfig": [],
        "trustDomainAliases": "a",
    }

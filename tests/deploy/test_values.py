"""Values that say nothing: null takes a default away, in which Helm is unlike most readers of YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import helm
import pytest
import yaml

from tests.deploy.cluster import CHART
from tests.deploy.test_chart import one, rendered

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
MAY_BE_EMPTY = {
    *("image.tag", "imagePullSecrets", "nameOverride", "fullnameOverride", "mesh.name", "mesh.spec", "remotes"),
    *("federation.meshPeers", "federation.exportedServiceSet", "federation.importedServiceSet"),
    *("istio.namespace", "istio.revision", "istio.meshConfig", "istio.spire.gatewayTemplateName"),
    *(
        f"controller.{name}"
        for name in ("extraArgs", "podLabels", "podAnnotations", "nodeSelector", "tolerations", "affinity")
    ),
    *("controller.resources", "controller.priorityClassName", "serviceAccount.annotations"),
    *("gateway.network", "gateway.service.annotations", "gateway.resources"),
    *("controller.dashboard.bindAddress", "controller.dashboard.hosts"),
    *("podMonitor.labels", "podMonitor.interval", "networkPolicy.metricsFrom"),
    *("prometheusRule.labels", "prometheusRule.runbooks", "dashboard.labels", "dashboard.annotations"),
}


def paths(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Every value, and every section of values."""
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict) and name != "resources":
            yield from paths(value, f"{above}{name}.")


def nothing_at(path: str, values: dict[str, Any]) -> dict[str, Any]:
    """``values``, and null at ``path``."""
    at = values
    *sections, last = path.split(".")
    for section in sections:
        at[section] = dict(at.get(section, {}))
        at = at[section]
    at[last] = None
    return values


ALL_PATHS = list(paths(DEFAULTS))


def test_the_paths_are_those_of_the_chart() -> None:
    assert {"controller", "istio.spire", "gateway.service.type"} | MAY_BE_EMPTY <= set(ALL_PATHS)


@pytest.mark.parametrize("path", sorted(set(ALL_PATHS) - MAY_BE_EMPTY))
def test_a_null_that_cannot_be_meant_is_refused_by_its_name(helm_process: helm.Helm, path: str) -> None:
    above, _, name = path.rpartition(".")
    where = "/" + above.replace(".", "/") if above else ""
    with pytest.raises(helm.HelmError) as caught:
        rendered(helm_process, nothing_at(path, {}))
    assert f"at '{where}': missing property '{name}'" in str(caught.value)


@pytest.mark.parametrize("path", sorted(MAY_BE_EMPTY))
def test_a_null_where_nothing_need_be_is_nothing(helm_process: helm.Helm, path: str) -> None:
    everywhere = {"gateway": {"enabled": True, "network": "n"}, "podMonitor": {"enabled": True}}
    values = everywhere | {name: {"enabled": True} for name in ("networkPolicy", "prometheusRule", "dashboard")}
    expected = rendered(helm_process, values)
    if path == "gateway.network":
        with pytest.raises(helm.HelmError, match=r"gateway\.enabled without a network"):
            rendered(helm_process, nothing_at(path, values))
    elif path.endswith(".resources"):
        found = rendered(helm_process, nothing_at(path, values))
        name = "federation-controller" if path.startswith("controller") else "federation-ingress-gateway"
        (container,) = one(found, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert container["resources"] is None
    else:
        assert rendered(helm_process, nothing_at(path, values)) == expected


def test_the_gateways_template_is_another_than_the_sidecars(helm_process: helm.Helm) -> None:
    values: dict[str, Any] = {"gateway": {"enabled": True, "network": "n"}, "istio": {"spire": {"enabled": True}}}

    def templates() -> list[str]:
        found = rendered(helm_process, values)
        pods = [one(found, "Deployment", f"federation-{name}") for name in ("controller", "ingress-gateway")]
        return [pod["spec"]["template"]["metadata"]["annotations"]["inject.istio.io/templates"] for pod in pods]

    assert templates() == ["sidecar,spire", "gateway,spire"]
    values["istio"]["spire"]["templateName"] = "mine"
    assert templates() == ["sidecar,mine", "gateway,mine"]
    values["istio"]["spire"]["gatewayTemplateName"] = "theirs"
    assert templates() == ["sidecar,mine", "gateway,theirs"]

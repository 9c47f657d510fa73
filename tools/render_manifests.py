"""Render the chart's defaults into the manifests that `meshfed manifests` prints, with Helm.

This is no generator of `tools/generate.py`, since it needs Helm: run it after a change of the chart. A test compares.
What is Helm's alone is left out: its labels, and the hook that runs with `helm uninstall`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm
import yaml

from meshfed.cli.manifests import ACCOUNT, IMAGE, ISTIO_NAMESPACE, MESH, NAMESPACE, TEMPLATE

JSONObject = dict[str, Any]

CHART = Path(__file__).resolve().parent.parent / "deploy" / "chart"
_HELMS = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version")
_ORDER = (
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "Deployment",
    "PodDisruptionBudget",
)


def objects(rendered: dict[str, str]) -> Iterator[JSONObject]:
    """The objects of a rendered chart, without Helm's hooks and labels."""
    for path, text in rendered.items():
        for document in yaml.safe_load_all(text) if path.endswith(".yaml") else ():
            if document and not document["metadata"].get("annotations", {}).get("helm.sh/hook"):
                yield _stripped(document)


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(part) for key, part in value.items() if key not in _HELMS}
    return [_stripped(part) for part in value] if isinstance(value, list) else value


def rendered(asked: helm.Helm) -> str:
    """The manifests, with names that printing them replaces."""
    repository, _, tag = IMAGE.partition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "istio": {"namespace": ISTIO_NAMESPACE},
        "serviceAccount": {"name": ACCOUNT},
    }
    found = asked("template", chart=str(CHART), name=MESH, namespace=NAMESPACE, values=values)
    ordered = sorted(
        objects(found), key=lambda one: _ORDER.index(one["kind"]) if one["kind"] in _ORDER else len(_ORDER)
    )
    return yaml.safe_dump_all(ordered, sort_keys=False)


if __name__ == "__main__":
    with helm.Helm() as process:
        TEMPLATE.write_text(rendered(process))

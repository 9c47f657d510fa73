"""What the blocks of the documentation name exists: commands are sound; flags, values, fields and files are there."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cyclopts
import jsonschema_rs
import msgspec
import pytest
import yaml

from meshfed.api.crds import all_crds
from meshfed.cli.app import build
from meshfed.model.reasons import ConditionType, EventReason, Reason
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.kubectl import kubectl_path
from tests.guides.readers import ROOT, put
from tests.pages import blocks, page_text, steps
from tests.published import published_crds

JSONObject = dict[str, Any]

DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
CHART = ROOT / "deploy" / "chart"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "meshfed-sandbox" / "README.md"]
OTHERS = {"sailoperator.io", "spire.spiffe.io", "operators.coreos.com"}
"""Groups whose schemas are not here; what the guides write of them was compared with their own documentation."""


def test_what_is_found_wrong() -> None:
    """The checks below would find each of these."""
    assert wrong_flags("meshfed uninstall --namespace=x --bogus")
    assert wrong_flags("cat x | meshfed crds --bogus")
    assert wrong_values("helm install east deploy/chart --set gateway.enabeld=true")
    assert wrong_values("helm install east deploy/chart --set controller.replicas=many")
    assert wrong_subcommands("kubectl --context east frobnicate x")
    assert invalid({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "spec": {"mtsl": {}}})
    assert invalid({"apiVersion": "v1", "kind": "Servcie"})
    wrong = {"apiVersion": "federation.openshift-service-mesh.io/v1alpha1", "kind": "RemoteMesh", "spec": {"x": 1}}
    assert invalid(wrong)


# --- commands


def commands(page: Path) -> Iterator[tuple[int, str]]:
    """Every command of a page that is for a shell, and its line."""
    yield from ((step.line, step.command) for step in steps(page.read_text()))
    for line, kind, text in blocks(page):
        if kind == "sh":
            yield line, text


def calls(command: str, program: str) -> Iterator[list[str]]:
    """The words of each call of ``program`` in a command."""
    command = re.sub(r"\d?>>?\s*\S+", " ", command.replace("\\\n", " ").replace("\n", " ; "))
    lexer = shlex.shlex(command, posix=True, punctuation_chars="();<>|&`")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[str] | None = None
    for word in _uncommented(command, lexer):
        ends = not word.strip("();<>|&`")
        if found is not None and ends:
            yield found
            found = None
        elif found is not None:
            found.append(word)
        elif word in {program, f"$({program}"}:
            found = []
    if found is not None:
        yield found


def _uncommented(command: str, lexer: shlex.shlex) -> list[str]:
    try:
        return list(lexer)
    except ValueError as error:
        raise ValueError(f"{command}: {error}") from error


def without_comments(command: str) -> str:
    return re.sub(r"(?m)(?:^|\s)#.*$", "", command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_sound(page: Path) -> None:
    wrong: list[tuple[int, str]] = []
    for line, command in commands(page):
        checked = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False)
        whole = without_comments(command)
        found = [checked.stderr, *wrong_flags(whole), *wrong_values(whole), *wrong_subcommands(whole), *missing(whole)]
        wrong += [(line, one) for one in found if one]
    assert wrong == []


def wrong_flags(command: str) -> list[str]:
    """What ``meshfed`` would not take."""
    wrong = []
    for words in calls(command, "meshfed"):
        # What is in capitals stands for something.
        stated = ["x:1" if word == "HOST:PORT" else "x" if word in {"FILE", "..."} else word for word in words]
        try:
            build().parse_args(stated, exit_on_error=False, print_error=False)
        except cyclopts.CycloptsError as error:
            wrong.append(f"meshfed {' '.join(words)}: {error}")
    return wrong


def wrong_values(command: str) -> list[str]:
    """What the chart's schema refuses of a ``helm install`` or ``upgrade`` of it."""
    schema, defaults = values_schema(), (CHART / "values.yaml").read_text()
    wrong = []
    for words in calls(command, "helm"):
        if "deploy/chart" not in words:
            continue
        options = list(zip(words, [*words[1:], ""], strict=True))
        files = [value for word, value in options if word in {"--values", "-f"}]
        texts = [value for word, value in options if word == "--set"]
        for name in _expanded(files):
            values: JSONObject = merged(yaml.safe_load(defaults), yaml.safe_load((ROOT / name).read_text()))
            for text in texts:
                put(values, *text.split("=", 1))
            wrong += [f"{name}: {error.message}" for error in schema.iter_errors(values)]
        if not files:
            values = yaml.safe_load(defaults)
            for text in texts:
                put(values, *text.split("=", 1))
            wrong += [error.message for error in schema.iter_errors(values)]
    return wrong


def merged(under: JSONObject, over: JSONObject) -> JSONObject:
    """Values over the chart's defaults, as Helm lays them."""
    for name, value in over.items():
        below = under.get(name)
        under[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return under


@functools.cache
def values_schema() -> Any:
    return jsonschema_rs.validator_for(msgspec.json.decode((CHART / "values.schema.json").read_bytes()))


def _expanded(names: list[str]) -> list[str]:
    """File names, each with ``$mesh`` for every mesh that there is such a file of."""
    found = []
    for name in names:
        meshes = ["east", "west", "central"] if "$mesh" in name else [""]
        there = [name.replace("$mesh", mesh) for mesh in meshes]
        found += [one for one in there if (ROOT / one).exists()] or [name]
    return found


def wrong_subcommands(command: str) -> list[str]:
    """The subcommands that ``kubectl`` does not have."""
    known = kubectl_subcommands()
    wrong = []
    for words in calls(command, "kubectl"):
        rest = iter(words)
        for word in rest:
            if word in {"--context", "-n", "--namespace", "--kubeconfig"}:
                next(rest, None)
            elif not word.startswith("-"):
                wrong += [] if word in known else [f"kubectl {word}"]
                break
    return wrong


@functools.cache
def kubectl_subcommands() -> set[str]:
    helped = subprocess.run([str(kubectl_path()), "--help"], text=True, capture_output=True, check=True).stdout
    return set(re.findall(r"^  ([a-z-]+)  ", helped, re.MULTILINE))


def missing(command: str) -> list[str]:
    """The files of the project that a command names and that are not there."""
    names = _expanded(
        re.findall(r"(?<![\w./-])(?:docs|deploy/(?=chart|crds|examples|kustomize)|tools)[\w./$-]*[\w/]", command)
    )
    return [name for name in names if not (ROOT / name).exists()]


# --- manifests


@functools.cache
def schemas() -> dict[tuple[str, str], Any]:
    """Validators by apiVersion and kind, of ours and of Istio's; of Istio's own CRDs where they are here."""
    definitions = [*istio_crds(), *all_crds(), *published_crds()]
    found = {}
    for crd in definitions:
        spec = crd["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            name = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            found[name] = jsonschema_rs.validator_for(schema, validate_formats=False)
    return found


def closed(schema: Any) -> Any:
    """A schema in which fields that it does not know are wrong, as the API server warns of them."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: part if key == "x-kubernetes-validations" else closed(part) for key, part in schema.items()}
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


BUILT_IN = {"v1", "apps/v1", "batch/v1", "kustomize.config.k8s.io/v1beta1", "rbac.authorization.k8s.io/v1"}
BUILT_IN_KINDS = {
    "Namespace",
    "Service",
    "ServiceAccount",
    "Deployment",
    "Secret",
    "ConfigMap",
    "Kustomization",
    "Node",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
}


def invalid(manifest: JSONObject) -> list[str]:
    """What is wrong with a manifest."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    if version in BUILT_IN:
        return [] if kind in BUILT_IN_KINDS else [f"no kind {kind} in {version}"]
    if version.partition("/")[0] in OTHERS:
        return []
    validator = schemas().get((version, kind))
    if validator is None:
        return [f"no schema for {version} {kind}"]
    content = {key: part for key, part in manifest.items() if key not in {"apiVersion", "kind", "metadata"}}
    errors = validator.iter_errors(content)
    return [f"{kind}: {'.'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


def manifests(text: str) -> Iterator[JSONObject]:
    """The objects of a YAML text; placeholders in capitals are what they stand for."""
    for document in yaml.safe_load_all(text.replace("[GATEWAY]", "[192.0.2.20]")):
        if isinstance(document, dict) and "kind" in document and "apiVersion" in document:
            yield document


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_examples_are_valid(path: Path) -> None:
    assert [error for manifest in manifests(path.read_text()) for error in invalid(manifest)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manifests_on_pages_are_valid(page: Path) -> None:
    found = [(line, manifest) for line, kind, text in blocks(page) if kind == "yaml" for manifest in manifests(text)]
    assert [(line, error) for line, manifest in found for error in invalid(manifest) if "spec" in manifest] == []


@pytest.mark.parametrize(
    "page", [*sorted((DOCS / "guides").glob("*.md")), DOCS / "troubleshooting.md"], ids=lambda p: p.name
)
def test_reasons_that_are_named_exist(page: Path) -> None:
    text = page_text(page)
    known = {str(one) for closed in (Reason, EventReason, ConditionType) for one in closed}
    kinds = {kind for _, kind in schemas()} | {"Service", "Job", "BlackHoleCluster", "PassthroughCluster"}
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", text))
    foreign = {"ImagePullBackOff", "IstioCNI", "HostAlreadyClaimed"}
    assert sorted(named - known - kinds - foreign) == []


def test_every_reason_a_person_has_to_act_on_is_in_troubleshooting() -> None:
    """Those that say that something is wrong with a mesh or with a remote; of offers, the frequent ones are enough."""
    text = (DOCS / "troubleshooting.md").read_text()
    acted_on = [
        *(reason for reason in Reason if reason.startswith("Gateway")),
        *(Reason.UNREACHABLE, Reason.PERMISSION_DENIED, Reason.IDENTITY_AMBIGUOUS, Reason.IDENTITY_SHADOWED),
        *(Reason.NAME_CONFLICT, Reason.NOT_OWNED, Reason.DRIFT_CONFLICT, Reason.WRITE_FAILED),
        *(Reason.NO_MESH_ENDPOINTS, Reason.MTLS_DISABLED, Reason.HIDDEN_FROM_GATEWAY, Reason.ROUTE_NOT_ADMITTED),
    ]
    assert [str(reason) for reason in acted_on if f"`{reason}`" not in text] == []

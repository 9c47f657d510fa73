"""The sandbox as a whole: meshes side by side, and what is left of them afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from meshfed_sandbox import Sandbox, SandboxError, load_crds, run_sandbox
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.istio_crds import istio_crds
from meshfed_sandbox.kubectl import kubectl_path
from tests.published import FILES, MISSING

ROOT = Path(__file__).resolve().parents[2]
HOST = "ratings.bookinfo.svc.cluster.local"


def istio(version: str, kind: str, spec: dict[str, Any], *, group: str = "networking.istio.io") -> dict[str, Any]:
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def contents(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def served(server: APIServer) -> set[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/apis") as answer:
        return {group["name"] for group in (await answer.json())["groups"]}


async def test_meshes_side_by_side(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    async with Sandbox(["east", "west", "north"], directory=directory) as sandbox:
        assert contents(directory) == [
            "east.kubeconfig",
            "north.kubeconfig",
            "west.kubeconfig",
        ]
        urls = set()
        for mesh, path in sandbox.kubeconfigs.items():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            config = yaml.safe_load(path.read_text())
            assert (config["current-context"], config["clusters"][0]["name"]) == (mesh, mesh)
            urls.add(config["clusters"][0]["cluster"]["server"])
            assert {"networking.istio.io", "security.istio.io", "route.openshift.io"} <= await served(
                sandbox.servers[mesh]
            )
        assert len(urls) == 3
    assert contents(directory) == []


async def test_crds_of_ones_own_replace_the_reduced_ones(tmp_path: Path) -> None:
    mine = {**istio_crds()[0]}
    mine["spec"] = {**mine["spec"], "versions": [mine["spec"]["versions"][0]]}
    other = tmp_path / "crds.yaml"
    extra = yaml.safe_dump(mine).replace("networking.istio.io", "example.com")
    other.write_text(f"---\n{yaml.safe_dump(mine)}---\n{extra}---\n")
    async with Sandbox(["east"], directory=tmp_path, crd_files=[other]) as sandbox:
        found = sandbox.servers["east"].snapshot("customresourcedefinitions")
        versions = {crd["metadata"]["name"]: [v["name"] for v in crd["spec"]["versions"]] for crd in found}
        assert versions["gateways.networking.istio.io"] == ["v1"]
        assert versions["gateways.example.com"] == ["v1"]
        assert versions["serviceentries.networking.istio.io"] == ["v1", "v1beta1", "v1alpha3"]


@pytest.mark.parametrize(
    ("meshes", "message"),
    [
        (["East"], "'East' cannot name a mesh: use lower-case letters, digits and '-', at most 34 characters"),
        (["e" * 35], "at most 34 characters"),
        (["east", "east"], "--meshes: east,east names a mesh twice"),
    ],
)
def test_names_that_meshes_cannot_have(tmp_path: Path, meshes: list[str], message: str) -> None:
    with pytest.raises(SandboxError) as refused:
        Sandbox(meshes, directory=tmp_path)
    assert str(refused.value).endswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 2: not YAML: while parsing a flow node did not find expected node content"),
        ("kind: ConfigMap\napiVersion: v1\n", "holds a ConfigMap where only CustomResourceDefinitions of"),
        ("- 1\n", "holds a list where only CustomResourceDefinitions of"),
    ],
)
def test_crd_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "crds.yaml"
    path.write_text(text)
    with pytest.raises(SandboxError) as refused:
        load_crds(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    with pytest.raises(SandboxError):
        load_crds(tmp_path / "absent.yaml")


async def test_a_second_sandbox_does_not_take_the_folder_of_one_that_is_up(tmp_path: Path) -> None:
    async with Sandbox(["east"], directory=tmp_path) as sandbox:
        kubeconfig = sandbox.kubeconfigs["east"].read_text()
        with pytest.raises(SandboxError, match="another sandbox is up there"):
            await Sandbox(["east"], directory=tmp_path).__aenter__()
        assert sandbox.kubeconfigs["east"].read_text() == kubeconfig
    async with Sandbox(["east"], directory=tmp_path):
        pass


async def test_it_says_ready_and_stays_until_it_is_told_to_stop(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_sandbox(["east"], directory=tmp_path, say=said.put_nowait))
        how = await said.get()
        assert f"kubectl --kubeconfig {tmp_path / 'east.kubeconfig'}" in how
        assert await said.get() == "ready"
        os.kill(os.getpid(), signal.SIGTERM)
    assert contents(tmp_path) == []


@pytest.mark.parametrize(("flags", "installed"), [([], 3), (["--no-install"], 0)])
def test_a_data_plane_has_a_gateway_and_a_controller_unless_it_is_to_have_none(
    tmp_path: Path, flags: list[str], installed: int
) -> None:
    command = [sys.executable, "-m", "meshfed", "sandbox", "--meshes=east", "--data-plane", f"--dir={tmp_path}", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "ready\n" in iter(process.stdout.readline, "")
            ask = [
                kubectl_path(),
                f"--kubeconfig={tmp_path / 'east.kubeconfig'}",
                "get",
                "deployments",
                "-A",
                "-o",
                "name",
            ]
            said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        finally:
            process.terminate()
    assert len(said.splitlines()) == installed
    assert process.returncode == 0


ENDPOINT = {"address": "192.0.2.1", "ports": {"http": 15443}, "network": "west", "labels": {"a": "b"}}
ENTRY = {
    "hosts": [HOST],
    "ports": [{"number": 9080, "name": "http", "protocol": "HTTP", "targetPort": 9080}],
    "location": "MESH_INTERNAL",
    "resolution": "STATIC",
    "subjectAltNames": ["spiffe://west/ns/bookinfo/sa/ratings"],
    "exportTo": ["*"],
    "endpoints": [ENDPOINT],
}
SAMPLES = [
    (istio("v1", "ServiceEntry", ENTRY), True),
    (istio("v1", "ServiceEntry", {**ENTRY, "resolution": "SOMETIMES"}), False),
    (istio("v1", "ServiceEntry", {**ENTRY, "hosts": []}), False),
    (istio("v1", "ServiceEntry", {**ENTRY, "hosts": ["*"]}), False),
    (istio("v1", "ServiceEntry", {**ENTRY, "ports": [{"number": 0, "name": "http"}]}), False),
    (istio("v1", "ServiceEntry", {**ENTRY, "ports": ENTRY["ports"] * 2}), False),  # type: ignore[operator]  # a list
    (istio("v1", "ServiceEntry", {**ENTRY, "workloadSelector": {"labels": {"a": "b"}}}), False),
    (istio("v1", "ServiceEntry", {**ENTRY, "endpoints": [{"weight": 1}]}), False),
    (istio("v1beta1", "WorkloadEntry", {**ENDPOINT, "serviceAccount": "ratings"}), True),
    (istio("v1beta1", "WorkloadEntry", {"ports": {"http": 1}}), False),
    (istio("v1beta1", "WorkloadEntry", {**ENDPOINT, "ports": {"http": 70000}}), False),
    (
        istio(
            "v1alpha3",
            "Gateway",
            {
                "selector": {"app": "federation-ingress-gateway"},
                "servers": [
                    {
                        "port": {"number": 15443, "name": "tls", "protocol": "TLS"},
                        "hosts": [HOST],
                        "tls": {"mode": "AUTO_PASSTHROUGH"},
                    }
                ],
            },
        ),
        True,
    ),
    (istio("v1", "Gateway", {"servers": [{"hosts": [HOST], "port": {"number": 1, "name": "x"}}]}), False),
    (
        istio(
            "v1",
            "DestinationRule",
            {
                "host": HOST,
                "trafficPolicy": {
                    "outlierDetection": {"consecutive5xxErrors": 3},
                    "portLevelSettings": [
                        {"port": {"number": 9080}, "tls": {"mode": "ISTIO_MUTUAL", "sni": "ratings-9080"}}
                    ],
                },
            },
        ),
        True,
    ),
    (istio("v1", "DestinationRule", {"host": HOST, "trafficPolicy": {"tls": {"mode": "MAYBE"}}}), False),
    (
        istio(
            "v1alpha3",
            "EnvoyFilter",
            {
                "workloadSelector": {"labels": {"app": "gateway"}},
                "configPatches": [
                    {
                        "applyTo": "FILTER_CHAIN",
                        "match": {"context": "GATEWAY", "listener": {"portNumber": 1, "filterChain": {"sni": HOST}}},
                        "patch": {"operation": "MERGE", "value": {"filter_chain_match": {"server_names": ["x"]}}},
                    }
                ],
            },
        ),
        True,
    ),
    (istio("v1alpha3", "EnvoyFilter", {"configPatches": [{"applyTo": "NOTHING"}]}), False),
    (
        istio(
            "v1",
            "PeerAuthentication",
            {
                "selector": {"matchLabels": {"app": "controller"}},
                "mtls": {"mode": "STRICT"},
                "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}},
            },
            group="security.istio.io",
        ),
        True,
    ),
    (
        istio("v1", "PeerAuthentication", {"portLevelMtls": {"1": {"mode": "STRICT"}}}, group="security.istio.io"),
        False,
    ),
    (
        istio(
            "v1beta1",
            "AuthorizationPolicy",
            {
                "selector": {"matchLabels": {"app": "controller"}},
                "action": "ALLOW",
                "rules": [
                    {
                        "from": [{"source": {"principals": ["west/ns/istio-system/sa/federation-controller"]}}],
                        "to": [{"operation": {"ports": ["15080"]}}],
                    }
                ],
            },
            group="security.istio.io",
        ),
        True,
    ),
    (istio("v1", "AuthorizationPolicy", {"action": "PERHAPS"}, group="security.istio.io"), False),
    (
        istio(
            "v1",
            "Route",
            {
                "host": "ratings-9080.bookinfo.svc.cluster.local",
                "port": {"targetPort": "tls-passthrough"},
                "tls": {"termination": "passthrough"},
                "to": {"kind": "Service", "name": "federation-ingress-gateway"},
            },
            group="route.openshift.io",
        ),
        True,
    ),
    (istio("v1", "Route", {"to": {"kind": "Service", "name": ""}}, group="route.openshift.io"), False),
]


@pytest.mark.parametrize("source", ["reduced", "published"])
async def test_the_reduced_crds_accept_and_refuse_what_the_published_ones_do(source: str, tmp_path: Path) -> None:
    if source == "published" and MISSING:
        pytest.skip(MISSING)
    crd_files = FILES if source == "published" else ()
    async with (
        Sandbox(["east"], directory=tmp_path, crd_files=crd_files) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        for obj, accepted in SAMPLES:
            plural = {"ServiceEntry": "serviceentries", "WorkloadEntry": "workloadentries"}.get(obj["kind"])
            plural = plural or {"AuthorizationPolicy": "authorizationpolicies"}.get(
                obj["kind"], f"{obj['kind'].lower()}s"
            )
            path = f"/apis/{obj['apiVersion']}/namespaces/default/{plural}?fieldValidation=Strict&dryRun=All"
            async with session.post(sandbox.servers["east"].url + path, json=obj) as answer:
                said = await answer.text()
                assert answer.status == (201 if accepted else 422), f"{obj}: {said}"

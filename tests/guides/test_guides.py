"""The guides hold when they are followed: what they apply federates meshes, and the requests in them are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm
import pytest
import yaml

from meshfed_sandbox.dataplane.router import HTTPS_PORT, RouterUnavailable, haproxy_path, https_port
from tests.guides.readers import ROOT, reading


@pytest.fixture(scope="module", autouse=True)
def helm_is_here() -> None:
    try:
        helm.folder()
    except helm.HelmUnavailable as error:
        pytest.skip(str(error))


pytestmark = pytest.mark.timeout(300)  # a page is a minute's work on a machine that does much else

NAMESPACE = "kubectl --context $mesh create namespace istio-system"
"""What is left of the page on meshes where a guide needs no more of it."""


def values_of(path: str) -> dict[str, Any]:
    """Values of Istio's chart from a file of the examples, or from the Istio object in it that has them."""
    documents = list(yaml.safe_load_all((ROOT / "docs" / "examples" / path).read_text()))
    found = next((one["spec"]["values"] for one in documents if one.get("kind") == "Istio"), documents[0])
    values: dict[str, Any] = found
    return values


async def test_bookinfo_across_two_meshes_and_taking_them_apart(tmp_path: Path) -> None:
    meshes = {mesh: values_of(f"istio/{mesh}.yaml") for mesh in ("east", "west")}
    async with reading(meshes, directory=tmp_path) as reader:
        for page in ("meshes.md", "bookinfo.md", "removing.md"):
            await reader.follow(page)


async def test_three_meshes(tmp_path: Path) -> None:
    meshes = {mesh: values_of(f"istio/{mesh}.yaml") for mesh in ("east", "west", "central")}
    async with reading(meshes, directory=tmp_path, before=NAMESPACE) as reader:
        await reader.follow("three-meshes.md")


async def test_openshift(tmp_path: Path) -> None:
    try:
        haproxy_path()
    except RouterUnavailable as error:
        pytest.skip(str(error))
    if https_port("127.0.0.1") != HTTPS_PORT:
        pytest.skip("the guide's routers are at port 443, which this process may not listen on")
    meshes = {mesh: values_of(f"openshift/istio-{mesh}.yaml") for mesh in ("east", "west")}
    async with reading(meshes, directory=tmp_path, routers=True, before=NAMESPACE) as reader:
        await reader.follow("openshift.md")


async def test_spire(tmp_path: Path) -> None:
    meshes = {mesh: values_of(f"spire/istio-{mesh}.yaml") for mesh in ("east", "west")}
    async with reading(meshes, directory=tmp_path, trust="federated", before=NAMESPACE) as reader:
        await reader.follow("spire.md")

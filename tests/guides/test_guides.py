"""The guides hold when they are followed: what they apply federates meshes, and the requests in them are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm
import pytest
import yaml

from tests.guides.readers import ROOT, reading


@pytest.fixture(scope="module", autouse=True)
def helm_is_here() -> None:
    try:
        helm.fetched()
    except helm.HelmUnavailable as error:
        pytest.skip(str(error))


def istio_values(mesh: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "examples" / "istio" / f"{mesh}.yaml").read_text())
    return values


async def test_bookinfo_across_two_meshes_and_taking_them_apart(tmp_path: Path) -> None:
    meshes = {mesh: istio_values(mesh) for mesh in ("east", "west")}
    async with reading(meshes, directory=tmp_path) as reader:
        for page in ("meshes.md", "bookinfo.md", "removing.md"):
            await reader.follow(page)

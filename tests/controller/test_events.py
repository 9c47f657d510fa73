"""What ``kubectl describe`` shows of what happened; and nothing of it twice because a controller restarts."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import yaml

from meshfed_sandbox.kubectl import kubectl_path
from tests.builders import SYSTEM, host
from tests.controller.meshes import Mesh, federated, synced
from tests.controller.test_federation import BOOKINFO, export_all
from tests.waiting import eventually


async def described(mesh: Mesh, directory: Path, *words: str) -> str:
    """The table of Events that a real kubectl shows."""
    config = directory / f"{mesh.name}.kubeconfig"
    config.write_text(yaml.safe_dump(mesh.server.kubeconfig(mesh.name)))
    process = await asyncio.create_subprocess_exec(
        *(kubectl_path(), f"--kubeconfig={config}", f"--cache-dir={directory}", "describe", *words),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return re.sub(r" +", " ", out.decode().partition("Events:")[2])


def told(mesh: Mesh) -> dict[tuple[str, str, str], int]:
    """How often each Event happened, by kind, name and reason."""
    return {
        (event["involvedObject"]["kind"], event["involvedObject"]["name"], event["reason"]): event["count"]
        for event in mesh.server.snapshot("events")
    }


@pytest.mark.timeout(180)
async def test_describe_shows_what_was_exported_imported_denied_lost_and_found(tmp_path: Path) -> None:
    async with federated("east", "west", services=BOOKINFO) as (east, west):
        await export_all(east, west)
        record = f"{host('ratings')}.west"
        await eventually(lambda: ("FederatedService", record, "Imported") in told(east))
        await eventually(lambda: ("Service", "ratings", "Exported") in told(west))
        shown = await described(east, tmp_path, "federatedservice", record, "-n", SYSTEM)
        assert f"Normal Imported 1s meshfed imported: ServiceEntry {SYSTEM}/import." in re.sub(r" \d+s ", " 1s ", shown)
        assert "meshfed offered to other meshes as ratings.default.svc.cluster.local" in await described(
            west, tmp_path, "service", "ratings"
        )
        assert "RemoteFound" in await described(east, tmp_path, "remotemesh", "west", "-n", SYSTEM)

        # A restart tells nothing of what was told already.
        before = told(east)
        await east.stop()
        await east.start()
        await east.ready()
        await synced(east, west)
        await asyncio.sleep(4)  # longer than statuses are held back for
        assert told(east) == before

        lost, found = (("RemoteMesh", "west", reason) for reason in ("RemoteLost", "RemoteFound"))
        await west.stop()
        await eventually(lambda: told(east).get(lost, 0) == before.get(lost, 0) + 1)
        shown = await described(east, tmp_path, "remotemesh", "west", "-n", SYSTEM)
        assert re.search(r"Warning RemoteLost \S+( \(.*\))? meshfed since \S+: .*what was imported stays", shown)
        await east.stop()
        await east.start()
        await east.ready()
        await asyncio.sleep(4)
        assert told(east)[lost] == before.get(lost, 0) + 1
        await west.start()
        await synced(east, west)
        await eventually(lambda: told(east)[found] == before[found] + 1)

        await east.patch("RemoteMesh", "west", {"spec": {"import": {"merge": False}}})
        await eventually(lambda: ("FederatedService", f"{host('reviews')}.west", "Denied") in told(east))
        shown = await described(east, tmp_path, "federatedservice", f"{host('reviews')}.west", "-n", SYSTEM)
        assert re.search(r"Warning Denied \S+ meshfed LocalServiceExists: ", shown)
        await west.label("ratings", export_service=None)
        await eventually(lambda: ("Service", "ratings", "Unexported") in told(west))
        # The record is gone, and with it what could be described; its Event says where it went.
        await eventually(lambda: ("FederatedService", record, "Withdrawn") in told(east))
        assert record not in {one["metadata"]["name"] for one in east.server.snapshot("federatedservices")}

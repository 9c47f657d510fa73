"""What an earlier version left in a cluster is taken over: nothing goes, whoever is away, and all becomes current."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meshfed import __version__
from meshfed.kube import Manifest
from tests.controller.in_memory import World
from tests.kube.memory import Place
from tests.upgrade.stands import KEPT, MESHES, MINUTES, OBJECTS, as_yaml, held, mesh, read, written
from tests.virtual import virtual_loop

VERSIONS = sorted(path.name for path in OBJECTS.iterdir())


def test_what_this_version_leaves_is_written_down() -> None:
    for name in MESHES:
        assert read(__version__, name) == written(name), "run `python -m tests.upgrade`, and look at what changes"


def test_there_is_each_kind_that_is_written_and_each_way_to_import() -> None:
    found = [one for name in MESHES for one in read(__version__, name)]
    assert {one["kind"] for one in found} == KEPT
    accepted = {
        condition["reason"]
        for one in found
        if one["kind"] == "FederatedService"
        for condition in one["status"]["conditions"]
        if condition["type"] == "Accepted"
    }
    assert {"Accepted", "DeniedByRule"} < accepted
    assert all(
        condition["status"] == "True"
        for one in found
        if one["kind"] == "MeshFederation"
        for condition in one["status"]["conditions"]
    )


def carried(found: World) -> set[str]:
    """What is imported by some object or other, whatever that is called: a host, or endpoints beside local pods."""
    carriers = {"ServiceEntry": "hosts", "WorkloadEntry": "labels"}
    return {
        f"{place[0].kind} {place[1]} {one['spec'][carriers[place[0].kind]]}"
        for place, one in found.cluster.objects.items()
        if place[0].kind in carriers
    }


async def taken_over(found: World, *, away: bool) -> set[str]:
    """Have a controller take over what is there, at first with nobody to hear from.

    Return what of it was ever gone: objects, and imports that no object carried.
    """
    before, hosts = set(found.cluster.objects), carried(found)
    for remote in found.remotes.values():
        remote.away = away
    gone: set[str] = set()
    record = found.cluster.record

    def noted(place: Place, new: Manifest | None) -> Manifest:
        stored = record(place, new)
        if new is None and place in before:
            gone.add(f"{place[0].kind} {place[2]}")
        gone.update(f"import of {one}" for one in hosts - carried(found))
        return stored

    found.cluster.record = noted  # type: ignore[method-assign] # as its subclass of other tests does
    await found.start()
    await asyncio.sleep(MINUTES)
    for remote in found.remotes.values():
        remote.away = False
        remote.tell()
    await asyncio.sleep(MINUTES)
    await found.stop()
    return gone


def wanted(objects: list[Manifest]) -> dict[str, Any]:
    """What objects say, and of ours what is said of them."""
    found = {}
    for one in objects:
        said = [(each["type"], each["status"], each["reason"]) for each in one.get("status", {}).get("conditions", ())]
        metadata = {key: value for key, value in one["metadata"].items() if key != "creationTimestamp"}
        found[f"{one['kind']} {one['metadata']['name']}"] = (metadata, one["spec"], said)
    return found


@pytest.mark.parametrize("away", [True, False], ids=["the remotes are away", "the remotes are there"])
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_left_is_taken_over(version: str, name: str, away: bool) -> None:
    async def run(monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], list[Manifest]]:
        found = mesh(name, monkeypatch, left=read(version, name))
        return await taken_over(found, away=away), held(found)

    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner(loop_factory=virtual_loop) as runner:
        gone, after = runner.run(run(monkeypatch))
    now = written(name)
    # An object that this version writes under another name may go, once there is the other.
    assert not {one for one in gone if one in wanted(now) or one.startswith(("import of ", "FederatedService "))}
    assert wanted(after) == wanted(now)


def test_files_are_as_they_are_written() -> None:
    """So that what changes is what a reader of the change sees."""
    for name in MESHES:
        text = (OBJECTS / __version__ / f"{name}.yaml").read_text(encoding="utf-8")
        assert text == as_yaml(read(__version__, name))

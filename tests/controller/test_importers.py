"""What an exporter makes of what importers say, over real sockets: counts, who asks is told, and who is warned."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest

from meshfed.api.v1alpha1 import PROBE_REQUEST_ANNOTATION
from meshfed.controller.options import Address
from meshfed.controller.remotes import importing as importing_module
from meshfed.controller.remotes.importing import Importing
from meshfed.controller.remotes.publisher import Publisher
from meshfed.controller.replicas import own_lease
from meshfed.controller.serving import metrics_app, served
from meshfed.model.importers import ImportersPage
from meshfed.model.last_hour import ChangesSeen
from meshfed.plan import subscriptions
from meshfed_sandbox.ports import Ports
from tests.builders import host, service
from tests.controller.meshes import Mesh, federated
from tests.controller.test_subscribers import the_remote
from tests.waiting import eventually

SERVICES = {"west": [service("ratings", exported=True), service("reviews", exported=True), service("details")]}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Publisher.__init__

    def begun(self: Publisher, options: Any, metrics: Any) -> None:
        begin(self, options, metrics)
        PUBLISHERS[options.discovery.port] = self

    monkeypatch.setattr(Publisher, "__init__", begun)
    monkeypatch.setattr(Publisher, "_authorize", the_remote)
    monkeypatch.setattr(subscriptions, "GRACE", 1.0)
    monkeypatch.setattr(own_lease, "RENEW_SECONDS", 1.0)


async def asked(port: int, **query: str) -> ImportersPage:
    url = f"http://127.0.0.1:{port}/importers"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as answer:
        return msgspec.json.decode(await answer.read(), type=ImportersPage)


def events(mesh: Mesh, reason: str = "StillImported") -> dict[tuple[str, str], str]:
    return {
        (one["involvedObject"]["kind"], one["involvedObject"]["name"]): f"{one['type']} {one['message']}"
        for one in mesh.server.snapshot("events")
        if one["reason"] == reason
    }


def imported_there(mesh: Mesh, remote: str) -> int:
    return int(mesh.all("RemoteMesh")[remote].get("status", {}).get("importedThere", 0))


PUBLISHERS: dict[int, Publisher] = {}
"""By the port of its discovery service, what each mesh tells its subscribers."""


def importing(mesh: Mesh) -> Importing:
    """What the importers of a mesh say."""
    return PUBLISHERS[mesh.discovery_port].importing


async def test_who_imports_is_counted_and_who_asks_is_told() -> None:
    async with federated("east", "west", services=SERVICES) as (east, west):
        await eventually(lambda: imported_there(west, "east") == 2, within=30)
        await west.label("details", export_service="true")
        await eventually(lambda: len(east.imported()) == 3)
        await eventually(lambda: imported_there(west, "east") == 3, within=30)
        count = west.metrics.registry.get_sample_value("meshfed_export_in_place_seconds_count", {"subscriber": "east"})
        assert count == 1, "what was there before is no change"
        page = importing(west).page(host=host("ratings"))
        assert page.hosts == {host("ratings"): {"east": True}}
        assert (page.remotes["east"].imports, page.remotes["east"].whole) == (3, True)
        assert page.remotes["east"].last is not None
        assert page.remotes["east"].last.host == host("details")
        assert page.remotes["east"].echo is None
        request = {"metadata": {"annotations": {PROBE_REQUEST_ANNOTATION: "now"}}}
        await west.patch("RemoteMesh", "east", request)
        await eventually(lambda: importing(west).page().remotes["east"].echo is not None)
        await east.patch("RemoteMesh", "west", {"spec": {"import": {"confirm": False}}})
        await eventually(lambda: not importing(west).page().remotes["east"].says)
        await eventually(lambda: imported_there(west, "east") == 0, within=30)
        await east.delete("RemoteMesh", "west")
        await west.delete("RemoteMesh", "east")
        await eventually(
            lambda: (
                west.metrics.registry.get_sample_value("meshfed_export_in_place_seconds_count", {"subscriber": "east"})
                is None
            )
        )


async def test_the_answer_comes_in_pages_over_http_beside_the_metrics(
    monkeypatch: pytest.MonkeyPatch, ports: Ports
) -> None:
    monkeypatch.setattr(importing_module, "PAGE", 2)
    services = {"west": [service(f"s{number}", exported=True) for number in range(5)]}
    async with federated("east", "west", services=services) as (_, west):
        await eventually(lambda: importing(west).counts() == {"east": 5})
        address = Address("127.0.0.1", ports.take())
        await west.label("s1", version="2")
        await eventually(lambda: importing(west).page().exports_took.remotes.keys() == {"east"})
        async with served(metrics_app(west.metrics, importing(west)), address):
            found, after = list[str](), ""
            while True:
                page = await asked(address.port, after=after)
                assert all(by == {"east": True} for by in page.hosts.values())
                assert (page.exports_took.measured is None) == bool(after), "it is said once"
                found += page.hosts
                if not (after := page.next):
                    break
            assert found == [host(f"s{number}") for number in range(5)]
            assert (await asked(address.port)).hosts == {}
            assert (await asked(address.port, host=host("s1"))).hosts == {host("s1"): {"east": True}}
            assert (await asked(address.port, host="nobody's")).hosts == {"nobody's": {}}
            whole = await asked(address.port)
            assert whole.remotes["east"].imports == 5
            (minute,) = whole.exports_took.remotes["east"].minutes
            assert (minute.changes, 0 < minute.mean == minute.slowest < 60) == (1, True)
            assert whole.imports_took == ChangesSeen(whole.imports_took.measured), "it imports nothing"
            assert whole.imports_took.measured is not None
            assert (await asked(address.port, host=host("s1"))).exports_took == ChangesSeen()


async def test_who_withdraws_what_somebody_imports_is_warned_once() -> None:
    async with federated("east", "west", services=SERVICES) as (east, west):
        await eventually(lambda: importing(west).counts() == {"east": 2})
        await west.label("details", export_service="true")
        await west.label("details", export_service=None)
        rules = [{"action": "Export", "names": ["reviews"], "remotes": ["north"]}, {"action": "Export"}]
        await west.patch("MeshFederation", "west", {"spec": {"export": {"rules": rules}}})
        await eventually(lambda: ("Service", "reviews") in events(west), within=30)
        await west.patch("MeshFederation", "west", {"spec": {"export": {"rules": None}}})
        await eventually(lambda: importing(west).counts() == {"east": 2})
        await west.label("ratings", export_service=None)
        await eventually(lambda: ("Service", "ratings") in events(west), within=30)
        begins = f"Warning it was offered as {host('ratings')}, and RemoteMesh east said to import that when it was"
        assert events(west)["Service", "ratings"].startswith(begins)
        await west.delete("Service", "reviews", namespace="default")
        await eventually(lambda: ("MeshFederation", "west") in events(west), within=30)
        assert "Service default/reviews, which is gone" in events(west)["MeshFederation", "west"]
        await eventually(lambda: east.imported() == [])
        assert all(one["count"] == 1 for one in west.server.snapshot("events") if one["reason"] == "StillImported")

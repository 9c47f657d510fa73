"""Each replica of a controller is asked who imports what, through the API server, as far as that is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from meshfed.cli.importers import of_cluster
from meshfed.kube import Client, ClusterConfig
from meshfed.model.importers import ImportersPage, RemoteImports
from meshfed.model.last_hour import ChangesSeen, HourOfChanges, LastChange, MinuteOfChanges
from meshfed.views.importers import ImportersSeen
from meshfed_sandbox.apiserver import APIServer
from tests.builders import RESOURCES, SYSTEM, namespace, pod
from tests.cli.fakes import snapshot

LABELS = {"app.kubernetes.io/name": "federation-controller"}
WEST = RemoteImports(says=True, whole=True, imports=3)
HOSTS = [f"s{number}.example" for number in range(5)]


class Replicas:
    """What runs the controller's pods: each answers by itself, where it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []
        self.answers: dict[str, bytes | int] = {}

    def logs(self, *_: str) -> Sequence[Path]:
        return []

    async def execute(self, *_: Any) -> Any:
        raise LookupError("nothing runs here")

    async def fetch(self, _namespace: str, name: str, port: int, path: str) -> tuple[int, str, bytes]:
        self.asked.append((name, port, path))
        if name not in self.answers:
            raise LookupError(f"{name} is not reached")
        answer = self.answers[name]
        if isinstance(answer, int):
            return answer, "text/plain", b"404: Not Found"
        if "after=" in path:
            after = path.partition("after=")[2]
            page = msgspec.json.decode(answer, type=ImportersPage)
            rest = [one for one in sorted(page.hosts) if one > after]
            shown = {one: page.hosts[one] for one in rest[:2]}
            return 200, "application/json", encoded(page.remotes, shown, rest[1] if len(rest) > 2 else "")
        return 200, "application/json", answer


def encoded(remotes: dict[str, RemoteImports], hosts: dict[str, dict[str, bool]], next_: str = "") -> bytes:
    return msgspec.json.encode(ImportersPage(remotes, hosts, next_))


def replica(name: str, **spec: Any) -> dict[str, Any]:
    made = pod(f"{name}.{SYSTEM}", labels=LABELS)
    made["spec"] |= spec
    return made | {"status": {"phase": "Running"}}


@asynccontextmanager
async def cluster(*pods: dict[str, Any]) -> AsyncIterator[tuple[Client, Replicas]]:
    replicas = Replicas()
    async with APIServer(crds=[]) as server, Client(ClusterConfig(server=server.url)) as client:
        server.run_by(replicas)
        await client.create(RESOURCES["Namespace"], namespace(SYSTEM))
        for one in pods:
            await client.create(RESOURCES["Pod"], one, namespace=SYSTEM)
        yield client, replicas


async def test_what_all_replicas_know_is_put_together() -> None:
    pods = replica("c-0"), replica("c-1")
    async with cluster(*pods) as (client, replicas):
        replicas.answers["c-0"] = encoded({"west": RemoteImports(), "up": RemoteImports()}, {"a": {}})
        replicas.answers["c-1"] = encoded({"west": WEST}, {"a": {"west": False}})
        found = await of_cluster(client, snapshot(*pods), ["a"])
    assert found == ImportersSeen({"west": WEST, "up": RemoteImports()}, {"a": {"west": False}})
    assert sorted(replicas.asked) == [(name, 8080, "/importers?host=a") for name in ("c-0", "c-1")]


async def test_how_long_changes_took_is_added_up_and_an_older_replica_says_nothing_of_it() -> None:
    pods = replica("c-0"), replica("c-1"), replica("c-2")
    one = ChangesSeen(90.0, {"west": HourOfChanges((MinuteOfChanges(1, 1, 0.2, 0.2),), LastChange(0.2, 70.0))})
    other = ChangesSeen(4000.0, {"west": HourOfChanges((MinuteOfChanges(1, 3, 0.6, 0.9),), LastChange(0.9, 65.0))})
    async with cluster(*pods) as (client, replicas):
        replicas.answers["c-0"] = msgspec.json.encode(ImportersPage({}, exports_took=one))
        replicas.answers["c-1"] = msgspec.json.encode(ImportersPage({}, exports_took=other, imports_took=other))
        replicas.answers["c-2"] = b'{"remotes":{},"hosts":{},"next":""}'
        found = await of_cluster(client, snapshot(*pods), ())
        replicas.answers = dict.fromkeys(("c-0", "c-1", "c-2"), replicas.answers["c-2"])
        older = await of_cluster(client, snapshot(*pods), ())
    both = HourOfChanges((MinuteOfChanges(1, 4, 0.5, 0.9),), LastChange(0.9, 65.0))
    assert found == ImportersSeen(imports_took=other, exports_took=ChangesSeen(90.0, {"west": both}))
    assert older == ImportersSeen()


async def test_of_many_hosts_all_pages_are_read() -> None:
    pods = (
        replica("c-0", containers=[{"name": "controller", "args": ["controller", "--metrics-bind-address=:9090"]}]),
    )
    async with cluster(replica("c-0")) as (client, replicas):
        replicas.answers["c-0"] = encoded({"west": WEST}, {one: {"west": True} for one in HOSTS})
        found = await of_cluster(client, snapshot(*pods), HOSTS)
        assert set(found.hosts) == set(HOSTS)
        assert [port for _, port, _ in replicas.asked] == [9090] * 3
        assert (await of_cluster(client, snapshot(*pods), [])).remotes == {"west": WEST}
        assert replicas.asked[-1] == ("c-0", 9090, "/importers")


async def test_of_what_cannot_be_asked_it_is_said_why() -> None:
    pods = replica("c-0"), replica("c-1"), replica("c-2")
    async with cluster(*pods) as (client, replicas):
        replicas.answers |= {"c-0": encoded({"west": WEST}, {}), "c-1": 404}
        found = await of_cluster(client, snapshot(*pods), ["a"])
        assert found.remotes == {"west": WEST}
        assert "pod c-1:8080 is gone, or of a version that does not say it" in found.why
        assert "pod c-2:8080 does not answer: " in found.why
        replicas.answers["c-2"] = b"{"
        assert "pod c-2:8080 answers something else" in (await of_cluster(client, snapshot(*pods), ["a"])).why
        off = replica("c-0", containers=[{"name": "controller", "args": ["controller", "--metrics-bind-address=0"]}])
        assert "serves no metrics" in (await of_cluster(client, snapshot(off), ["a"])).why
        assert "no pod of the controller runs" in (await of_cluster(client, snapshot(), ["a"])).why
        unread = snapshot(unread={"Pod": "you may not list pods"})
        assert (await of_cluster(client, unread, ["a"])).why == "you may not list pods"

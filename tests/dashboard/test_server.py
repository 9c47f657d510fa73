"""What the dashboard answers, and whom."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
import yaml

from meshfed.cli.exits import BadInput
from meshfed.dashboard import meshes
from meshfed.dashboard.board import PAGE_SIZE
from meshfed.dashboard.meshes import Topic
from meshfed.dashboard.server import MOST_BYTES, SECURITY
from meshfed.model.last_hour import ChangesSeen, HourOfChanges, LastChange, MinuteOfChanges
from meshfed.views.explain.seen import Seen
from meshfed.views.importers import ImportersSeen
from meshfed.views.snapshot import Document, Snapshot
from tests.builders import host, mesh_federation, remote_mesh, service
from tests.cli.fakes import condition, imported, lease, replica, snapshot, trouble, with_status
from tests.dashboard.boards import TOKEN, HeldMesh, Served, served
from tests.views.federated import World
from tests.views.test_timeline import event
from tests.waiting import eventually

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
MANY = 350


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], None]:
    return jsonschema_rs.validator_for(json.loads(SCHEMA.read_text())).validate


@pytest_asyncio.fixture
async def two() -> AsyncIterator[Served]:
    """East, which imports ratings from west, with west beside it."""
    async with served([HeldMesh(one) for one in World().snapshots()]) as found:
        yield found


@pytest_asyncio.fixture
async def many() -> AsyncIterator[Served]:
    """East, to which west offers more than goes onto a page."""
    offers = (imported("west", f"host-{number:03}") for number in range(MANY))
    async with served([HeldMesh(snapshot(mesh_federation("east"), remote_mesh("west"), *offers))]) as found:
        yield found


# --- who may ask


async def answer_to_cookie(one: Served, cookie: bytes) -> bytes:
    """The first line of what is answered to a cookie that no library would send."""
    port = one.server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: meshfed-%d=%b\r\n\r\n" % (port, port, cookie))
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


async def test_the_secret_goes_into_a_cookie_and_out_of_the_address(two: Served) -> None:
    two.session.cookie_jar.clear()
    assert (await two.get("/")).status == 401
    assert (await two.get("/?token=guessed")).status == 401
    assert await answer_to_cookie(two, b"\xe9") == b"HTTP/1.1 401 Unauthorized\r\n"
    assert (await two.get("/api/federation")).status == 401
    assert (await two.get(f"/api/federation?token={TOKEN}")).status == 401, "it is taken at the door alone"
    answer = await two.get(f"/?token={TOKEN}", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"meshfed-{two.server.port}={TOKEN};")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert (await two.get("/")).status == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "", "localhost:{port}@evil"])
async def test_no_other_name_leads_here(two: Served, name: str) -> None:
    answer = await two.get("/api/federation", headers={"Host": name.format(port=two.server.port)})
    assert answer.status == 421
    assert "under no other name" in await answer.text()


async def test_localhost_leads_here_too(two: Served) -> None:
    headers = {"Host": f"localhost:{two.server.port}", "Cookie": f"meshfed-{two.server.port}={TOKEN}"}
    assert (await two.get("/api/federation", headers=headers)).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/?token=wrong", "/page/main.js", "/page/none.js", "/api/federation", "/api/hosts?start=x", "/none"]
)
async def test_every_answer_says_what_the_page_may_do(two: Served, path: str) -> None:
    answer = await two.get(path)
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_another_page_posts_nothing(two: Served) -> None:
    async def posted(**headers: str) -> int:
        async with two.session.post(f"{two.url}/api/plan", data=b"{}", headers=headers) as answer:
            return answer.status

    json_ = {"Content-Type": "application/json"}
    assert await posted(**json_, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert await posted(**json_, **{"Sec-Fetch-Site": "same-site"}) == 403
    assert await posted(**json_, Origin="http://evil.example") == 403
    assert await posted(**{"Content-Type": "text/plain"}) == 415
    assert await posted(**json_) == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_else_is_done_than_shown(two: Served, method: str) -> None:
    async with two.session.request(
        method, f"{two.url}/api/federation", headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 405


# --- the page


async def test_the_page_and_what_it_loads_is_all_here(two: Served) -> None:
    page = await (await two.get("/")).text()
    assert "<script type=" in page
    for path, type_ in (
        ("main.js", "text/javascript"),
        ("vendor/preact.mjs", "text/javascript"),
        ("style.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        answer = await two.get(f"/page/{path}")
        assert (answer.status, answer.content_type) == (200, type_)


@pytest.mark.parametrize("path", ["../server.py", "..%2fserver.py", "vendor/../../server.py", "vendor/preact.LICENSE"])
async def test_no_other_file_is_served(two: Served, path: str) -> None:
    assert (await two.get(f"/page/{path}")).status in {404, 405}


# --- documents


async def test_documents_meet_their_schema(two: Served, validate: Callable[[Any], None]) -> None:
    asked = ["/api/federation", "/api/hosts", "/api/timeline", "/api/explanation?name=ratings.bookinfo"]
    found = [await two.document(path) for path in asked]
    for one in found:
        validate(one)
    assert [one["kind"] for one in found] == ["Federation", "HostPage", "TimelinePage", "Explanation"]


# --- how long changes took


async def test_how_long_changes_took_is_asked_of_the_controller_once_for_several_pages(
    validate: Callable[[Any], None],
) -> None:
    north = HourOfChanges((MinuteOfChanges(0, 2, 0.1, 0.15), MinuteOfChanges(7, 1, 3.0, 3.0)), LastChange(0.05, 4.0))
    old = HourOfChanges((), LastChange(0.3, 9000.0))
    here = HeldMesh(
        trouble(),
        importing=ImportersSeen({}, {}, "", ChangesSeen(90.0, {"north": north}), ChangesSeen(9e4, {"north": old})),
    )
    async with served([here]) as found:
        pages = await asyncio.gather(
            *(found.document(f"/api/propagation?source=east&remote={name}") for name in ("north", "north", "west"))
        )
        assert here.asked == 1
        for one in pages:
            validate(one)
        first, again, other = pages
        assert first == again
        assert (first["kind"], first["source"], first["remote"], first["why"]) == ("Propagation", "east", "north", "")
        unseen: Document = {"underway": None, "waiting": None}
        assert first["imports"] == unseen | {
            "measured": 90.0,
            "changes": 3,
            "slowest": 3.0,
            "last": {"seconds": 0.05, "ago": 4.0},
            "minutes": [
                {"ago": 0, "changes": 2, "mean": 0.1, "slowest": 0.15},
                {"ago": 7, "changes": 1, "mean": 3.0, "slowest": 3.0},
            ],
        }
        nothing: Document = {"measured": 3600.0, "changes": 0, "slowest": None, "minutes": []} | unseen
        assert first["exports"] == nothing | {"last": {"seconds": 0.3, "ago": 9000.0}}
        assert (other["imports"]["changes"], other["exports"]) == (0, nothing | {"last": None})
        every = await found.document("/api/propagations")
        validate(every)
        assert [(one["remote"], one["imports"]["slowest"], one["imports"]["minutes"]) for one in every["items"]] == [
            ("north", 3.0, []),
            ("west", None, []),
        ]
        assert here.asked == 1
        found.board._meshes[0]._importers_until = 0.0
        await found.document("/api/propagation?source=east&remote=north")
        assert here.asked == 2, "what is known is kept for a moment, and not longer"
        answer = await found.get("/api/propagation?source=east&remote=nobody")
        assert (answer.status, await answer.text()) == (
            422,
            "east nobody: there is no such RemoteMesh among the meshes that were read\n",
        )
        for query in ("", "?source=east", "?remote=north"):
            assert (await found.get(f"/api/propagation{query}")).status == 400


async def test_where_nobody_says_how_long_changes_took_it_is_said_why(validate: Callable[[Any], None]) -> None:
    async with served([meshes.HeldMesh(trouble())]) as found:
        one = await found.document("/api/propagation?source=east&remote=north")
    validate(one)
    assert one["why"] == "the report does not have it"
    assert one["imports"] == one["exports"]
    assert one["imports"]["measured"] is None


async def test_a_host_has_both_ends(two: Served) -> None:
    (one,) = (await two.document("/api/hosts"))["items"]
    assert (one["host"], one["exporter"], one["service"]) == (host("ratings.bookinfo"), "west", "bookinfo/ratings")
    assert [(use["mesh"], use["state"]) for use in one["usedBy"]] == [("east", "Imported")]
    (chain,) = (await two.document("/api/explanation?name=ratings.bookinfo"))["chains"]
    assert (chain["exporter"], chain["importer"], chain["broken"]) == ("west", "east", None)
    assert {link["state"] for link in chain["links"]} == {"ok"}


async def test_a_page_of_many(many: Served) -> None:
    first = await many.document("/api/hosts")
    assert (len(first["items"]), first["total"], first["all"]) == (PAGE_SIZE, MANY, MANY)
    last = await many.document("/api/hosts?start=300")
    assert [one["host"] for one in last["items"]] == [host(f"host-{number:03}") for number in range(300, MANY)]
    asked = await many.document("/api/hosts?q=host-34&namespace=default&mesh=west")
    assert (asked["total"], asked["all"]) == (10, MANY)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/hosts?start=-1", "start=-1: it has to be a number of rows"),
        ("/api/hosts?state=Well", "state=Well: it has to be one of Failed, Unreachable"),
        (f"/api/hosts?q={'x' * 3000}", "q: it has more than 2048 characters"),
        ("/api/timeline?since=yesterday", "since=yesterday: "),
        ("/api/timeline?since=99999999999h", "since=99999999999h: it is longer than anything was recorded"),
        ("/api/explanation", "name: say which host"),
        ("/api/explanation?name=a+b+c", "name: say which host"),
    ],
)
async def test_what_makes_no_sense_is_said(two: Served, path: str, said: str) -> None:
    answer = await two.get(path)
    assert answer.status == 400
    assert (await answer.text()).startswith(said)


async def test_what_happened_is_chosen_by_the_address() -> None:
    here = snapshot(*trouble().objects, event("RemoteMesh", "north", "RemoteLost", "2026-01-01T11:59:00Z", warns=True))
    async with served([HeldMesh(here)]) as found:
        every = await found.document("/api/timeline")
        bad = await found.document("/api/timeline?bad=true&remote=north&since=2m")
        assert (every["items"][0]["what"], every["all"]) == ("RemoteLost", every["total"])
        assert [(one["what"], one["trace"]) for one in bad["items"]] == [("RemoteLost", "event")]


# --- what a report held


async def test_of_a_report_all_is_shown_and_nobody_is_tried() -> None:
    given = [meshes.HeldMesh(one) for one in World().snapshots()]
    async with served(given, asks=("plan",), still="2026-01-01T12:00:00Z") as found:
        page = await (await found.get("/")).text()
        assert '<div id="app" data-asks="plan" data-still="2026-01-01T12:00:00Z"></div>' in page
        assert (await found.document("/api/federation"))["clocks"] == {
            "east": "2026-01-01T12:00:00.000Z",
            "west": "2026-01-01T12:00:00.000Z",
        }
        assert [one["state"] for one in (await found.document("/api/hosts"))["items"]] == ["Imported"]
        asked = {"source": "east", "text": yaml.safe_dump(remote_mesh("west", import_={"rules": [{"action": "Deny"}]}))}
        async with found.session.post(f"{found.url}/api/plan", json=asked) as answer:
            assert (await answer.json())["differs"]
        asked = {"source": "east", "remote": "west"}
        async with found.session.post(f"{found.url}/api/handshake", json=asked) as answer:
            assert answer.status == 404
        with pytest.raises(BadInput, match="west: east is known from a report"):
            await found.board.handshake("east", "west")


# --- what may be missing


async def test_a_mesh_that_is_not_reached_blocks_nothing() -> None:
    east, west = World().snapshots()
    meshes = [
        HeldMesh(east),
        HeldMesh(west, unreached="connection refused"),
        HeldMesh(snapshot(source="far"), unreached="it has not answered yet", known=False),
    ]
    async with served(meshes) as found:
        shown = await found.document("/api/federation")
        assert shown["unreached"] == [
            {"source": "west", "why": "connection refused"},
            {"source": "far", "why": "it has not answered yet"},
        ]
        assert [(one["name"], one["reached"]) for one in shown["nodes"]] == [("east", True), ("west", False)]
        hosts = await found.document("/api/hosts")
        assert hosts["notes"] == ["west: not reached: connection refused", "far: not reached: it has not answered yet"]
        assert [one["host"] for one in hosts["items"]] == [host("ratings.bookinfo")]


async def test_what_may_not_be_read_is_said() -> None:
    unread = {"Service": "you may not list services in all namespaces", "Event": "you may not list events"}
    here = snapshot(mesh_federation("east"), imported("west", "ratings"), replica("c"), unread=unread)
    async with served([HeldMesh(here)]) as found:
        assert unread["Service"] in " ".join((await found.document("/api/hosts"))["notes"])
        assert (await found.document("/api/timeline"))["notes"][0].startswith("east: you may not list")
        explained = await found.document("/api/explanation?name=ratings")
        assert f"east: {unread['Service']}" in explained["notes"]


async def test_a_controller_that_ceases_to_show_itself_is_news() -> None:
    here = HeldMesh(snapshot(mesh_federation("east"), lease("c-0")))
    async with served([here], pulse=0.05) as found:
        assert (await found.document("/api/federation"))["nodes"][0]["controller"] == "alive"
        with found.board.changes() as queue:
            here._held = snapshot(mesh_federation("east"), lease("c-0", renewed="2026-01-01T11:00:00.000000Z"))
            async with asyncio.timeout(5):
                assert await queue.get() == {"status"}
        assert (await found.document("/api/federation"))["nodes"][0]["controller"] == "gone"


# --- what a change would do


async def ask(found: Served, source: str, text: str) -> tuple[int, Any]:
    async with found.session.post(f"{found.url}/api/plan", json={"source": source, "text": text}) as answer:
        return answer.status, await (answer.json() if answer.status == 200 else answer.text())


async def test_what_a_change_would_do(two: Served, validate: Callable[[Any], None]) -> None:
    changed = remote_mesh("west", import_={"rules": [{"action": "Deny"}]})
    status, found = await ask(two, "east", yaml.safe_dump(changed))
    assert status == 200
    validate(found)
    assert (found["kind"], found["mesh"], found["differs"]) == ("PlanDiff", "east", True)
    assert [one["says"] for one in found["traffic"]] == ["1 host loses its last endpoint"]
    assert ("Delete", "ServiceEntry") in [(one["action"], one["kind"]) for one in found["objects"]]
    assert (await ask(two, "east", yaml.safe_dump(changed)))[1] == found, "nothing was written"


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        ("east", "", "what was given has no object"),
        ("east", "a: [", "what was given"),
        ("north", yaml.safe_dump(service("a")), "north: it is not among the meshes that were read"),
        ("east", yaml.safe_dump(remote_mesh("west", addresses="nowhere")), "spec.addresses"),
        (
            "east",
            yaml.safe_dump(mesh_federation("east", namespace="other")),
            "the MeshFederation is in namespace o",
        ),
    ],
    ids=["nothing", "no-yaml", "another-mesh", "a-wrong-field", "another-installation"],
)
async def test_what_is_wrong_with_a_change_is_said(two: Served, source: str, text: str, said: str) -> None:
    status, found = await ask(two, source, text)
    assert status == 422
    assert said in found


async def test_no_plan_without_all_that_decides() -> None:
    here = snapshot(mesh_federation("east"), unread={"Pod": "you may not list pods in all namespaces"})
    async with served([HeldMesh(here)]) as found:
        status, said = await ask(found, "east", yaml.safe_dump(service("a")))
        assert status == 422
        assert "you may not list pods in all namespaces" in said


async def test_too_much_is_not_taken_in(two: Served) -> None:
    headers = {"Content-Type": "application/json"}
    body = io.BytesIO(b"x" * (MOST_BYTES + 1))
    async with two.session.post(f"{two.url}/api/plan", data=body, headers=headers) as answer:
        assert answer.status == 413


# --- changes


async def lines(answer: Any) -> list[str]:
    """The next event of a stream."""
    found: list[str] = []
    async with asyncio.timeout(5):
        while line := (await answer.content.readline()).decode().strip():
            found.append(line)
    return found


async def test_changes_are_told_together_as_they_come() -> None:
    east, west = (HeldMesh(one) for one in World().snapshots())
    async with served([east, west], alive=0.3) as found, found.session.get(f"{found.url}/api/changes") as stream:
        assert stream.content_type == "text/event-stream"
        assert {name: stream.headers.get(name) for name in SECURITY} == SECURITY
        assert await lines(stream) == ["retry: 1000"]
        assert await lines(stream) == ["event: hello", "data: {}"]
        for _ in range(50):
            east.silence("away")
            west.silence("away")
        assert await lines(stream) == ["event: change", 'data: ["status"]']
        assert await lines(stream) == [": here"]
        east.hold(trouble())
        assert await lines(stream) == ["event: change", 'data: ["events","objects","status"]']


async def test_a_change_is_in_the_next_document(two: Served) -> None:
    assert (await two.document("/api/federation"))["meshes"][0]["problems"] == []
    mesh = two.board._meshes[0].watched
    assert isinstance(mesh, HeldMesh)
    mesh.hold(trouble())
    assert len((await two.document("/api/federation"))["meshes"][0]["problems"]) == 5
    assert {one["state"] for one in (await two.document("/api/hosts"))["items"]} > {"Failed", "Refused"}


async def test_streams_have_a_limit_and_end_with_the_page(two: Served) -> None:
    streams = [await two.session.get(f"{two.url}/api/changes") for _ in range(32)]
    assert (await two.get("/api/changes")).status == 503
    for one in streams:
        one.close()
    two.board._on_change(Topic.STATUS)
    await eventually(lambda: not two.server._streams)


async def test_what_is_worked_out_is_kept_until_it_changes(two: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = 0
    shown = two.board._meshes[0]
    plan = shown._plan

    async def counted() -> None:
        nonlocal plans
        plans += 1
        await plan()

    monkeypatch.setattr(shown, "_plan", counted)
    for _ in range(3):
        await two.document("/api/hosts")
    assert plans == 1
    assert isinstance(shown.watched, HeldMesh)
    shown.watched.hold(shown.watched._held)
    await two.document("/api/hosts")
    assert plans == 2


async def test_a_mesh_that_no_plan_can_be_made_for_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from meshfed.views.explain.seen import seen

    def fails(snapshot: Snapshot, **more: Any) -> Seen:
        if snapshot.source == "east":
            raise RuntimeError("on purpose")
        return seen(snapshot, **more)

    monkeypatch.setattr("meshfed.dashboard.board.seen", fails)
    async with served([HeldMesh(one) for one in World().snapshots()]) as found:
        hosts = await found.document("/api/hosts")
        assert [one["host"] for one in hosts["items"]] == [host("ratings.bookinfo")]
        said = "east: what it exports could not be worked out, which is a fault of Meshfed: RuntimeError: on purpose"
        assert hosts["notes"] == [said]


async def test_a_fault_is_answered_as_everything_is(two: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(two.board, "federation", fails)
    answer = await two.get("/api/federation")
    assert (answer.status, await answer.text()) == (500, "a fault of Meshfed: RuntimeError: on purpose\n")
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY


async def test_a_condition_without_a_message_is_shown_all_the_same() -> None:
    here = snapshot(with_status(mesh_federation("east"), condition("Ready", True, "Ready")), lease("c-0"))
    async with served([HeldMesh(here)]) as found:
        (mesh,) = (await found.document("/api/federation"))["meshes"]
        assert (mesh["ready"], mesh["message"]) == ("True", "")

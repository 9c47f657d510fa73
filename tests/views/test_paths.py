"""What proofs and statuses say of both directions between meshes, and of an import: that it holds, or where it ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshfed.kube import Manifest
from meshfed.views.checks import Facts, Proof
from meshfed.views.paths import PathView, directions, of_host
from tests.builders import federated_service, mesh_federation, remote_mesh
from tests.cli.fakes import condition, lease, replica, snapshot, with_status

HANDLED = Proof(handled=True)
HOST = "ratings.default.svc.cluster.local"
CONNECTED = condition("Connected", True, "Connected", "connected since 12:00")
REACHABLE = condition("Reachable", True, "Answered", "answered through 192.0.2.1:15443 as W")
SUBSCRIBED = condition("Subscribed", True, "Subscribed", "subscribes at replica a")
STANDS = (
    "answered through 192.0.2.1:15443 as W; and discovery, a request by the same way from the controller's sidecar, is "
    "connected since 12:00"
)


def facts(mesh: str, *objects: Manifest, proofs: dict[str, Proof] | None = None, alive: bool = True) -> Facts:
    held = (lease("controller-0"),) if alive else ()
    return Facts(snapshot=snapshot(mesh_federation(mesh), *held, *objects, source=mesh), proofs=proofs or {})


def remote(name: str, *conditions: dict[str, Any], **spec: Any) -> Manifest:
    given = {one["type"]: one for one in (CONNECTED, REACHABLE, SUBSCRIBED, *conditions)}
    return with_status(remote_mesh(name, **({"addresses": ["192.0.2.1"], "import": {}} | spec)), *given.values())


def path(client: str, server: str, outcome: str, ended_at: str, message: str, **more: str) -> PathView:
    plain = {"host": "", "reason": "", "evidence": ""} | more
    return msgspec.convert(
        {"client": client, "server": server, "outcome": outcome, "endedAt": ended_at, "message": message, **plain},
        PathView,
    )


def test_one_side_tells_both_directions() -> None:
    east = facts("east", remote("west"), proofs={"west": HANDLED})
    assert list(directions([east])) == [
        path("east", "west", "ok", "", STANDS, reason="Answered", evidence="handshake just now"),
        path("west", "east", "ok", "", "subscribes at replica a", reason="Subscribed", evidence="stored status"),
    ]


def test_of_two_sides_each_direction_is_told_once_by_who_calls() -> None:
    east = facts("east", remote("west"), proofs={"west": HANDLED})
    broken = condition("Reachable", False, "NotPassedOn", "192.0.2.1:15443: nobody")
    west = facts("west", remote("east", broken), remote("north"), proofs={"east": HANDLED, "north": HANDLED})
    found = [(one.client, one.server, str(one.outcome), one.ended_at) for one in directions([east, west])]
    assert found == [
        ("east", "west", "ok", ""),
        ("west", "east", "failed", "gateway"),
        ("west", "north", "ok", ""),
        ("north", "west", "ok", ""),
    ]
    assert [(one.client, one.server) for one in directions([east, west], "east")] == [
        ("east", "west"),
        ("west", "east"),
    ]


def test_who_does_not_know_the_other_is_told_of_by_the_other() -> None:
    east, west = facts("east", remote("west"), proofs={"west": HANDLED}), facts("west")
    assert [(one.client, one.server) for one in directions([east, west])] == [("east", "west"), ("west", "east")]


@pytest.mark.parametrize(
    ("type_", "reason", "place"),
    [
        ("Reachable", "NameNotResolved", "name"),
        ("Reachable", "GatewayNotReached", "gateway"),
        ("Reachable", "NotPassedOn", "gateway"),
        ("Reachable", "NoMutualTLS", "gateway"),
        ("Reachable", "NoCertificate", "workload"),
        ("Reachable", "RootNotTrusted", "workload"),
        ("Reachable", "UnexpectedIdentity", "workload"),
        ("Connected", "PermissionDenied", "workload"),
        ("Connected", "Unreachable", "sidecar"),
    ],
)
def test_where_a_direction_ends(type_: str, reason: str, place: str) -> None:
    east = facts("east", remote("west", condition(type_, False, reason, "why")), proofs={"west": HANDLED})
    found = next(directions([east]))
    assert (found.outcome, found.ended_at, found.reason, found.message) == ("failed", place, reason, "why")


def test_nothing_is_ok_that_was_not_tried() -> None:
    late = Proof(handled=False, why="it has not tried all ways within 60 s")
    found = next(directions([facts("east", remote("west"), proofs={"west": late})]))
    assert (found.outcome, found.message) == (
        "unknown",
        "it was not tried just now: it has not tried all ways within 60 s",
    )
    assert next(directions([facts("east", remote("west"))])).outcome == "unknown"


def test_nobody_keeps_statuses_of_a_controller_that_is_gone() -> None:
    gone = Proof(handled=False, why="nobody leads")
    outcomes = [one.outcome for one in directions([facts("east", remote("west"), proofs={"west": gone}, alive=False)])]
    assert outcomes == ["unknown", "unknown"]


def test_who_is_not_heard_may_not_want_to_be() -> None:
    silent = condition("Subscribed", False, "NotSubscribed", "no stream")
    _, found = directions([facts("east", remote("west", silent), proofs={"west": HANDLED})])
    assert (found.outcome, found.ended_at) == ("unknown", "")
    assert found.message == "no stream; where its calls end is seen there: run this with the --context of west too"


@pytest.mark.parametrize(("there", "outcome"), [("west", "ok"), ("north", "unknown")])
def test_whose_stream_has_ended_is_not_ok_for_as_long_as_its_condition_stays(there: str, outcome: str) -> None:
    east = facts("east", remote("west"), replica("a", **{there: "2026-01-01T11:00:00Z"}), proofs={"west": HANDLED})
    _, found = directions([east])
    assert found.outcome == outcome
    assert (outcome == "ok") is not ("subscribes at replica a; that stream has ended since" in found.message)


def test_a_remote_that_is_only_published_to_is_not_called() -> None:
    publishing = remote("west")
    publishing["spec"].pop("import", None)
    found = next(directions([facts("east", publishing)]))
    assert (found.outcome, found.message) == (
        "skipped",
        "nothing is imported from it, so the controller does not call there",
    )


def record(*conditions: dict[str, Any]) -> Manifest:
    accepted = (condition("Accepted", True, "Accepted"), condition("Applied", True, "Applied"))
    given = {one["type"]: one for one in (*accepted, *conditions)}
    return with_status(federated_service("west", "ratings"), *given.values(), importedAs=HOST)


@pytest.mark.parametrize(
    ("conditions", "handled", "expected"),
    [
        ([REACHABLE], True, ("ok", "", REACHABLE["message"], "handshake just now")),
        (
            [condition("Reachable", False, "NoCertificate", "pods do not answer")],
            True,
            ("failed", "workload", "pods do not answer", "handshake just now"),
        ),
        (
            [condition("Reachable", False, "NotPassedOn", "nobody")],
            False,
            ("failed", "gateway", "nobody", "stored status"),
        ),
        (
            [REACHABLE],
            False,
            ("unknown", "", f"it was not tried just now: why; before that, {REACHABLE['message']}", ""),
        ),
        (
            [REACHABLE, condition("Applied", False, "WriteFailed", "refused")],
            True,
            ("failed", "name", "refused", "stored status"),
        ),
        (
            [condition("Reachable", "Unknown", "NotProbed", "TLS 1.2")],
            True,
            ("unknown", "", "TLS 1.2", "handshake just now"),
        ),
    ],
)
def test_an_import(conditions: list[dict[str, Any]], handled: bool, expected: tuple[str, ...]) -> None:
    proof = Proof(handled=handled, why="" if handled else "why")
    (found,) = of_host(facts("east", remote("west"), record(*conditions), proofs={"west": proof}), HOST)
    assert (found.client, found.server, found.host) == ("east", "west", HOST)
    assert (found.outcome, found.ended_at, found.message, found.evidence) == expected


def test_an_import_of_a_controller_that_is_gone_was_not_tried() -> None:
    gone = {"west": Proof(handled=False, why="nobody leads")}
    (found,) = of_host(facts("east", remote("west"), record(REACHABLE), proofs=gone, alive=False), HOST)
    assert (found.outcome, found.message) == ("unknown", "it was not tried just now: nobody leads")


def test_another_host_is_not_told_of() -> None:
    assert list(of_host(facts("east", remote("west"), record(REACHABLE)), "other.example")) == []

"""What happened: conditions and Events together, the latest first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from meshfed.kube import Manifest
from meshfed.views.bundles import cleaned
from meshfed.views.snapshot import Snapshot
from meshfed.views.timeline import HappeningQuery, HappeningView, Trace, happenings, page
from tests.builders import host, mesh_federation, remote_mesh, service
from tests.cli.fakes import condition, imported, snapshot, trouble, with_status


def event(kind: str, name: str, reason: str, at: str, *, warns: bool = False) -> dict[str, Any]:
    """An Event as the controller writes it."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason}", "namespace": "istio-system"},
        "involvedObject": {"kind": kind, "namespace": "istio-system", "name": name},
        "type": "Warning" if warns else "Normal",
        "reason": reason,
        "reportingComponent": "meshfed",
        "message": f"{reason} of {name}",
        "lastTimestamp": at,
    }


HERE = snapshot(
    with_status(mesh_federation("east"), condition("Ready", True, "Ready", "well", since="2026-01-01T10:00:00Z")),
    with_status(
        remote_mesh("west", import_={}),
        condition("Connected", False, "Unreachable", "refused", since="2026-01-01T11:30:00Z"),
    ),
    *(imported("west", f"host-{one}") for one in range(4)),
    event("RemoteMesh", "west", "RemoteLost", "2026-01-01T11:30:01Z", warns=True),
    event("FederatedService", f"{host('host-1')}.west", "Imported", "2026-01-01T09:00:00Z"),
    event("Service", "ratings", "Exported", "2026-01-01T08:00:00Z"),
    event("Pod", "ratings-1", "Pulled", "2026-01-01T11:59:00Z") | {"reportingComponent": "kubelet"},
)


NOW = {"east": HERE.taken}


def said(found: tuple[HappeningView, ...]) -> list[tuple[str, str, tuple[str, ...], int]]:
    return [(one.at[11:19], one.what, one.objects, one.count) for one in found]


def test_the_latest_first_and_alike_together() -> None:
    first = tuple(host(f"host-{one}") for one in range(3))
    assert said(happenings(HERE)) == [
        ("11:55:00", "Accepted True", first, 4),
        ("11:55:00", "Applied True", first, 4),
        ("11:55:00", "Reachable True", first, 4),
        ("11:30:01", "RemoteLost", ("west",), 1),
        ("11:30:00", "Connected False", ("west",), 1),
        ("10:00:00", "Ready True", ("east",), 1),
        ("09:00:00", "Imported", (host("host-1"),), 1),
        ("08:00:00", "Exported", ("istio-system/ratings",), 1),
    ]


def test_what_somebody_has_to_act_on() -> None:
    bad = [(one.kind, one.reason or one.what) for one in happenings(trouble()) if one.bad]
    assert bad.count(("FederatedService", "LocalServiceExists")) == 1
    assert ("RemoteMesh", "Unreachable") in bad
    assert not {"DeniedByRule", "Pending"} & {reason for _, reason in bad}
    assert [one.what for one in happenings(HERE) if one.bad] == ["RemoteLost", "Connected False"]


@pytest.mark.parametrize(
    ("query", "number"),
    [
        (HappeningQuery(), 8),
        (HappeningQuery(words=("HOST-1", "imported")), 1),
        (HappeningQuery(remote="west"), 6),
        (HappeningQuery(mesh="north"), 0),
        (HappeningQuery(bad=True), 2),
        (HappeningQuery(within=timedelta(minutes=29, seconds=59)), 4),
    ],
    ids=["all", "words", "remote", "mesh", "bad", "since"],
)
def test_what_is_asked_for(query: HappeningQuery, number: int) -> None:
    found = page(happenings(HERE), query, now=NOW, start=0, size=100)
    assert (found.total, found.all) == (number, 8)


def test_how_long_ago_is_by_the_clock_of_each_mesh() -> None:
    here = happenings(HERE)
    there = tuple(msgspec.structs.replace(one, mesh="west") for one in here)
    now = NOW | {"west": HERE.taken + timedelta(hours=1)}
    found = page([*here, *there], HappeningQuery(within=timedelta(minutes=31)), now=now, start=0, size=100)
    assert {one.mesh for one in found.items} == {"east"}
    assert found.total == 5


def test_some_at_a_time() -> None:
    found = page(happenings(HERE), HappeningQuery(), now=NOW, start=3, size=3)
    assert (found.start, [one.what for one in found.items]) == (3, ["RemoteLost", "Connected False", "Ready True"])


def test_what_has_no_time_is_left_out_and_what_has_no_message_is_kept() -> None:
    here: Snapshot = snapshot(with_status(mesh_federation("east"), condition("Ready", True, "Ready", since="")))
    assert happenings(here) == ()


# --- who changed what is asked for


def edited(one: Manifest, *entries: object, made: str = "2026-01-01T08:00:00Z") -> Manifest:
    """``one`` as the API server gives it, with managed fields."""
    return one | {"metadata": one["metadata"] | {"creationTimestamp": made, "managedFields": [*entries]}}


def entry(manager: str, at: str, *spec: str, **more: Any) -> dict[str, Any]:
    fields = {"f:metadata": {"f:annotations": {}}, "f:spec": {f"f:{one}": {"f:deep": {}} for one in spec}}
    return {"manager": manager, "operation": "Update", "time": at, "fieldsType": "FieldsV1", "fieldsV1": fields} | more


EDITS = snapshot(
    edited(
        mesh_federation("east"),
        entry("kubectl-client-side-apply", "2026-01-01T08:00:00Z", "network", "export"),
        entry("meshfed", "2026-01-01T09:00:00Z"),
        entry("argocd", "2026-01-01T09:30:00Z", "network", subresource="status"),
    ),
    edited(
        remote_mesh("west"),
        entry("kubectl-edit", "2026-01-01T10:00:00Z", "addresses"),
        entry("flux", "2026-01-01T10:30:00Z", fieldsV1={"f:metadata": {"f:labels": {"f:team": {}}}}),
    ),
    edited(service("ratings"), entry("kubectl-edit", "2026-01-01T11:00:00Z", "ports")),
)


def test_who_changed_what_people_write_and_when() -> None:
    assert [(one.trace, one.at[11:19], one.what, one.objects, one.message) for one in happenings(EDITS)] == [
        (Trace.EDIT, "10:30:00", "Changed", ("west",), "by flux; its fields: metadata.labels"),
        (Trace.EDIT, "10:00:00", "Changed", ("west",), "by kubectl-edit; its fields: spec.addresses"),
        (
            Trace.EDIT,
            "08:00:00",
            "Created",
            ("east",),
            "by kubectl-client-side-apply; its fields: spec.network, spec.export",
        ),
    ]
    assert [one.remote for one in happenings(EDITS)] == ["west", "west", ""]
    assert not any(one.bad for one in happenings(EDITS))


def test_who_says_nothing_of_anybody_is_left_out() -> None:
    at = "2026-01-01T10:00:00Z"
    one = edited(
        remote_mesh("west"),
        entry("before-first-apply", at, "network"),
        entry("ancient-changes", at, "network"),
        entry("argocd", "", "network"),  # an apply that changed nothing
        entry("meshfed", at),  # the controller's finalizer
        entry("meshfed", at, "addresses"),  # somebody by the controller's name
        entry("a" * 10_000, at, "port"),
    )
    assert [one.message for one in happenings(snapshot(one))] == [
        "by meshfed; its fields: spec.addresses",
        f"by {'a' * 79}…; its fields: spec.port",
    ]


def test_whoever_wrote_first_made_it() -> None:
    """A webhook may have come between the two times."""
    made = "2026-01-01T10:00:01Z"
    one = edited(remote_mesh("west"), entry("flux", made, "port"), entry("helm", "2026-01-01T10:00:00Z"), made=made)
    assert [(one.what, one.message[:7]) for one in happenings(snapshot(one))] == [
        ("Changed", "by flux"),
        ("Created", "by helm"),
    ]


def test_times_are_put_in_order_however_they_are_written() -> None:
    one = edited(
        remote_mesh("west"),
        entry("first", "2026-01-01T11:30:00+02:00", "port"),
        entry("second", "2026-01-01T10:00:00.5Z", "network"),
        entry("never", "yesterday", "addresses"),
    )
    turned = condition("Ready", True, "Ready", since="noon")
    assert [(one.at, one.message[:9]) for one in happenings(snapshot(with_status(one, turned)))] == [
        ("2026-01-01T10:00:00Z", "by second"),
        ("2026-01-01T09:30:00Z", "by first;"),
    ]


def test_an_event_of_what_is_gone_names_host_and_remote() -> None:
    (one,) = happenings(snapshot(event("FederatedService", f"{host('gone')}.north", "Removed", "2026-01-01T09:00:00Z")))
    assert (one.objects, one.remote) == ((host("gone"),), "north")


def test_it_is_the_same_of_what_a_report_and_the_dashboard_keep() -> None:
    kept = msgspec.structs.replace(EDITS, objects=tuple(map(cleaned, EDITS.objects)))
    assert happenings(kept) == happenings(EDITS)
    text = msgspec.json.encode(kept.objects)
    assert b"f:deep" not in text
    assert text.count(b"managedFields") == 2


def test_what_follows_from_a_change_in_the_same_second_comes_after_it() -> None:
    at = "2026-01-01T10:00:00Z"
    one = with_status(mesh_federation("east"), condition("Ready", True, "Ready", "well", since=at))
    here = snapshot(edited(one, entry("kubectl-edit", at, "network")), event("MeshFederation", "east", "Told", at))
    assert [one.what for one in happenings(here)] == ["Told", "Ready True", "Changed"]


@pytest.mark.parametrize("fields", [None, {}, [None, 7, {"manager": 3}, {"time": "x", "fieldsV1": {"f:spec": 1}}]])
def test_managed_fields_that_make_no_sense_break_nothing(fields: Any) -> None:
    one = remote_mesh("west")
    given = snapshot(one | {"metadata": one["metadata"] | {"managedFields": fields}})
    assert all(found.trace is Trace.EDIT for found in happenings(given))
    happenings(msgspec.structs.replace(given, objects=tuple(map(cleaned, given.objects))))


def test_an_object_in_another_namespace_is_not_this_mesh_s() -> None:
    one = edited(remote_mesh("west"), entry("kubectl-edit", "2026-01-01T10:00:00Z", "addresses"))
    one["metadata"]["namespace"] = "elsewhere"
    assert happenings(snapshot(one)) == ()

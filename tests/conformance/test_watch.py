"""Watches, as a client library sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.cluster import JSONObject, Session

GROUP = "conformance.example.com/v1"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def create(k: Session, name: str, **labels: str) -> JSONObject:
    answer = k.http("POST", k.path("configmaps"), {"metadata": {"name": name, "labels": labels}})
    assert answer.code == 201, answer.body
    found: JSONObject = answer.json
    return found


def label(k: Session, name: str, **labels: str | None) -> JSONObject:
    body = {"metadata": {"labels": labels}}
    found: JSONObject = k.http("PATCH", k.path("configmaps", name), body, media="application/merge-patch+json").json
    return found


def seen(events: Iterator[JSONObject], count: int) -> list[tuple[str, str]]:
    return [
        (event["type"], event["object"]["metadata"]["name"]) for _, event in zip(range(count), events, strict=False)
    ]


def version(obj: JSONObject) -> str:
    found: str = obj["metadata"]["resourceVersion"]
    return found


def test_from_a_list_on(k: Session) -> None:
    create(k, "a")
    listed = k.http("GET", k.path("configmaps")).json
    with k.watch(k.path("configmaps") + f"?watch=1&resourceVersion={version(listed)}") as events:
        create(k, "b")
        label(k, "a", x="1")
        k.http("DELETE", k.path("configmaps", "b"))
        found = [next(events) for _ in range(3)]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in found] == [
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "b"),
    ]
    assert all((e["object"]["kind"], e["object"]["apiVersion"]) == ("ConfigMap", "v1") for e in found)
    versions = [int(version(e["object"])) for e in found]
    assert versions == sorted(versions)
    assert versions[0] > int(version(listed))


def test_resumes_where_it_ended(k: Session) -> None:
    start = version(create(k, "a"))
    create(k, "b")
    third = create(k, "c")
    with k.watch(k.path("configmaps") + f"?watch=1&resourceVersion={start}&timeoutSeconds=1") as events:
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "b"), ("ADDED", "c")]
    with k.watch(k.path("configmaps") + f"?watch=1&resourceVersion={version(third)}&timeoutSeconds=1") as events:
        assert list(events) == []


@pytest.mark.parametrize("query", ["", "&resourceVersion=0"])
def test_without_a_version_it_begins_with_what_there_is(k: Session, query: str) -> None:
    create(k, "a")
    create(k, "b")
    with k.watch(k.path("configmaps") + "?watch=1" + query) as events:
        assert sorted(seen(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]
        create(k, "c")
        assert seen(events, 1) == [("ADDED", "c")]


def test_initial_events_end_with_a_bookmark(k: Session) -> None:
    create(k, "a")
    query = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with k.watch(k.path("configmaps") + query) as events:
        added, bookmark = next(events), next(events)
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "a")
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["kind"] == "ConfigMap"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(version(bookmark["object"])) >= int(version(added["object"]))
        create(k, "b")
        assert seen(events, 1) == [("ADDED", "b")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sendInitialEvents=true&allowWatchBookmarks=true", "resourceVersionMatch"),
        ("resourceVersionMatch=NotOlderThan", "resourceVersionMatch"),
    ],
)
def test_initial_events_with_senseless_options(k: Session, query: str, field: str) -> None:
    answer = k.http("GET", k.path("configmaps") + f"?watch=1&{query}")
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in answer.json["details"]["causes"]] == [field]


def test_bookmarks_carry_the_version_on(k: Session) -> None:
    start = version(create(k, "a"))
    query = f"?watch=1&resourceVersion={start}&allowWatchBookmarks=true&timeoutSeconds=4"
    with k.watch(k.path("configmaps") + query) as events:
        other = k.http("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "other-"}}).json
        bookmarks = [event for event in events if event["type"] == "BOOKMARK"]
    assert bookmarks
    assert int(version(bookmarks[-1]["object"])) >= int(version(other))
    assert set(bookmarks[-1]["object"]["metadata"]) <= {"resourceVersion", "creationTimestamp"}


def test_selectors_turn_changes_into_comings_and_goings(k: Session) -> None:
    start = version(create(k, "a", colour="red"))
    with k.watch(k.path("configmaps") + f"?watch=1&resourceVersion={start}&labelSelector=colour%3Dred") as events:
        create(k, "b", colour="green")
        label(k, "a", size="1")
        gone = label(k, "a", colour="green")
        label(k, "b", colour="red")
        found = [next(events) for _ in range(3)]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in found] == [
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
    ]
    assert version(found[1]["object"]) == version(gone)


def test_of_one_object_by_name(k: Session) -> None:
    create(k, "a")
    create(k, "b")
    with k.watch(k.path("configmaps") + "?watch=1&fieldSelector=metadata.name%3Db") as events:
        label(k, "a", x="1")
        label(k, "b", x="1")
        assert seen(events, 2) == [("ADDED", "b"), ("MODIFIED", "b")]


def test_of_every_namespace(widgets: Session) -> None:
    listed = widgets.http("GET", f"/apis/{GROUP}/widgets").json
    with widgets.watch(f"/apis/{GROUP}/widgets?watch=1&resourceVersion={version(listed)}") as events:
        widget = {"apiVersion": GROUP, "kind": "Widget", "metadata": {"name": "gear"}, "spec": {"size": 1}}
        widgets.http("POST", widgets.path("widgets", group=GROUP), widget)
        event = next(events)
        assert (event["type"], event["object"]["metadata"]["namespace"]) == ("ADDED", widgets.namespace)


def test_in_another_version(widgets: Session) -> None:
    with widgets.watch(widgets.path("widgets", group="conformance.example.com/v1beta1") + "?watch=1") as events:
        widget = {"apiVersion": GROUP, "kind": "Widget", "metadata": {"name": "gear"}, "spec": {"size": 1}}
        widgets.http("POST", widgets.path("widgets", group=GROUP), widget)
        assert next(events)["object"]["apiVersion"] == "conformance.example.com/v1beta1"


def test_a_version_that_is_too_old(widgets: Session) -> None:
    with widgets.watch(f"/apis/{GROUP}/widgets?watch=1&resourceVersion=2") as events:
        found = list(events)
    assert [event["type"] for event in found] == ["ERROR"]
    status: dict[str, Any] = found[0]["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: 2 (")


def test_a_version_that_is_none(k: Session) -> None:
    assert k.http("GET", k.path("configmaps") + "?watch=1&resourceVersion=abc").code >= 400


def test_as_a_table(k: Session) -> None:
    create(k, "a")
    with k.watch(k.path("configmaps") + "?watch=1", accept=TABLE) as events:
        event = next(events)
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")
    assert event["object"]["rows"][0]["cells"][0] == "a"


def test_of_metadata_alone(k: Session) -> None:
    create(k, "a")
    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    with k.watch(k.path("configmaps") + "?watch=1", accept=partial) as events:
        first = next(events)
        k.http("DELETE", k.path("configmaps", "a"))
        second = next(events)
    assert [(e["type"], e["object"]["kind"], set(e["object"])) for e in (first, second)] == [
        ("ADDED", "PartialObjectMetadata", {"kind", "apiVersion", "metadata"}),
        ("DELETED", "PartialObjectMetadata", {"kind", "apiVersion", "metadata"}),
    ]


def test_an_end_after_its_time(k: Session) -> None:
    with k.watch(k.path("configmaps") + "?watch=1&timeoutSeconds=1") as events:
        assert list(events) == []


def test_odd_characters_stay_on_their_line(k: Session) -> None:
    odd = "a\u0085b\u2028c\u2029d\u000be\r\nf\U0001f600<&>\u007f"
    with k.watch(k.path("configmaps") + "?watch=1") as events:
        k.http("POST", k.path("configmaps"), {"metadata": {"name": "a", "annotations": {"odd": odd}}})
        create(k, "b")
        first, second = next(events), next(events)
    assert first["object"]["metadata"]["annotations"]["odd"] == odd
    assert second["object"]["metadata"]["name"] == "b"

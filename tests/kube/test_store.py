"""The store's differences and indexes, and names and paths of resources."""

from __future__ import annotations

import asyncio

import pytest

from meshfed.kube import Key, ObjectKey, Resource, Store
from meshfed.kube.lines import LineSplitter
from meshfed.kube.resources import version_rank

A, B, C = (Key("ns", name) for name in "abc")


def test_only_differences_are_told() -> None:
    store: Store[int] = Store()
    heard: list[tuple[str, int | None, int | None]] = []
    stop = store.subscribe(lambda key, old, new: heard.append((key.name, old, new)))
    store.replace_all({A: 1, B: 2}, {})
    store.put(A, 1)
    store.put(A, 3)
    store.delete(C)
    store.replace_all({A: 3, C: 4}, {})
    assert heard == [("a", None, 1), ("b", None, 2), ("a", 1, 3), ("b", 2, None), ("c", None, 4)]
    stop()
    store.delete(A)
    assert len(heard) == 5
    assert (store.get(("ns", "c")), store.get(A), len(store), C in store) == (4, None, 1, True)


def test_a_list_with_undecodable_objects_keeps_their_last_records() -> None:
    store: Store[int] = Store()
    store.replace_all({A: 1, B: 2}, {})
    store.replace_all({}, {A: "bad", C: "bad"})
    assert (dict(store.items()), dict(store.undecodable)) == ({A: 1}, {A: "bad", C: "bad"})
    store.replace_all({C: 3}, {})
    assert (dict(store.items()), dict(store.undecodable)) == ({C: 3}, {})


def test_indexes_follow() -> None:
    store: Store[tuple[str, ...]] = Store()
    store.put(A, ("x", "y"))
    store.add_index("letter", lambda record: record)
    store.put(B, ("y",))
    assert store.by_index("letter", "y") == (("x", "y"), ("y",))
    store.put(A, ("x",))
    store.delete(B)
    assert store.by_index("letter", "x") == (("x",),)
    assert store.by_index("letter", "y") == ()
    with pytest.raises(ValueError, match="'letter' already"):
        store.add_index("letter", lambda record: record)


def test_a_subscribers_bug_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    store: Store[int] = Store()
    heard: list[Key] = []
    store.subscribe(lambda *_: heard.remove(B))
    store.subscribe(lambda key, _old, _new: heard.append(key))
    store.put(A, 1)
    assert heard == [A]
    assert "a subscriber failed" in caplog.text


async def test_synced_with_the_first_list() -> None:
    store: Store[int] = Store()
    store.put(A, 1)
    assert not store.synced
    waiting = asyncio.create_task(store.wait_synced())
    await asyncio.sleep(0)
    store.replace_all({}, {})
    await waiting
    assert store.synced


SERVICES = Resource("", "v1", "services", "Service")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
ROUTES = Resource("route.openshift.io", "v1", "routes", "Route")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SERVICES.path(), "/api/v1/services"),
        (SERVICES.path("shop"), "/api/v1/namespaces/shop/services"),
        (SERVICES.path("shop", "a", "status"), "/api/v1/namespaces/shop/services/a/status"),
        (NODES.path(name="n"), "/api/v1/nodes/n"),
        (ROUTES.path("x", "a/../b?c"), "/apis/route.openshift.io/v1/namespaces/x/routes/a%2F..%2Fb%3Fc"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


def test_paths_that_would_mean_something_else() -> None:
    with pytest.raises(ValueError, match="not namespaced"):
        NODES.path("shop")
    for place in (("", "a"), (None, "a"), ("shop", "")):
        with pytest.raises(ValueError, match="needs a name"):
            SERVICES.path(*place)


def test_keys() -> None:
    manifest = {"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "a", "namespace": "x"}}
    assert ObjectKey.of(manifest) == ObjectKey("route.openshift.io", "Route", "x", "a")
    node = ObjectKey.of({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    assert (node, str(node)) == (ObjectKey("", "Node", "", "n"), "Node n")


def test_versions_rank_as_in_kubernetes() -> None:
    versions = ["foo", "v1alpha1", "v1beta1", "v1", "v2", "v10", "v1beta2", "v2alpha1"]
    assert sorted(versions, key=version_rank, reverse=True) == [
        *("v10", "v2", "v1", "v1beta2", "v1beta1", "v2alpha1", "v1alpha1", "foo")
    ]


def test_lines_do_not_depend_on_how_they_are_cut() -> None:
    data = "one\n\ntwo\u0085\u2028\u000b\r\nthree".encode()
    for size in range(1, len(data) + 1):
        splitter = LineSplitter()
        lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
        assert lines == [b"one", "two\u0085\u2028\u000b\r".encode()]

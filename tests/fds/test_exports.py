"""The export set: what changed since when, what it costs, and what is remembered."""

from __future__ import annotations

import asyncio

import pytest

from meshfed.fds import ExportSet
from meshfed.fds.messages import SetDigest, version_of
from tests.builders import host, offer

from .support import ready

EVERYONE: frozenset[str] = frozenset()


def changed(exports: ExportSet, position: int) -> list[tuple[str, bool]]:
    return [(entry.host, entry.offered) for entry in exports.after(position)]


def test_a_host_is_in_the_log_once_where_it_changed_last() -> None:
    exports = ready(offer("a"), offer("b"))
    position = exports.sequence
    for number in range(5000):
        exports.set(offer("a", labels={"n": str(number)}), None)
    exports.remove(host("b"))
    exports.set(offer("c"), None)
    exports.set(offer("c", labels={}), None)
    assert changed(exports, position) == [(host("a"), True), (host("b"), False), (host("c"), True)]
    assert changed(exports, exports.sequence) == []
    assert len(exports._log) < 2000, "what is outdated in it does not pile up"


def test_a_host_that_is_offered_again_is_no_longer_remembered_as_withdrawn() -> None:
    exports = ready(offer("a"))
    exports.remove(host("a"))
    exports.set(offer("a"), None)
    assert changed(exports, 0) == [(host("a"), True)]
    assert exports._withdrawn == {}


def test_setting_the_same_or_removing_what_is_not_there_changes_nothing() -> None:
    exports = ready(offer("a"))
    position = exports.sequence
    exports.set(offer("a", exported_at="2026-01-01T00:00:00Z", ready=True), None)
    exports.remove(host("b"))
    assert exports.sequence == position
    exports.set(offer("a"), frozenset({"west"}))
    assert exports.sequence == position + 1


def test_an_offer_that_cannot_be_encoded_leaves_what_was_there() -> None:
    exports = ready(offer("a"))
    with pytest.raises(ValueError, match="time"):
        exports.set(offer("a", labels={}, exported_at="yesterday"), None)
    assert len(exports) == 1
    assert changed(exports, 0) == [(host("a"), True)]
    assert exports.get(host("a")).version == version_of(offer("a"))  # type: ignore[union-attr]  # it is there


def test_digests_are_kept_up_by_audience() -> None:
    exports = ready()
    waiter = asyncio.Event()
    west = exports.hold(frozenset({"west"}), waiter)
    nobody = exports.hold(EVERYONE, waiter)
    exports.set(offer("a"), None)
    exports.set(offer("b"), frozenset({"west"}))
    exports.set(offer("c"), frozenset({"north"}))
    exports.set(offer("c"), frozenset({"west", "north"}))
    exports.set(offer("b"), frozenset({"north"}))
    late = exports.hold(frozenset({"west"}), asyncio.Event())
    expected = SetDigest()
    for one in (offer("a"), offer("c")):
        expected.add(SetDigest.term(one.host.encode(), version_of(one).encode()))
    assert str(west.digest) == str(expected)
    assert late is west
    exports.remove(host("c"))
    assert str(west.digest) == str(nobody.digest)
    assert waiter.is_set()
    for view in (west, nobody):
        exports.release(view, waiter)
    exports.release(late, waiter)
    assert exports._views == {}

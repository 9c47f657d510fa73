"""Both sides without anybody's access to the other: what one owner writes, the other merges, and neither tells more."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from meshfed.views.explain.asked import explained, parts
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.links import Whose
from meshfed.views.explain.parts import PART_KIND, Part, read, written
from meshfed.views.explain.seen import seen
from meshfed.views.snapshot import Snapshot
from tests.builders import manifest, remote_mesh, service
from tests.views.federated import RATINGS, World
from tests.views.test_explain import BREAKS, Case, export_rules

NAME = "ratings.bookinfo"


def through_a_file(snapshot: Snapshot, remote: str) -> tuple[Part, ...]:
    """What the other owner reads."""
    found = written(parts(NAME, [seen(snapshot)], remote=remote))
    return read(json.loads(msgspec.json.encode({"kind": PART_KIND, "parts": found.parts})))


def verdict(found: tuple[Chain, ...]) -> str:
    if not found:
        return "-"
    (one,) = found
    link = one.broken
    return f"{link.name} {link.whose} {link.reason or '-'}" if link is not None else "holds"


@pytest.mark.parametrize("case", BREAKS.values(), ids=BREAKS)
def test_with_a_file_of_the_other_owner_the_verdict_is_that_of_who_sees_both(case: Case) -> None:
    world = World()
    case.before(world)
    east, west = case.after(*world.snapshots())
    from_west, from_east = through_a_file(west, "east"), through_a_file(east, "west")
    if from_west:
        assert verdict(explained(NAME, [seen(east)], from_west)) == case.both
    if from_east:
        assert verdict(explained(NAME, [seen(west)], from_east)) == case.both
    if from_west and from_east:
        assert verdict(explained(NAME, [], [*from_west, *from_east])) == case.both
    for part in (*from_west, *from_east):
        assert [link.name for link in part.links if link.state == "broken" and not link.message] == []


def test_a_file_says_nothing_beyond_the_host_and_the_remote() -> None:
    """No label, annotation, address, other host or other remote of either mesh is in it."""
    world = World()
    export_rules({"action": "Export", "remotes": ["east", "north"]})(world)
    world.west.append(remote_mesh("north", network="north-network", addresses=["192.0.2.77"]))
    world.west.append(service("secret.bookinfo", labels={"plan": "hidden"}))
    labelled = world.one("Service", "ratings")["metadata"]
    labelled["labels"] |= {"team": "stars"}
    labelled["annotations"] = {"note": "private"}
    east, west = world.snapshots()
    for text in (
        msgspec.json.encode(through_a_file(west, "east")).decode(),
        msgspec.json.encode(through_a_file(east, "west")).decode(),
    ):
        assert RATINGS in text
        found = [
            word
            for word in ("team", "stars", "hidden", "private", "note", "secret", "north", "export-service", "gateway-1")
            if word in text
        ]
        assert (found, re.findall(r"\d+\.\d+\.\d+\.\d+", text)) == ([], [])


@pytest.mark.parametrize("name", BREAKS)
def test_no_address_is_in_a_file_whatever_is_broken(name: str) -> None:
    world = World()
    BREAKS[name].before(world)
    for snapshot, remote in zip(BREAKS[name].after(*world.snapshots()), ("west", "east"), strict=True):
        text = msgspec.json.encode(through_a_file(snapshot, remote)).decode()
        assert re.findall(r"\d+\.\d+\.\d+\.\d+", text) == []


def test_an_exporter_tells_a_remote_that_may_not_see_it_nothing_but_that() -> None:
    world = World()
    export_rules({"action": "Export", "names": ["ratings"], "remotes": ["north"]})(world)
    (part,) = through_a_file(world.snapshots()[1], "east")
    assert part.told is None
    assert [(link.name, link.message) for link in part.links if link.message] == [
        ("offered", "`remotes` of the rule that exports it do not name RemoteMesh east")
    ]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "kind: ExplanationPart"),
        ({"kind": "Explanation"}, "kind: ExplanationPart"),
        ({"kind": PART_KIND}, "parts"),
        ({"kind": PART_KIND, "parts": [{"whose": "nobody"}]}, "nobody"),
    ],
)
def test_what_is_no_part_is_refused_and_why(document: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read(document)


def test_a_part_has_the_links_of_its_own_side_alone() -> None:
    (part,) = through_a_file(World().snapshots()[1], "east")
    swapped = msgspec.to_builtins(msgspec.structs.replace(part, whose=Whose.IMPORTER))
    with pytest.raises(ValueError, match="the importer's cannot have the link service"):
        read({"kind": PART_KIND, "parts": [swapped]})


def test_a_policy_that_may_say_no_is_named_to_the_other_owner() -> None:
    world = World()
    world.west.append(manifest("AuthorizationPolicy", "strict", {}, namespace="bookinfo"))
    east, west = world.snapshots()
    (found,) = explained(NAME, [seen(east)], through_a_file(west, "east"))
    assert "bookinfo/strict" in found.links[-1].message

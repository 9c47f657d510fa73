"""A host that a remote does not offer, or offers no more: who is told so, by what, and what stays unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshfed.federation.imports import record_name
from meshfed.views.explain.asked import explained
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.links import LinkName, State
from meshfed.views.explain.named import Named
from meshfed.views.explain.objects import no_object
from meshfed.views.explain.seen import seen
from meshfed.views.snapshot import Snapshot
from meshfed.views.withdrawn import withdrawn, withdrawn_hosts
from tests.builders import SYSTEM, host, remote_mesh
from tests.cli.fakes import condition, lease
from tests.views.federated import RATINGS, RECORD, World, saying, without

GONE = "gone.bookinfo"
HOST = host(GONE)


def event(name: str = f"{HOST}.west", reason: str = "Withdrawn", at: str | None = "2026-01-01T11:50:00Z") -> Any:
    """An Event on a FederatedService that is gone."""
    subject = {"kind": "FederatedService", "name": name}
    metadata = {"name": f"{name}.{reason}".lower(), "namespace": SYSTEM}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": subject, "reason": reason}
    return event if at is None else event | {"lastTimestamp": at}


def holding(east: Snapshot, *objects: Any, **unread: str) -> Snapshot:
    """East with more objects, and with kinds that may not be read."""
    return msgspec.structs.replace(east, objects=(*east.objects, *objects), unread=unread)


def east(*conditions: dict[str, Any]) -> Snapshot:
    """What east holds, which says something of west."""
    return saying(World().snapshots()[0], "RemoteMesh", "west", *conditions)


def chain(snapshot: Snapshot, name: str = GONE) -> Chain:
    (found,) = explained(name, [seen(snapshot)])
    return found


def received(snapshot: Snapshot) -> tuple[State, str]:
    (one,) = [one for one in chain(snapshot).links if one.name is LinkName.RECEIVED]
    return one.state, one.message


def test_what_no_remote_offers_is_broken_at_the_exporter_with_what_to_do_there() -> None:
    found = chain(east())
    assert (found.host, found.exporter, found.importer) == (HOST, "west", "east")
    assert found.broken is not None
    assert (found.broken.name, found.broken.whose) == (LinkName.RECEIVED, "exporter")
    assert found.broken.message == (
        "not offered to this mesh by west (its list is complete, as of 5s ago); no Event tells that it was withdrawn, "
        "and Events are kept for an hour"
    )
    assert found.broken.remedy.startswith("at west: `meshfed explain` with this host says there by which rule")


@pytest.mark.parametrize("name", ["bookinfo/gone", GONE, HOST, "gone.example.com"])
def test_by_whatever_name_it_is_asked_for(name: str) -> None:
    assert chain(east(), name).host == ("gone.example.com" if name.endswith("com") else HOST)


def test_a_name_without_a_namespace_is_a_host_only_where_an_event_tells_of_it() -> None:
    assert explained("gone", [seen(east())]) == ()
    assert chain(holding(east(), event()), "gone").host == HOST


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (
            [condition("Synced", False, "NotSynced", "its whole offer has not been received yet")],
            "whether west offers it to this mesh is not known: its whole offer has not been received yet",
        ),
        (
            [condition("Synced", False, "Throttled", "it is followed at that rate")],
            "whether west offers it to this mesh is not known: it is followed at that rate",
        ),
        (
            [condition("Connected", False, "Unreachable", "refused"), condition("Synced", False, "NotSynced", "away")],
            "whether west offers it to this mesh is not known: it depends on `connected`, or a controller that says",
        ),
    ],
    ids=["not in sync", "throttled", "away"],
)
def test_where_the_session_is_not_in_sync_it_is_unknown(conditions: list[dict[str, Any]], said: str) -> None:
    assert received(east(*conditions)) == (State.UNKNOWN, said)


def test_a_list_of_which_a_withdrawal_is_held_is_complete() -> None:
    assert received(east(condition("Synced", False, "WithdrawalHeld", "held")))[0] is State.BROKEN


def test_what_nobody_keeps_up_to_date_is_unknown() -> None:
    kept = tuple(one for one in east().objects if one["kind"] != "Lease")
    dead = msgspec.structs.replace(east(), objects=(*kept, lease("c", renewed="2026-01-01T11:00:00Z")))
    assert received(dead) == (
        State.UNKNOWN,
        "whether west offers it to this mesh is not known: no controller is at work here",
    )


def test_when_it_was_withdrawn_and_by_whom_is_told_while_the_event_is_kept() -> None:
    state, message = received(holding(east(), event()))
    assert state is State.BROKEN
    assert message.endswith("; west withdrew it 10m ago (2026-01-01T11:50:00Z)")


def test_events_that_may_not_be_read_are_no_sign_of_anything() -> None:
    _, message = received(holding(east(), Event="you may not list events in namespace istio-system"))
    assert message.endswith(
        "; whether it was withdrawn is not known: you may not list events in namespace istio-system"
    )


@pytest.mark.parametrize(
    "one",
    [
        event(reason="Imported"),
        event(name=f"{HOST}.north"),
        event() | {"involvedObject": {"kind": "Service", "name": f"{HOST}.west"}},
        event() | {"involvedObject": "odd"},
        event(name=RECORD),
    ],
    ids=["another reason", "another remote", "another kind", "no object", "what is offered again"],
)
def test_other_events_tell_nothing(one: Any) -> None:
    assert received(holding(east(), one))[1].endswith("and Events are kept for an hour")


def test_an_event_of_the_newer_form_has_no_time() -> None:
    assert withdrawn(holding(east(), event(at=None))) == {f"{HOST}.west": ""}


def test_a_host_is_read_from_its_records_name_where_that_has_all_of_it() -> None:
    long = record_name(".".join(["a" * 60] * 5), "west")
    found = holding(east(), event(), event(name=long))
    assert (list(withdrawn(found)), list(withdrawn_hosts(found))) == (
        [f"{HOST}.west", long],
        [("west", HOST, "2026-01-01T11:50:00Z")],
    )


def test_a_remote_of_which_nothing_is_imported_is_named_for_that() -> None:
    world = World()
    world.east.append(remote_mesh("north", import_=None, network="north-network"))
    found = {one.exporter: one.broken for one in explained(GONE, [world.seen()[0]])}
    assert {mesh: one.name for mesh, one in found.items() if one} == {"north": "connected", "west": "received"}


def test_of_a_mesh_that_is_read_itself_nothing_is_guessed() -> None:
    assert explained(GONE, World().seen()) == ()


def test_an_object_that_is_not_there_is_named_with_its_kind_and_what_is_called_alike() -> None:
    sides = World().seen()
    answer = no_object(Named("ServiceEntry", SYSTEM, f"import.{host('rating.bookinfo')}"), sides)
    assert answer.message == (
        f"there is no ServiceEntry {SYSTEM}/import.{host('rating.bookinfo')} in east, west; of that kind there are 3"
    )
    assert answer.closest == (f"ServiceEntry {SYSTEM}/import.{RATINGS}",)
    assert no_object(Named("Service", None, "ratings"), sides[:1]).closest == ()
    assert no_object(Named("Service", "shop", "ratings"), sides).closest == ("Service bookinfo/ratings",)


def test_of_a_kind_that_may_not_be_read_it_says_so() -> None:
    blind = msgspec.structs.replace(
        without(World().snapshots()[0], "ServiceEntry", f"import.{RATINGS}"), unread={"ServiceEntry": "you may not"}
    )
    answer = no_object(Named("ServiceEntry", SYSTEM, "a"), [seen(blind)])
    assert answer.message == f"there is no ServiceEntry {SYSTEM}/a in east, as far as can be seen: you may not"

"""The federation as a picture: whom it has, who imports from whom, and by which evidence."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.kube import Manifest
from meshfed.views.federation_map import FederationView, LinkEvidence, federation
from meshfed.views.meshes import mesh
from meshfed.views.snapshot import Snapshot
from tests.builders import mesh_federation, remote_mesh
from tests.cli.fakes import BEFORE, condition, imported, lease, snapshot, trouble, with_status

CONNECTED = condition("Connected", True, "Connected", "connected since 11:55")
ANSWERED = condition("Reachable", True, "Answered", "answered through 192.0.2.10:15443")


def picture(*snapshots: Snapshot, **unreached: str) -> FederationView:
    return federation([mesh(one) for one in snapshots], unreached, {})


def east(*conditions: dict[str, Any], **fields: Any) -> Snapshot:
    """East, which imports from west, as its RemoteMesh says."""
    return snapshot(
        with_status(mesh_federation("east"), condition("Ready", True, "Ready")),
        with_status(remote_mesh("west", import_={}), *conditions, **fields),
        lease("controller-0"),
    )


def west(*remotes: Manifest) -> Snapshot:
    return snapshot(
        with_status(
            mesh_federation("west"),
            condition("Ready", True, "Ready"),
            condition("GatewayReady", False, "GatewayPodsNotReady", "no pod is ready"),
            exportedServices=3,
        ),
        *remotes,
        source="prod",
    )


def test_a_mesh_that_was_read_and_one_that_is_only_described() -> None:
    read, described = picture(trouble()).nodes[:2]
    assert (read.name, read.source, read.reached, read.ready, read.controller, read.problems) == (
        *("east", "east", True, "False", "alive"),
        5,
    )
    assert (read.exported, read.imported, read.gateway) == (3, 2, "True")
    assert (described.name, described.source, described.reached, described.gateway) == ("north", "", False, "-")
    assert (described.exported, described.addresses) == (None, ("192.0.2.10",))
    assert described.message == "nothing of it was read: it is known from a RemoteMesh of east"


def test_links_with_their_numbers_the_worst_first() -> None:
    first, second = picture(trouble()).links
    assert (first.importer, first.exporter, first.evidence, first.reason) == (
        *("east", "north", LinkEvidence.BROKEN),
        "Unreachable",
    )
    assert (second.importer, second.exporter, second.evidence, second.since, second.by) == (
        *("east", "west", LinkEvidence.PROVEN),
        BEFORE,
        "east",
    )
    numbers = (second.offered, second.imported, second.denied, second.refused, second.unreachable, second.held)
    assert numbers == (6, 2, 1, 2, 1, 0)


@pytest.mark.parametrize(
    ("conditions", "evidence", "message"),
    [
        ([], LinkEvidence.CONFIGURED, "it has no status yet: no controller has looked at it"),
        ([condition("Connected", "Unknown", "Connecting", "trying")], LinkEvidence.CONFIGURED, "it has no status yet"),
        ([CONNECTED], LinkEvidence.HEARD, "connected since 11:55"),
        ([CONNECTED, ANSWERED], LinkEvidence.PROVEN, "answered through 192.0.2.10:15443"),
        (
            [CONNECTED, condition("Reachable", False, "NotPassedOn", "closed at the SNI")],
            LinkEvidence.BROKEN,
            "closed at the SNI",
        ),
        ([ANSWERED, condition("Connected", False, "Unreachable", "refused")], LinkEvidence.BROKEN, "refused"),
        (
            [CONNECTED, ANSWERED, condition("Ready", False, "WriteFailed", "the webhook says no")],
            LinkEvidence.BROKEN,
            "the webhook says no",
        ),
    ],
    ids=["nothing", "trying", "heard", "proven", "not-passed-on", "not-connected", "not-ready"],
)
def test_the_evidence_of_a_link(conditions: list[dict[str, Any]], evidence: LinkEvidence, message: str) -> None:
    (found,) = picture(east(*conditions)).links
    assert found.evidence is evidence
    assert found.message.startswith(message)


def test_no_link_where_nothing_is_imported() -> None:
    published = with_status(remote_mesh("east", import_=None), condition("Connected", False, "PublishOnly"))
    assert picture(west(published)).links == ()


@pytest.mark.parametrize("subscribes", [True, False])
def test_the_exporter_says_who_hears_it_where_the_importer_is_not_read(subscribes: bool) -> None:
    remote = with_status(
        remote_mesh("east", import_=None),
        condition("Connected", False, "PublishOnly"),
        condition("Subscribed", subscribes, "Subscribed" if subscribes else "NotSubscribed", "said so"),
    )
    (found,) = picture(west(remote)).links
    assert (found.importer, found.exporter, found.by, found.message, found.imported) == (
        *("east", "west", "west", "said so"),
        None,
    )
    assert found.evidence is (LinkEvidence.HEARD if subscribes else LinkEvidence.CONFIGURED)


def test_the_importer_is_believed_where_both_are_read() -> None:
    remote = with_status(remote_mesh("east", import_=None), condition("Subscribed", True, "Subscribed"))
    (found,) = picture(east(CONNECTED), west(remote)).links
    assert (found.by, found.message) == ("east", "connected since 11:55")


def test_what_a_mesh_says_that_is_not_reached_is_of_the_past() -> None:
    found = picture(east(CONNECTED, ANSWERED), west(), east="connection refused")
    assert [(one.name, one.reached) for one in found.nodes] == [("east", False), ("west", True)]
    assert (found.links[0].evidence, found.links[0].message) == (
        LinkEvidence.UNKNOWN,
        "east is not reached, and this is what it said last: connection refused",
    )


def test_what_is_said_where_no_controller_lives_is_of_the_past() -> None:
    here = snapshot(
        mesh_federation("east"),
        with_status(remote_mesh("west", import_={}), CONNECTED, ANSWERED),
        imported("west", "ratings"),
        lease("controller-0", renewed=BEFORE),
    )
    found = picture(here)
    assert found.nodes[0].controller == "gone"
    assert found.links[0].evidence is LinkEvidence.UNKNOWN
    assert found.links[0].message == "no controller is at work in east: its statuses may be old"

"""What a reason says and the word beside it agree, for every reason, wherever it is shown."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pytest

from meshfed.model.reasons import REASONS, Reason
from meshfed.views.checks import run
from meshfed.views.explain.asked import explained
from meshfed.views.explain.seen import seen
from meshfed.views.imports import imports
from meshfed.views.meshes import mesh
from tests.cli.fakes import condition, imported
from tests.views import healthy
from tests.views.federated import RECORD, World, saying, without

FINE = {"ok", "skipped", "Imported"}
"""Nothing is wrong."""
UNSURE = {"unknown", "ok", "skipped", "wrong", "Unknown", "Imported"}
"""Nobody can say."""
WAITS = {"unknown", "failed", "broken", "warning", "wrong", "Pending", "skipped"}
"""It comes by itself."""
LOOK = {"warning", "Imported"}
"""It works, and not all of it is as somebody may expect."""
LEFT = {"warning", "broken", "Denied", "Refused", "wrong"}
"""It is not imported, which somebody may want."""
WRONG = {"failed", "broken", "wrong", "Failed", "Unreachable", "warning", "skipped", "unknown"}
"""It does not hold, and somebody has to act."""


class Said(NamedTuple):
    """A condition as the controller writes it, and the words that may stand beside it."""

    kind: str
    type: str
    status: str
    reason: Reason
    words: set[str]


def said(kind: str, type_: str, status: str, words: set[str], *reasons: Reason) -> list[Said]:
    return [Said(kind, type_, status, reason, words) for reason in reasons]


R = Reason
BROKEN: Final = (
    *(R.NAME_NOT_RESOLVED, R.GATEWAY_NOT_REACHED, R.NOT_PASSED_ON, R.NO_CERTIFICATE, R.NO_MUTUAL_TLS),
    *(R.ROOT_NOT_TRUSTED, R.CERTIFICATE_NOT_VALID, R.UNEXPECTED_IDENTITY),
)
UNWRITTEN: Final = (R.NOT_OWNED, R.DRIFT_CONFLICT, R.WRITE_FAILED, R.PAUSED)
CASES: Final = [
    *said("MeshFederation", "Ready", "True", FINE, R.READY),
    *said("MeshFederation", "Ready", "True", LOOK, R.ROOT_NAMESPACE_ELSEWHERE, R.GATEWAY_CROWDED),
    *said("MeshFederation", "Ready", "False", WRONG, R.DUPLICATE, R.TRUST_DOMAIN_MISMATCH, R.INVALID),
    *said("MeshFederation", "GatewayReady", "True", FINE, R.APPLIED),
    *said("MeshFederation", "GatewayReady", "True", LOOK, R.GATEWAY_CROWDED),
    *said("MeshFederation", "GatewayReady", "Unknown", UNSURE, R.NOT_UNDERSTOOD, R.GATEWAY_ADDRESS_MISSING),
    *said("MeshFederation", "GatewayReady", "False", WAITS, R.PENDING),
    *said("MeshFederation", "GatewayReady", "False", WRONG, R.GATEWAY_SERVICE_MISSING, R.GATEWAY_PORT_MISSING),
    *said("MeshFederation", "GatewayReady", "False", WRONG, R.GATEWAY_PODS_MISSING, R.GATEWAY_PODS_NOT_READY),
    *said(
        "MeshFederation", "GatewayReady", "False", WRONG, R.GATEWAY_ADDRESS_MISSING, R.ROUTE_NOT_ADMITTED, *UNWRITTEN
    ),
    *said("MeshFederation", "ExportsReady", "True", FINE, R.EXPORTING, R.NOTHING_EXPORTED),
    *said("MeshFederation", "ExportsReady", "False", WRONG, R.NAME_TOO_LONG, R.NO_MESH_ENDPOINTS, R.MTLS_DISABLED),
    *said("MeshFederation", "ExportsReady", "False", WRONG, R.HIDDEN_FROM_GATEWAY, R.ROUTE_NOT_ADMITTED, *UNWRITTEN),
    *said("RemoteMesh", "Ready", "True", FINE, R.READY, R.PUBLISH_ONLY),
    *said("RemoteMesh", "Ready", "True", LOOK, R.IMPORTS_NOT_REACHED),
    *said("RemoteMesh", "Ready", "False", WRONG, R.NAME_CONFLICT, R.INVALID, R.NO_MESH_FEDERATION, R.MTLS_DISABLED),
    *said("RemoteMesh", "Ready", "False", WRONG, *UNWRITTEN, *BROKEN),
    *said("RemoteMesh", "Connected", "True", FINE, R.CONNECTED),
    *said("RemoteMesh", "Connected", "False", FINE, R.PUBLISH_ONLY),
    *said("RemoteMesh", "Connected", "False", WAITS, R.CONNECTING),
    *said("RemoteMesh", "Connected", "False", WRONG, R.UNREACHABLE, R.PERMISSION_DENIED),
    *said("RemoteMesh", "Synced", "True", FINE, R.SYNCED),
    *said("RemoteMesh", "Synced", "False", FINE, R.PUBLISH_ONLY),
    *said("RemoteMesh", "Synced", "False", WAITS, R.NOT_SYNCED, R.THROTTLED),
    *said("RemoteMesh", "Synced", "False", WRONG, R.WITHDRAWAL_HELD, R.STALE),
    *said("RemoteMesh", "IdentityUnique", "True", FINE, R.IDENTITY_UNIQUE),
    *said("RemoteMesh", "IdentityUnique", "False", WRONG, R.IDENTITY_AMBIGUOUS, R.IDENTITY_SHADOWED),
    *said("RemoteMesh", "Subscribed", "True", FINE, R.SUBSCRIBED),
    *said("RemoteMesh", "Subscribed", "False", {"unknown"}, R.NOT_SUBSCRIBED),
    *said("RemoteMesh", "Subscribed", "Unknown", UNSURE, R.SUBSCRIBERS_UNKNOWN),
    *said("RemoteMesh", "Reachable", "True", FINE, R.ANSWERED),
    *said("RemoteMesh", "Reachable", "Unknown", {"unknown"}, R.NOT_PROBED),
    *said("RemoteMesh", "Reachable", "False", WRONG, *BROKEN),
    *said("FederatedService", "Accepted", "True", FINE, R.ACCEPTED),
    *said("FederatedService", "Accepted", "True", LOOK, R.HOST_SHARED, R.PORTS_LEFT_OUT, R.TRAFFIC_POLICY_OVERRIDDEN),
    *said("FederatedService", "Accepted", "True", {*LOOK, "broken"}, R.MTLS_DISABLED, R.SNI_OVERRIDDEN),
    *said("FederatedService", "Accepted", "Unknown", UNSURE, R.NOT_UNDERSTOOD),
    *said("FederatedService", "Accepted", "False", LEFT, R.REMOTE_MISSING, R.NOT_IMPORTED, R.DENIED_BY_RULE),
    *said("FederatedService", "Accepted", "False", LEFT, R.PROTECTED_NAMESPACE, R.LIMIT_EXCEEDED, R.INVALID_HOST),
    *said("FederatedService", "Accepted", "False", LEFT, R.INVALID_PORTS, R.PORT_CONFLICT, R.SNI_CONFLICT),
    *said("FederatedService", "Accepted", "False", LEFT, R.SNI_OVERRIDDEN, R.PLAINTEXT_ENDPOINTS, R.SELECTOR_SHARED),
    *said("FederatedService", "Accepted", "False", LEFT, R.LOCAL_SERVICE_EXISTS, R.LOCAL_SERVICE_UNUSABLE),
    *said("FederatedService", "Accepted", "False", LEFT, R.ALREADY_IMPORTED, R.IDENTITY_MISMATCH, R.IDENTITY_UNKNOWN),
    *said("FederatedService", "Accepted", "False", LEFT, R.TCP_NOT_ALLOWED, R.MTLS_DISABLED),
    *said("FederatedService", "Applied", "True", FINE, R.APPLIED),
    *said("FederatedService", "Applied", "False", WAITS, R.PENDING),
    *said("FederatedService", "Applied", "False", WRONG, R.UNRESOLVED, *UNWRITTEN),
    *said("FederatedService", "Reachable", "True", FINE, R.ANSWERED),
    *said("FederatedService", "Reachable", "Unknown", {"unknown", "Imported"}, R.NOT_PROBED),
    *said("FederatedService", "Reachable", "False", WRONG, *BROKEN),
]
OF_SERVICES: Final = {
    *(R.EXPORTED, R.NOT_SELECTED, R.EXTERNAL_NAME, R.NO_USABLE_PORTS, R.HOST_TAKEN, R.NO_SERVICE),
}
"""What is decided of Services, and stands in no status that these views read."""


def test_every_reason_has_its_words() -> None:
    assert {one.reason for one in CASES} | OF_SERVICES == set(Reason)


def words(one: Said) -> set[str]:
    """Every word that any view puts beside the text of a condition; ``wrong`` is what status lists as such."""
    text = f"{REASONS[one.reason]} So it is."
    given = condition(one.type, one.status, str(one.reason), text)
    changes = {
        "MeshFederation": lambda: {"mesh": healthy.east(given)},
        "RemoteMesh": lambda: {"west": healthy.west(given, **_spec(one))},
        "FederatedService": lambda: {"ratings": imported("west", "ratings", given)},
    }[one.kind]()
    facts = healthy.facts(changes)
    found = {str(view.outcome) for view in run(facts) if text in view.message}
    seen_mesh = mesh(facts.snapshot)
    found |= {"wrong" for problem in seen_mesh.problems if text in problem.message}
    found |= {str(view.state) for view in imports(facts.snapshot) if text in view.message}
    world = World()
    if one.kind == "RemoteMesh" and _spec(one):
        world.one("RemoteMesh", "west", "east")["spec"].pop("import")
    east, west = world.snapshots()
    chains = []
    match one.kind:
        case "MeshFederation":
            chains = [*explained("ratings.bookinfo", [seen(saying(west, one.kind, "west", given))])]
        case "RemoteMesh":
            for snapshot in (saying(east, one.kind, "west", given), saying(west, one.kind, "east", given)):
                chains += explained("ratings.bookinfo", [seen(snapshot)])
            if not _spec(one):
                unrecorded = without(saying(east, one.kind, "west", given), "FederatedService", RECORD)
                chains += explained("ratings.bookinfo", [seen(unrecorded)])
        case _:
            chains = [*explained("ratings.bookinfo", [seen(saying(east, one.kind, RECORD, given))])]
    return found | {str(link.state) for chain in chains for link in chain.links if text in link.message}


def _spec(one: Said) -> dict[str, Any]:
    """What such a RemoteMesh has: nothing is imported where that is the reason."""
    return {"import_": None} if one.reason is Reason.PUBLISH_ONLY else {}


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.kind}-{one.type}-{one.status}-{one.reason}")
def test_no_word_contradicts_what_stands_beside_it(one: Said) -> None:
    found = words(one)
    assert found - one.words == set()
    if one.words is WRONG or one.words is LEFT:
        assert found & {"failed", "broken", "wrong", "warning"}, "nobody says that it is wrong"

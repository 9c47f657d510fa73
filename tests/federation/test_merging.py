"""What the offers of several remotes for one host become together, and which of them fit at all."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.federation.import_limit import standing
from meshfed.federation.merging import Candidate, merge
from meshfed.federation.ports import LeftOut
from meshfed.model.imports import Backend, Import, LocalService
from meshfed.model.meshes import Remote
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import meshes
from tests.admitted import TIMES
from tests.builders import host, remote_mesh, typed

HOST = host("ratings")
HTTP = Port(number=9080, name="http", protocol="HTTP")


def peer(name: str, **spec: Any) -> Remote:
    return meshes.remote(typed(RemoteMesh, remote_mesh(name, **spec)))


def candidate(
    name: str, *, first: str = "2026-01-01T00:00:00Z", ports: tuple[Port, ...] = (HTTP,), **parts: Any
) -> Candidate:
    spec = {key: parts.pop(key) for key in ("priority", "ingressType") if key in parts}
    sni_host = parts.pop("sni_host", "")
    return Candidate(
        record=parts.pop("record", name),
        remote=peer(name, **spec),
        offer=Offer(host=HOST, ports=ports, labels={"app": "ratings"}, sni_host=sni_host),
        first_offered=first,
        **parts,
    )


def reasons(*candidates: Candidate) -> dict[str, Reason]:
    """The reasons, which are the same in whatever order the candidates are given."""
    outcomes = [merge(HOST, order) for order in permutations(candidates)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return {record: decision.reason for record, decision in outcomes[0].decisions}


def test_one_remote_alone_serves_the_host() -> None:
    outcome = merge(HOST, [candidate("west", export_to=(".",))])
    assert outcome.imported == Import(
        host=HOST,
        ports=(HTTP,),
        backends=(Backend(remote=peer("west"), sni_host=HOST, labels={"app": "ratings"}),),
        export_to=(".",),
    )
    assert {record: decision.accepted for record, decision in outcome.decisions} == {"west": True}


def test_several_remotes_serve_one_host_where_the_later_ones_merge() -> None:
    outcome = merge(HOST, [candidate("north", first="2026-02-01T00:00:00Z", merge=True), candidate("west")])
    assert outcome.imported is not None
    assert [backend.remote.name for backend in outcome.imported.backends] == ["north", "west"]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param(
            [candidate("north", first="2026-02-01T00:00:00Z")], Reason.ALREADY_IMPORTED, id="it does not merge"
        ),
        pytest.param(
            [
                candidate(
                    "north",
                    first="2026-02-01T00:00:00Z",
                    merge=True,
                    ports=(Port(number=80, name="http", protocol="HTTP"),),
                )
            ],
            Reason.PORT_CONFLICT,
            id="other port numbers",
        ),
        pytest.param(
            [
                candidate(
                    "north",
                    first="2026-02-01T00:00:00Z",
                    merge=True,
                    ports=(Port(number=9080, name="http", protocol="TCP"),),
                )
            ],
            Reason.PORT_CONFLICT,
            id="other protocols",
        ),
        pytest.param(
            [candidate("north", first="2026-02-01T00:00:00Z", merge=True, ingressType="openshift-router")],
            Reason.SNI_CONFLICT,
            id="another type of ingress",
        ),
        pytest.param(
            [candidate("north", first="2026-02-01T00:00:00Z", merge=True, sni_host=host("other"))],
            Reason.SNI_CONFLICT,
            id="another name at the exporter",
        ),
        pytest.param(
            [
                candidate(
                    "north",
                    first="2026-02-01T00:00:00Z",
                    merge=True,
                    ports=(Port(number=9080, name="web", protocol="HTTP"),),
                )
            ],
            Reason.ACCEPTED,
            id="port names may differ",
        ),
    ],
)
def test_who_comes_later_has_to_agree(others: list[Candidate], expected: Reason) -> None:
    assert reasons(candidate("west"), *others) == {"west": Reason.ACCEPTED, "north": expected}


GRPC, METRICS = Port(number=9000, name="grpc", protocol="GRPC"), Port(number=9464, name="metrics")


def test_a_port_that_the_first_does_not_serve_is_left_out_by_itself() -> None:
    later = candidate("north", first="2026-02-01T00:00:00Z", merge=True, ports=(HTTP, GRPC, METRICS))
    outcome = merge(HOST, [candidate("west", ports=(HTTP, GRPC)), later])
    assert outcome.imported is not None
    assert outcome.imported.ports == (GRPC, HTTP)
    assert [(backend.remote.name, backend.without) for backend in outcome.imported.backends] == [
        ("north", frozenset()),
        ("west", frozenset()),
    ]
    decision = dict(outcome.decisions)["north"]
    assert (decision.accepted, decision.reason) == (True, Reason.PORTS_LEFT_OUT)
    assert decision.message == (
        f"imported as {HOST}; left out: port 9464 metrics (not imported from RemoteMesh west, which comes first)"
    )


def test_a_port_that_only_the_first_serves_would_be_called_at_the_other_too() -> None:
    later = candidate("north", first="2026-02-01T00:00:00Z", merge=True)
    outcome = merge(HOST, [candidate("west", ports=(HTTP, GRPC)), later])
    assert dict(outcome.decisions)["north"] == Decision(
        accepted=False,
        reason=Reason.PORT_CONFLICT,
        message=f"{HOST} is imported from RemoteMesh west, which comes first, with ports 9080/HTTP, 9000/GRPC; "
        "RemoteMesh north would serve 9080/HTTP, and Istio would send it calls on port 9000 all the same: make them "
        "agree, or have rules of both RemoteMeshes import only `ports` that agree",
    )


def test_a_port_that_this_mesh_leaves_out_of_the_other_is_not_said_to_be_missing_there() -> None:
    gone = LeftOut(GRPC, Reason.DENIED_BY_RULE, "import rule 1 denies it")
    later = candidate("north", first="2026-02-01T00:00:00Z", merge=True, left_out=(gone,))
    message = dict(merge(HOST, [candidate("west", ports=(HTTP, GRPC)), later]).decisions)["north"].message
    assert "offers" not in message
    assert message.endswith("`ports` that agree; left out: port 9000 grpc (import rule 1 denies it)")


def test_beside_a_local_service_each_serves_its_own_ports() -> None:
    local = LocalService(ServiceHost("ratings", "default", "cluster.local"), {"app": "ratings"}, ())
    later = candidate("north", first="2026-02-01T00:00:00Z", merge=True, ports=(GRPC, METRICS), local=local)
    outcome = merge(HOST, [candidate("west", merge=True, ports=(HTTP, GRPC), local=local), later])
    assert outcome.imported is not None
    assert outcome.imported.ports == (GRPC, HTTP, METRICS)
    assert [(backend.remote.name, backend.without) for backend in outcome.imported.backends] == [
        ("north", frozenset({9080})),
        ("west", frozenset({9464})),
    ]
    assert {decision.reason for _, decision in outcome.decisions} == {Reason.ACCEPTED}


def test_without_any_port_left_it_is_refused_for_the_first_ones_reason() -> None:
    gone = [LeftOut(HTTP, Reason.TCP_NOT_ALLOWED, "no leave"), LeftOut(GRPC, Reason.TCP_NOT_ALLOWED, "no leave")]
    denied = LeftOut(METRICS, Reason.DENIED_BY_RULE, "import rule 1 denies it")
    offered = candidate("west", ports=(HTTP, GRPC), left_out=(denied,))
    assert offered.without(HOST, gone) == Decision(
        accepted=False,
        reason=Reason.TCP_NOT_ALLOWED,
        message=f"no port of {HOST} is taken; left out: port 9464 metrics (import rule 1 denies it), 9080 http, 9000 "
        "grpc (no leave)",
    )


def test_priority_comes_before_age_and_age_before_name() -> None:
    older, newer = candidate("a", first="2026-01-01T00:00:00Z"), candidate("b", first="2026-02-01T00:00:00Z")
    assert reasons(newer, older) == {"a": Reason.ACCEPTED, "b": Reason.ALREADY_IMPORTED}
    preferred = candidate("b", first="2026-02-01T00:00:00Z", priority=1)
    assert reasons(preferred, older) == {"a": Reason.ALREADY_IMPORTED, "b": Reason.ACCEPTED}
    unrecorded = candidate("a", first="")
    assert reasons(newer, unrecorded) == {"a": Reason.ALREADY_IMPORTED, "b": Reason.ACCEPTED}
    assert reasons(candidate("b", first=""), candidate("a", first="")) == {
        "a": Reason.ACCEPTED,
        "b": Reason.ALREADY_IMPORTED,
    }


def test_one_remote_serves_a_host_once_whatever_its_rules_alias() -> None:
    twice = [candidate("west", record="r1", merge=True), candidate("west", record="r2", merge=True)]
    assert reasons(*twice) == {"r1": Reason.ACCEPTED, "r2": Reason.ALREADY_IMPORTED}


def test_a_field_of_the_traffic_policy_is_that_of_the_first_that_states_it() -> None:
    slow = {"outlierDetection": {"interval": "5s"}, "connectionPool": {"tcp": {"connectTimeout": "1s"}}}
    by_default = candidate("west", priority=1, traffic_policy={"outlierDetection": {}})
    outcome = merge(HOST, [candidate("north", merge=True, traffic_policy=slow), by_default])
    assert outcome.imported is not None
    assert outcome.imported.traffic_policy == slow | {"outlierDetection": {}}


def test_nobody_offers_it() -> None:
    assert (merge(HOST, []).imported, merge(HOST, []).decisions) == (None, ())


def test_who_was_first_is_told_in_microseconds_and_of_what_has_whole_seconds_too() -> None:
    moments = [
        "2026-01-01T00:00:00Z",  # as earlier versions wrote it
        "2026-01-01T00:00:00.000001Z",
        "2026-01-01T01:00:00.25+01:00",
        "2026-01-01T00:00:00.500000Z",
        "2026-01-01T01:00:01+01:00",
        "2026-01-01T00:00:01.000001Z",
        "",
    ]
    for order in permutations(moments):
        assert sorted(order, key=lambda moment: standing(moment, "same")) == moments
    assert standing("2026-01-01T00:00:01Z", "a") < standing("2026-01-01T01:00:01+01:00", "b")


def test_who_was_first_is_told_of_any_time_that_an_api_server_takes() -> None:
    earliest, latest = "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"
    moments = [earliest, "2026-01-01t00:00:00z", "2026-01-01T00:00:00,5+00:00", latest]
    for order in permutations(moments):
        assert sorted(order, key=lambda moment: standing(moment, "same")) == moments
    assert standing(earliest, "b") < standing("2026-01-01T00:00:00Z", "a") < standing("nonsense", "a")
    assert standing("nonsense", "a") < standing("nonsense", "b") < standing("", "a")
    assert sorted(TIMES, key=lambda moment: standing(moment, ""))

"""Which PeerAuthentication counts, and for which port of a workload."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.istio.peer_authentications import (
    PeerAuthentication,
    Ruling,
    WorkloadModes,
    namespace_mode,
    of_peer_authentication,
    workload_modes,
)
from tests.builders import peer_authentication

FIRST, SECOND = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
STRICT = Ruling("STRICT", "the namespace")


def read(*given: dict[str, Any]) -> dict[tuple[str, str], PeerAuthentication]:
    """PeerAuthentications by namespace and name."""
    return {(one["metadata"]["namespace"], one["metadata"]["name"]): of_peer_authentication(one) for one in given}


def test_what_matters_of_one() -> None:
    given = peer_authentication("a", "STRICT", app="a", ports={8080: "DISABLE", 9000: "UNSET"}, created=FIRST)
    assert of_peer_authentication(given) == PeerAuthentication(
        created=FIRST, selector={"app": "a"}, mode="STRICT", ports={8080: "DISABLE", 9000: None}
    )


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"selector": None, "mtls": None, "portLevelMtls": None},
        {"selector": {"matchLabels": None}, "mtls": {"mode": "UNSET"}},
        {"selector": [], "mtls": [], "portLevelMtls": ["8080"]},
        {"selector": {"matchLabels": {"app": 7}}, "mtls": {"mode": "SOMETHING"}, "portLevelMtls": {"http": {}}},
        {"mtls": {"mode": ["DISABLE"]}, "portLevelMtls": {"1" * 5000: {"mode": "DISABLE"}, "": None}},
    ],
)
def test_whatever_else_it_says_it_can_be_read(spec: Any) -> None:
    assert of_peer_authentication({"metadata": None, "spec": spec}) == PeerAuthentication()


def test_of_a_whole_namespace_the_oldest_without_a_selector_counts_also_where_it_says_nothing() -> None:
    older = peer_authentication("z", "DISABLE", created=FIRST)
    younger = peer_authentication("a", "STRICT", created=SECOND)
    of_some = peer_authentication("b", "PERMISSIVE", app="a")
    assert namespace_mode(read(younger, of_some, older)) == Ruling(
        "DISABLE", "PeerAuthentication default/z (`mtls.mode: DISABLE`)"
    )
    assert namespace_mode(read(younger, peer_authentication("z", "UNSET", created=FIRST))) is None
    assert namespace_mode(read(of_some)) is None
    assert namespace_mode({}) is None


def test_of_two_of_one_second_the_name_decides() -> None:
    found = namespace_mode(read(peer_authentication("b", "STRICT"), peer_authentication("a", "DISABLE")))
    assert found is not None
    assert found.off == "PeerAuthentication default/a (`mtls.mode: DISABLE`)"


def test_ports_of_one_without_a_selector_are_passed_over() -> None:
    found = read(peer_authentication("a", ports={8080: "DISABLE"}))
    assert namespace_mode(found) is None
    assert workload_modes(found, STRICT) == WorkloadModes(STRICT)


def test_for_a_workload_the_oldest_that_selects_it_counts_and_its_ports_with_it() -> None:
    older = peer_authentication("z", app="a", ports={8080: "DISABLE", 9000: "UNSET"}, created=FIRST)
    younger = peer_authentication("a", "DISABLE", app="a", ports={7000: "DISABLE"}, created=SECOND)
    modes = workload_modes(read(younger, older), STRICT)
    assert modes.of_port(8080).off == "PeerAuthentication default/z (`portLevelMtls.8080.mode: DISABLE`)"
    assert {modes.of_port(number) for number in (9000, 7000, 1)} == {STRICT}


def test_what_a_port_leaves_open_its_workload_says_and_then_its_namespace() -> None:
    given = peer_authentication("a", "DISABLE", app="a", ports={8080: "UNSET", 9000: "STRICT"})
    modes = workload_modes(read(given), STRICT)
    assert modes.of_port(8080) == modes.of_port(1) == modes.others
    assert modes.others.off == "PeerAuthentication default/a (`mtls.mode: DISABLE`)"
    assert modes.of_port(9000).off == ""
    assert workload_modes(read(peer_authentication("a", "UNSET", app="a")), STRICT).of_port(1) == STRICT

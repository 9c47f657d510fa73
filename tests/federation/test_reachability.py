"""What findings by several ways say together."""

from __future__ import annotations

import pytest

from meshfed.federation import reachability
from meshfed.federation.reachability import unproven
from meshfed.model.meshes import GatewayAddress
from meshfed.model.probes import LINKS, Answered, Broken, Finding, Link, Probe, Way, ways
from meshfed.model.reasons import Condition, Reason

WHO = "spiffe://cluster.local/ns/shop/sa/cart"
GATEWAYS = (GatewayAddress("192.0.2.20", 15443), GatewayAddress("2001:db8::20", 15443))
PROBE = Probe("west", GATEWAYS, ("outbound_.80_._.cart", "outbound_.90_._.cart"), (WHO,))
ANSWERED = Answered(WHO, 1e10)
ALL: dict[Way, Finding] = dict.fromkeys(ways(PROBE), ANSWERED)


def reachable(probe: Probe, findings: dict[Way, Finding]) -> Condition:
    """What holds after findings of which something follows."""
    condition = reachability.reachable(probe, findings)
    assert condition is not None
    return condition


def but(finding: Finding, *numbers: int) -> dict[Way, Finding]:
    """Everything answers, but the ways of these numbers."""
    return ALL | {ways(PROBE)[number]: finding for number in numbers}


def test_true_is_only_what_was_seen_by_every_way() -> None:
    found = reachable(PROBE, ALL)
    assert (found.status, found.reason) == ("True", Reason.ANSWERED)
    assert found.message == f"answered through 192.0.2.20:15443, [2001:db8::20]:15443 as {WHO}"
    for way in ALL:
        assert reachability.reachable(PROBE, {other: one for other, one in ALL.items() if other != way}) is None
    assert reachability.reachable(PROBE, {}) is None


@pytest.mark.parametrize(
    ("link", "reason", "said"),
    [
        (Link.NAME, Reason.NAME_NOT_RESOLVED, "mend 192.0.2.20 in DNS"),
        (Link.ADDRESS, Reason.GATEWAY_NOT_REACHED, "compare `addresses` and `port` of RemoteMesh west"),
        (Link.SNI, Reason.NOT_PASSED_ON, "it was outbound_.80_._.cart: the remote does not export that"),
        (Link.WORKLOAD, Reason.NO_CERTIFICATE, "the pods behind outbound_.80_._.cart do not answer"),
        (Link.TLS, Reason.NO_MUTUAL_TLS, "have to lead to a gateway that passes TLS on"),
        (Link.ROOT, Reason.ROOT_NOT_TRUSTED, "need a common root, or each other's trust bundles"),
        (Link.VALIDITY, Reason.CERTIFICATE_NOT_VALID, "has to renew its certificate"),
    ],
)
def test_each_broken_link_has_its_reason_and_a_remedy(link: Link, reason: Reason, said: str) -> None:
    found = reachable(PROBE, but(Broken(link, "so it says"), 0))
    assert (found.status, found.reason) == ("False", reason)
    assert found.message.startswith(f"192.0.2.20:15443: {LINKS[link]} (so it says); ")
    assert said in found.message
    assert found.message.endswith("; [2001:db8::20]:15443 answers")


def test_every_link_is_told() -> None:
    assert set(LINKS) == set(Link)
    for link in set(Link) - {Link.VERSION}:
        assert reachable(PROBE, dict.fromkeys(ALL, Broken(link))).status == "False"


def test_of_who_takes_tls_1_2_alone_nothing_is_seen() -> None:
    found = reachable(PROBE, but(Broken(Link.VERSION), 0, 1))
    assert (found.status, found.reason) == ("Unknown", Reason.NOT_PROBED)
    assert found.message.startswith("192.0.2.20:15443: whoever answers does not take TLS 1.3; by TLS 1.2 a handshake ")
    assert "with FIPS that is to be expected" in found.message
    broken = reachable(PROBE, but(Broken(Link.VERSION), 0, 1) | {ways(PROBE)[3]: Broken(Link.SNI)})
    assert (broken.status, broken.reason) == ("False", Reason.NOT_PASSED_ON), "what is seen to be broken comes first"


def test_somebody_else_answers() -> None:
    found = reachable(PROBE, but(Answered("spiffe://cluster.local/ns/evil/sa/other", 1e10), 2))
    assert (found.status, found.reason) == ("False", Reason.UNEXPECTED_IDENTITY)
    assert f"spiffe://cluster.local/ns/evil/sa/other answers for outbound_.80_._.cart, not {WHO}" in found.message
    nobody = reachable(PROBE, but(Answered("", 1e10), 2))
    assert (nobody.status, nobody.reason) == ("False", Reason.UNEXPECTED_IDENTITY)
    assert "somebody without a SPIFFE ID answers" in nobody.message


def test_of_a_discovery_service_it_is_the_remote_mesh_that_says_who_and_where() -> None:
    probe = Probe("west", GATEWAYS[:1], ("outbound_.15080_._.fds-west",), (WHO,), is_discovery=True)
    other = reachable(probe, dict.fromkeys(ways(probe), Answered("spiffe://cluster.local/ns/a/sa/b", 1e10)))
    assert other.message.endswith(
        "callers here refuse it: correct `identity` of RemoteMesh west, or find out who took its place"
    )
    closed = reachable(probe, dict.fromkeys(ways(probe), Broken(Link.SNI)))
    assert (
        "it was outbound_.15080_._.fds-west: no controller with a sidecar is ready there, or that mesh is not called "
        "west or has its controller in another namespace than `discovery.namespace` of RemoteMesh west says, or "
    ) in closed.message


def test_a_gateway_that_is_not_reached_answers_for_no_other_port() -> None:
    first = reachable(PROBE, but(Broken(Link.ADDRESS), 0))
    assert first.message.endswith("look for a firewall between; [2001:db8::20]:15443 answers")
    both = reachable(PROBE, but(Broken(Link.ADDRESS), 0, 2, 3))
    assert both.message.endswith("look for a firewall between; 2 other ways fail too")


def test_where_nobody_is_announced_whoever_has_an_identity_will_do() -> None:
    probe = Probe(PROBE.remote, PROBE.addresses, PROBE.names)
    assert reachable(probe, ALL).status == "True"
    assert reachable(probe, dict.fromkeys(ALL, Answered("", 1e10))).status == "False"


def test_what_else_is_known_stands_beside_it() -> None:
    broken = Broken(Link.SNI)
    assert reachable(PROBE, but(broken, 0)).message.endswith("; [2001:db8::20]:15443 answers")
    assert reachable(PROBE, but(broken, 0, 2)).message.endswith("; 1 other way fails too; [2001:db8::20]:15443 answers")
    assert reachable(PROBE, but(broken, 0, 2, 3)).message.endswith("; 2 other ways fail too; other ports answer")
    assert reachable(PROBE, dict.fromkeys(ALL, broken)).message.endswith("; 3 other ways fail too")


def test_one_that_is_broken_counts_before_the_others_were_tried() -> None:
    assert reachable(PROBE, {ways(PROBE)[3]: Broken(Link.ADDRESS)}).status == "False"


def test_what_cannot_be_tried() -> None:
    found = unproven("the roots cannot be read")
    assert (found.status, found.reason, found.message) == ("Unknown", Reason.NOT_PROBED, "the roots cannot be read")

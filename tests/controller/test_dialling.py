"""When a remote has to be called anew, and what is said where it does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.controller.remotes.dialling import hint, is_another, target
from meshfed.fds import NotReady, Refused, Unreachable
from tests.builders import remote_mesh, typed


def west(**changed: Any) -> RemoteMesh:
    plain = {"addresses": ["192.0.2.20"], "identity": "spiffe://west.local/ns/a/sa/b"}
    return typed(RemoteMesh, remote_mesh("west", **(plain | changed)))


@pytest.mark.parametrize(
    "changed",
    [
        {"addresses": ["192.0.2.21"]},
        {"port": 443},
        {"addresses": ["192.0.2.20:443"]},
        {"ingressType": "openshift-router"},
        {"identity": "spiffe://west.local/ns/a/sa/c"},
        {"trustDomain": "west.local"},
        {"discovery": {"address": "192.0.2.9:15080"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_where_the_way_or_who_answers_is_another_it_is_called_anew(changed: dict[str, Any]) -> None:
    assert is_another(west(**changed), west())


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"import": {}},
        {"locality": "a/b"},
        {"network": "w"},
        {"priority": 3},
        {"addresses": ["192.0.2.20:15443", "192.0.2.21:443"]},
    ],
    ids=str,
)
def test_anything_else_leaves_the_connection(changed: dict[str, Any]) -> None:
    assert not is_another(west(**changed), west())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unreachable("192.0.2.20:15080: refused"), ""),
        (Refused("PERMISSION_DENIED: RBAC: access denied"), "see whether the remote has a RemoteMesh"),
        (NotReady("192.0.2.20:15080: UNAVAILABLE: no healthy upstream"), "by way of its gateway (192.0.2.20:15443)"),
        (NotReady("192.0.2.20:15080: UNAVAILABLE"), "our own sidecar answers"),
        (NotReady("192.0.2.20:15080: UNAVAILABLE: try again soon"), "; it is starting, or not in sync yet"),
    ],
    ids=str,
)
def test_the_hint_is_of_who_answered(error: Unreachable | Refused | NotReady, expected: str) -> None:
    assert expected in hint(error, west())
    assert bool(expected) == bool(hint(error, west()))


def test_behind_our_sidecar_an_address_is_dialled_on_the_discovery_port() -> None:
    found = target(west(addresses=["[2001:db8::1]:31443", "192.0.2.20"]))
    assert found is not None
    assert (found.host, found.port) == ("2001:db8::1", 15080)
    unavailable = NotReady("[2001:db8::1]:15080: UNAVAILABLE: no healthy upstream")
    assert "its gateway ([2001:db8::1]:31443)" in hint(unavailable, west(addresses=["[2001:db8::1]:31443"]))

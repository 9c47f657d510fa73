"""Offers as bytes: the reference's to the byte, ours with more fields, and what is done with malformed ones."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfed.fds.messages import Dialect, MalformedError, SetDigest, decode, encode, version_of
from meshfed.fds.pb import discovery_pb2 as pb
from meshfed.model.offers import Offer, Port
from tests.builders import offer

GOLDEN = bytes.fromhex(
    "0a17612e6e73322e7376632e636c75737465722e6c6f63616c121108501204485454501a046874747020903f1a080a03617070120161"
)
IN_GOLDEN = offer("a.ns2", ports=(Port(number=80, name="http", protocol="HTTP", target_port=8080),))


def test_the_reference_s_bytes_round_trip() -> None:
    assert decode(GOLDEN) == IN_GOLDEN
    assert encode(decode(GOLDEN), Dialect.SOTW) == GOLDEN
    assert encode(decode(GOLDEN), Dialect.DELTA) == GOLDEN


FULL = Offer(
    host="a.ns2.svc.cluster.local",
    ports=(Port(number=80, name="http", protocol="HTTP"), Port(number=9000, name="odd", target_port=9001)),
    labels={"app": "a", "b": "2"},
    sni_host="real.ns2.svc.cluster.local",
    identities=("spiffe://west.local/ns/ns2/sa/a", "spiffe://west.local/ns/ns2/sa/b"),
    locality="us-west1/us-west1-a",
    ready=False,
    exported_at="2026-01-02T03:04:05Z",
)


def test_our_dialect_carries_every_field() -> None:
    assert decode(encode(FULL, Dialect.DELTA)) == FULL


def test_the_reference_s_dialect_has_its_fields_alone_and_says_tcp_for_an_unknown_protocol() -> None:
    assert decode(encode(FULL, Dialect.SOTW)) == Offer(
        host=FULL.host,
        ports=(FULL.ports[0], Port(number=9000, name="odd", protocol="TCP", target_port=9001)),
        labels=FULL.labels,
    )


@pytest.mark.parametrize("dialect", Dialect)
def test_order_and_repetition_do_not_show(dialect: Dialect) -> None:
    tidy = offer("a", ports=(Port(80, "http"), Port(90, "grpc")), labels={"a": "1", "b": "2", "c": "3"})
    untidy = offer(
        "a",
        ports=(Port(90, "grpc"), Port(80, "http"), Port(80, "again"), Port(100, "http")),
        labels={"c": "3", "a": "1", "b": "2"},
    )
    assert encode(untidy, dialect) == encode(tidy, dialect)
    assert version_of(untidy) == version_of(tidy)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"exported_at": "2027-01-01T00:00:00Z"}, True),
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"labels": {}}, False),
        ({"ports": ()}, False),
        ({"sni_host": ""}, False),
        ({"identities": ()}, False),
        ({"locality": ""}, False),
        ({"host": "b.ns2.svc.cluster.local"}, False),
    ],
)
def test_a_version_covers_what_matters(changes: dict[str, Any], same: bool) -> None:
    changed = msgspec.structs.replace(FULL, **changes)
    assert (version_of(changed) == version_of(FULL)) is same


@pytest.mark.parametrize(
    ("data", "named", "why"),
    [
        (b"", "", "names no host"),
        (b"\xff\xff\xff", "", "not a FederatedService"),
        (b"\x0a\x02\xc3\x28", "", "not a FederatedService"),
        (GOLDEN[:-1], "", "not a FederatedService"),
        (GOLDEN.replace(b"app", b"\xff\xfe\xfd"), "a.ns2.svc.cluster.local", "not a FederatedService"),
        (GOLDEN + b"\x12\x7f", "", "not a FederatedService"),
    ],
)
def test_what_is_malformed_names_its_host_where_that_can_be_told(data: bytes, named: str, why: str) -> None:
    with pytest.raises(MalformedError, match=re.escape(why)) as caught:
        decode(data)
    assert caught.value.host == named


def test_a_time_out_of_range_is_left_out() -> None:
    message = pb.FederatedService(hostname="a.b")
    message.exported_at.seconds = 1 << 60
    assert decode(message.SerializeToString()) == Offer(host="a.b")


def test_unknown_fields_are_ignored() -> None:
    assert decode(GOLDEN + bytes.fromhex("fa3f03616263")) == IN_GOLDEN


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_offers = st.builds(
    Offer,
    host=_text.filter(bool),
    ports=st.lists(
        st.builds(
            Port, number=st.integers(0, 2**32 - 1), name=_text, protocol=_text, target_port=st.integers(0, 65535)
        ),
        max_size=5,
        unique_by=(lambda port: port.number, lambda port: port.name),
    ).map(lambda ports: tuple(sorted(ports, key=lambda port: port.number))),
    labels=st.dictionaries(_text, _text, max_size=5),
    sni_host=_text,
    identities=st.sets(_text, max_size=3).map(lambda names: tuple(sorted(names))),
    locality=_text,
    ready=st.none() | st.booleans(),
)


@given(_offers)
def test_any_offer_round_trips(one: Offer) -> None:
    assert decode(encode(one, Dialect.DELTA)) == one


@given(st.binary(max_size=200))
def test_any_bytes_are_an_offer_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert decode(data).host


def test_a_set_s_digest_is_the_sum_of_its_pairs_in_any_order() -> None:
    pairs = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    forwards, backwards = SetDigest(), SetDigest()
    for pair in pairs:
        forwards.add(SetDigest.term(*pair))
    for pair in reversed(pairs):
        backwards.add(SetDigest.term(*pair))
    assert str(forwards) == str(backwards)
    # sha256("a\0001") + sha256("b\0002") + sha256("c\0003") modulo 2^256, worked out apart from the code
    import hashlib

    total = sum(int(hashlib.sha256(name + b"\x00" + version).hexdigest(), 16) for name, version in pairs) % 2**256
    assert str(forwards) == f"{total:064x}"
    for pair in pairs:
        forwards.discard(SetDigest.term(*pair))
    assert str(forwards) == "0" * 64

"""A client that speaks only the reference's dialect, made of grpcio, is served."""

from __future__ import annotations

import contextlib
from typing import Any

import grpc.aio
import pytest

from meshfed.fds import ExportSet, StreamTiming, Subscriber
from tests.builders import host, offer

from .reference import RESOURCE, TYPE, reference_client, services_of
from .support import WEST, by_identity, everyone, ready, server_of
from .test_messages import GOLDEN, IN_GOLDEN


def xfcc(identity: object) -> tuple[tuple[str, str], ...]:
    return (("x-forwarded-client-cert", f'By=spiffe://east.local/x;Hash=0;Subject="";URI={identity}'),)


async def test_the_first_request_with_a_made_up_nonce_is_answered_with_everything() -> None:
    server = server_of(ready(offer("b"), IN_GOLDEN))
    async with server.listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        response = await client.next()
        assert (response.type_url, [one.type_url for one in response.resources]) == (TYPE, [RESOURCE] * 2)
        assert response.nonce
        assert response.version_info
        assert response.resources[0].value == GOLDEN
        assert [one.hostname for one in services_of(response)] == [IN_GOLDEN.host, host("b")]


async def test_changes_are_pushed_whole_and_nothing_is_pushed_without_one() -> None:
    exports = ready(offer("a"))
    async with server_of(exports).listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        assert await client.hosts() == [host("a")]
        exports.set(offer("b"), None)
        assert await client.hosts() == [host("a"), host("b")]
        exports.set(offer("b", exported_at="2026-01-01T00:00:00Z"), None)
        exports.set(offer("b", ready=True), None)
        exports.set(offer("b", identities=("spiffe://east.local/ns/a/sa/b",)), None)  # not in this dialect
        exports.set(offer("c", sni_host="d.e"), None)  # an alias: not in this dialect
        exports.remove(host("a"))
        assert await client.hosts() == [host("b")], "the only change that shows"
        exports.remove(host("b"))
        assert await client.hosts() == []


async def test_a_burst_is_one_push() -> None:
    exports = ready()
    server = server_of(exports, timing=StreamTiming(gather=(0.1, 0.1)))
    async with server.listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        assert await client.hosts() == []
        for number in range(200):
            exports.set(offer(f"a{number}"), None)
        assert len(await client.hosts()) == 200


async def test_requests_without_a_version_are_polls_and_those_with_one_are_not_answered() -> None:
    exports = ready(offer("a"))
    async with server_of(exports).listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        first = await client.next()
        await client.ask(version=first.version_info, nonce=first.nonce)
        await client.ask(version="anything", nonce="")
        await client.ask(nonce="poll")
        second = await client.next()
        assert second.resources == first.resources
        assert second.version_info == first.version_info
        assert second.nonce != first.nonce
        exports.set(offer("b"), None)
        assert await client.hosts() == [host("a"), host("b")], "and nothing was sent in between"


async def test_a_half_close_ends_nothing() -> None:
    exports = ready(offer("a"))
    async with server_of(exports).listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        await client.call.done_writing()
        assert await client.hosts() == [host("a")]
        exports.set(offer("b"), None)
        assert await client.hosts() == [host("a"), host("b")]


async def test_who_asks_for_what_is_exported_subscribes_and_who_asks_for_something_else_does_not() -> None:
    server = server_of(ready(offer("a")), by_identity)
    async with server.listen("127.0.0.1", 0) as port, reference_client(port, metadata=xfcc(WEST)) as client:
        await client.ask(type_url="something/else")
        await client.next()
        assert list(server.subscriptions()) == []
        await client.ask()
        assert await client.hosts() == [host("a")]
        assert [(who.name, dialect) for who, dialect in server.subscriptions()] == [("west", "sotw")]
    assert list(server.subscriptions()) == []


async def test_an_unknown_type_is_answered_with_an_empty_list_of_that_type() -> None:
    async with server_of(ready(offer("a"))).listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask(type_url="networking.istio.io/v1alpha3/ServiceEntry")
        response = await client.next()
        assert (response.type_url, list(response.resources)) == ("networking.istio.io/v1alpha3/ServiceEntry", [])
        await client.ask()
        assert await client.hosts() == [host("a")]


@pytest.mark.parametrize(
    ("authorize", "metadata", "marked", "code", "words"),
    [
        (by_identity, (), True, grpc.StatusCode.PERMISSION_DENIED, "proves no SPIFFE identity"),
        (
            by_identity,
            xfcc("spiffe://evil.local/ns/a/sa/b"),
            True,
            grpc.StatusCode.PERMISSION_DENIED,
            "no RemoteMesh here has the identity spiffe://evil.local/ns/a/sa/b",
        ),
        (by_identity, xfcc(WEST), False, grpc.StatusCode.UNAVAILABLE, "not complete yet"),
        (everyone, (), False, grpc.StatusCode.UNAVAILABLE, "not complete yet"),
    ],
)
async def test_who_is_not_known_or_comes_too_early_is_told_so(
    authorize: Any, metadata: Any, marked: bool, code: grpc.StatusCode, words: str
) -> None:
    exports = ExportSet()
    exports.set(offer("a"), None)
    if marked:
        exports.mark_ready()
    server = server_of(exports, authorize)
    async with server.listen("127.0.0.1", 0) as port, reference_client(port, metadata=metadata) as client:
        assert await client.call.code() is code
        assert words in await client.call.details()


async def test_a_subscriber_sees_what_its_audience_may_see() -> None:
    exports = ready(offer("all"))
    exports.set(offer("both"), frozenset({"west", "north"}))
    exports.set(offer("north"), frozenset({"north"}))
    server = server_of(exports, by_identity)
    async with server.listen("127.0.0.1", 0) as port, reference_client(port, metadata=xfcc(WEST)) as client:
        await client.ask()
        assert await client.hosts() == [host("all"), host("both")]
        exports.set(offer("north2"), frozenset({"north"}))  # not for west: no push
        exports.set(offer("north"), None)
        assert await client.hosts() == [host("all"), host("both"), host("north")]


async def test_anonymous_callers_and_shared_identities_see_what_everyone_concerned_may_see() -> None:
    exports = ready(offer("all"))
    exports.set(offer("both"), frozenset({"west", "north"}))
    exports.set(offer("north"), frozenset({"north"}))
    subscriber = Subscriber(name="anyone", remotes=frozenset())
    server = server_of(exports, lambda _: subscriber)
    async with server.listen("127.0.0.1", 0) as port:
        async with reference_client(port) as client:
            await client.ask()
            assert await client.hosts() == [host("all")]
        subscriber = Subscriber(name="west and north", remotes=frozenset({"west", "north"}))
        async with reference_client(port) as client:
            await client.ask()
            assert await client.hosts() == [host("all"), host("both")]


async def test_streams_end_when_their_identity_is_no_longer_known() -> None:
    known = True
    server = server_of(ready(offer("a")), lambda caller: by_identity(caller) if known else None)
    async with server.listen("127.0.0.1", 0) as port, reference_client(port, metadata=xfcc(WEST)) as client:
        await client.ask()
        assert await client.hosts() == [host("a")]
        server.reevaluate()
        known = False
        server.reevaluate()
        assert await client.call.code() is grpc.StatusCode.PERMISSION_DENIED
        assert server.statistics()["sotw"] == 0


async def test_nacks_are_not_answered() -> None:
    exports = ready(offer("a"))
    async with server_of(exports).listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        await client.next()
        for _ in range(100):
            await client.ask(error="I do not like it")
        exports.set(offer("b"), None)
        assert await client.hosts() == [host("a"), host("b")]


async def test_whoever_asks_in_a_loop_is_answered_now_and_then() -> None:
    server = server_of(ready(offer("a")), timing=StreamTiming(gather=(0.001, 0.001), answer=0.2))
    async with server.listen("127.0.0.1", 0) as port, reference_client(port) as client:
        await client.ask()
        await client.next()
        for _ in range(300):
            await client.ask()
        answers = 0
        with contextlib.suppress(TimeoutError):
            while True:
                await client.next(timeout=1)
                answers += 1
        assert 1 <= answers <= 60  # each 0.2 seconds of however long the asking took

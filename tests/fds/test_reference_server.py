"""A server that speaks only the reference's dialect, made of grpcio, is followed, quirks included."""

from __future__ import annotations

import pytest

from meshfed.fds import Dialect, Limits, NotReady, Patience, Rejected, Unsupported, Update
from meshfed.fds.messages import decode
from meshfed.model.offers import Port
from meshfed.telemetry.metrics import Metrics
from tests.builders import host, offer
from tests.fds.reference import resource
from tests.waiting import eventually

from .reference import TYPE, FederatedService, ReferenceServer, ServicePort
from .support import Recorder, following, hosts

QUICK = Patience(first=0.05, most=0.2, poll=0.2, confirm=0.3)


async def test_it_falls_back_and_asks_as_the_reference_s_client_does() -> None:
    server = ReferenceServer(resource("a"))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink):
            await sink.until_offered("a")
        assert sink.log == [Dialect.SOTW, Update(upserts=(offer("a"),), complete=True, synced=True)]
        assert server.delta_calls == 1
        request = server.requests[0]
        assert (request.type_url, request.version_info, list(request.resource_names)) == (TYPE, "", [])
        assert request.response_nonce
        assert not request.HasField("error_detail")


async def test_incremental_alone_says_that_it_is_not_spoken() -> None:
    async with ReferenceServer().listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="delta"):
            await sink.until(lambda: bool(sink.errors))
        assert isinstance(sink.errors[0], Unsupported)
        assert "UNIMPLEMENTED: not implemented" in str(sink.errors[0])


async def test_pushes_without_a_nonce_are_followed() -> None:
    server = ReferenceServer(resource("a"))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw"):
            await sink.until_offered("a")
            server.services = [resource("b"), resource("a", app="other")]
            server.push()
            await sink.until_offered("a", "b")
            assert sink.offers == {host("a"): offer("a", labels={"app": "other"}), host("b"): offer("b")}
            server.services = [resource("b")]
            server.push()
            await sink.until_offered("b")


async def test_what_is_missed_is_found_by_polling_and_the_same_list_is_not_reported_again() -> None:
    server = ReferenceServer(resource("a", x="1", y="2"), resource("b"))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw", patience=QUICK):
            await sink.until_offered("a", "b")
            server.services.reverse()  # the reference lists in any order
            await eventually(lambda: len(server.requests) >= 4)
            assert len(sink.updates) == 1
            server.services.append(resource("c"))
            await sink.until_offered("a", "b", "c")
        assert {request.version_info for request in server.requests} == {""}


async def test_an_empty_list_that_a_second_request_does_not_confirm_withdraws_nothing() -> None:
    server = ReferenceServer(resource("a"))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw", patience=Patience(confirm=0.1)):
            await sink.until_offered("a")
            server.empty_answers = 1
            server.push()  # empty, as when it failed to build its list
            await eventually(lambda: len(server.requests) >= 2)
            server.services.append(resource("b"))
            server.push()
            await sink.until_offered("a", "b")
        assert [hosts(update.upserts) for update in sink.updates] == [[host("a")], [host("a"), host("b")]]


@pytest.mark.parametrize("at_first", [True, False])
async def test_an_empty_list_that_is_confirmed_is_believed(at_first: bool) -> None:
    server = ReferenceServer(*([] if at_first else [resource("a")]))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw", patience=Patience(confirm=0.1)):
            if not at_first:
                await sink.until_offered("a")
                server.services = []
                server.push()
            await sink.until_offered()
            assert sink.updates[-1] == Update(complete=True, synced=True)
        assert len(server.requests) == 2


async def test_an_empty_list_of_another_type_says_nothing() -> None:
    server = ReferenceServer(resource("a"))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw", patience=Patience(confirm=0.05)):
            await sink.until_offered("a")
            for stream in server._streams:
                from .reference import Response

                stream.put_nowait(Response(type_url="some.other/Type", version_info="1"))
                stream.put_nowait(Response(type_url="some.other/Type", version_info="1"))
            server.services.append(resource("b"))
            server.push()
            await sink.until_offered("a", "b")
        assert len(server.requests) == 1


async def test_one_malformed_service_spoils_no_other() -> None:
    bad_label = resource("bad", app="xyz").SerializeToString().replace(b"xyz", b"\xff\xff\xff")
    server = ReferenceServer(resource("a"), bad_label, resource("b"))
    metrics = Metrics()
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw", metrics=metrics):
            await sink.until(lambda: bool(sink.updates))
    why = "it is not a FederatedService message with text in valid UTF-8"
    assert sink.updates == [
        Update(
            upserts=(offer("a"), offer("b")),
            complete=True,
            synced=True,
            rejected=(Rejected(host=host("bad"), why=why),),
        )
    ]
    count = metrics.registry.get_sample_value
    assert count("meshfed_fds_received_total", {"remote": "east", "outcome": "malformed"}) == 1
    assert count("meshfed_fds_received_total", {"remote": "east", "outcome": "accepted"}) == 2


async def test_a_service_that_becomes_malformed_is_not_withdrawn_and_nor_is_any_while_one_has_no_name() -> None:
    server = ReferenceServer(resource("a"), resource("b"))
    bad = resource("b", app="xyz").SerializeToString().replace(b"xyz", b"\xff\xff\xff")
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw"):
            await sink.until_offered("a", "b")
            server.services = [resource("a"), bad]
            server.push()
            await sink.until(lambda: len(sink.updates) == 2)
            assert set(sink.offers) == {host("a"), host("b")}
            assert sink.updates[-1].complete
            server.services = [b"\xff\xff", resource("c")]
            server.push()
            await sink.until(lambda: len(sink.updates) == 3)
            assert set(sink.offers) == {host("a"), host("b"), host("c")}
            assert sink.updates[-1] == Update(
                upserts=(offer("c"),),
                complete=False,
                synced=True,
                rejected=(Rejected(host="", why="it is not a FederatedService message with text in valid UTF-8"),),
            )
            server.services = [resource("c")]
            server.push()
            await sink.until_offered("c")


async def test_of_a_host_that_is_listed_twice_the_last_wins() -> None:
    server = ReferenceServer(resource("a", app="first"), resource("a", app="second"))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw"):
            await sink.until_offered("a")
    assert sink.updates[0].upserts == (offer("a", labels={"app": "second"}),)


async def test_what_is_beyond_the_limit_is_left_out_and_what_was_taken_stays() -> None:
    server = ReferenceServer(*(resource(f"s{number}") for number in range(3)))
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw", limits=Limits(services=3)):
            await sink.until_offered("s0", "s1", "s2")
            server.services = [resource("new1"), resource("new2"), resource("s2"), resource("s1")]
            server.push()
            await sink.until(lambda: len(sink.updates) == 2)
    assert set(sink.offers) == {host("new1"), host("s1"), host("s2")} or set(sink.offers) == {
        host("new2"),
        host("s1"),
        host("s2"),
    }
    last = sink.updates[-1]
    assert not last.complete
    assert last.removals == (host("s0"),)
    assert [item.why.partition(":")[0] for item in last.rejected] == ["1 services were left out"]


async def test_it_comes_back_after_the_server_was_away() -> None:
    server = ReferenceServer(resource("a"))
    server.failing = 2
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw"):
            await sink.until_offered("a")
    assert [type(error) for error in sink.errors] == [NotReady, NotReady]
    assert "UNAVAILABLE: not now" in str(sink.errors[0])


async def test_odd_but_valid_services_pass_unjudged() -> None:
    odd = FederatedService(
        hostname="UPPER_case",
        ports=[ServicePort(number=0), ServicePort(number=2**32 - 1, name="x" * 300)],
        labels={str(number): "x" for number in range(10_000)},
    )
    server = ReferenceServer(odd)
    async with server.listen() as port:
        sink = Recorder()
        async with following(port, sink, dialect="sotw"):
            await sink.until(lambda: bool(sink.updates))
    assert sink.updates[0].upserts == (decode(odd.SerializeToString()),)
    assert sink.updates[0].upserts[0].ports == (Port(number=0), Port(number=2**32 - 1, name="x" * 300))

"""How long to wait, and trying again until the API server answers; in virtual time."""

from __future__ import annotations

import asyncio
import logging

import pytest

from meshfed.kube import Backoff, Forbidden, KubeError, TooManyRequests, TransportError, retry_on_error

pytestmark = pytest.mark.looptime

REFUSED = TransportError("connection refused")
BUSY = TooManyRequests(429, "TooManyRequests", "later", retry_after=60.0)
DENIED = Forbidden(403, "Forbidden", "pods is forbidden")


class Server:
    """Fails as told, one error a request, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked_at: list[float] = []

    async def ask(self) -> str:
        self.asked_at.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return "the answer"


def doubling() -> Backoff:
    """1, 2, 4, 4... seconds."""
    return Backoff(base=1.0, cap=4.0, rng=lambda: 1.0)


def test_delays_double_up_to_a_cap_and_begin_again() -> None:
    backoff = Backoff(base=0.2, cap=30, rng=lambda: 0.5)
    assert [backoff.next() for _ in range(9)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15])
    assert backoff.next(at_least=20) == 20
    backoff.reset()
    assert backoff.next() == pytest.approx(0.1)
    assert all(backoff.next() <= 15 for _ in range(5000))


async def test_an_answer_is_returned_at_once() -> None:
    server, reasons = Server(), list[str]()
    assert await retry_on_error(server.ask, not_ready=reasons.append) == "the answer"
    assert (server.asked_at, reasons) == ([0.0], [])


async def test_a_failure_is_tried_again_after_a_growing_time() -> None:
    server = Server(REFUSED, REFUSED, REFUSED, REFUSED)
    assert await retry_on_error(server.ask, backoff=doubling()) == "the answer"
    assert server.asked_at == pytest.approx([0, 1, 3, 7, 11])


async def test_what_the_server_asks_for_is_waited_for() -> None:
    server = Server(BUSY, REFUSED)
    await retry_on_error(server.ask, backoff=doubling())
    assert server.asked_at == pytest.approx([0, 60, 62])


async def test_no_wait_is_longer_than_five_seconds() -> None:
    server = Server(*[REFUSED] * 200)
    await retry_on_error(server.ask)
    waits = [after - before for before, after in zip(server.asked_at, server.asked_at[1:], strict=False)]
    assert 4 < max(waits) <= 5.001


@pytest.mark.parametrize(
    ("problem", "said"),
    [("cannot list pods", "cannot list pods: connection refused"), ("", "connection refused")],
)
async def test_who_waits_hears_why_after_each_try(problem: str, said: str) -> None:
    reasons: list[str] = []
    await retry_on_error(Server(REFUSED, REFUSED).ask, problem=problem, not_ready=reasons.append)
    assert reasons == [said, said]


async def test_the_log_says_each_reason_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    # At 0, 1, 3, 7, 11 and so on: 15 of them in the first minute.
    server = Server(*[REFUSED] * 18, DENIED)
    await retry_on_error(server.ask, problem="cannot list pods", backoff=doubling())
    assert [(record.levelno, record.getMessage()) for record in caplog.records if "kube" in record.name] == [
        (logging.WARNING, "waiting: cannot list pods: connection refused"),
        (logging.WARNING, "waiting: cannot list pods: connection refused"),
        (logging.ERROR, "waiting: cannot list pods: pods is forbidden (403 Forbidden)"),  # somebody has to act
    ]


@pytest.mark.parametrize("error", [ValueError("ours"), asyncio.CancelledError()])
async def test_any_other_exception_passes(error: BaseException) -> None:
    async def ask() -> None:
        raise error

    with pytest.raises(type(error)):
        await retry_on_error(ask)


async def test_a_kind_of_our_own_is_tried_again_too() -> None:
    class Lacking(KubeError):
        """What a caller finds wrong with an answer."""

    server = Server(Lacking("the cluster does not serve it"))
    assert await retry_on_error(server.ask) == "the answer"
    assert len(server.asked_at) == 2

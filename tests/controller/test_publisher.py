"""What subscribers are told while it is not known of every export whether it still stands."""

from __future__ import annotations

import pytest

from meshfed.controller.options import Options
from meshfed.controller.remotes.publisher import Publisher
from meshfed.fds import Dialect, Subscriber
from meshfed.model.offers import Offer
from meshfed.plan import ExportKey, Planner, Published, Settings
from meshfed.telemetry.metrics import Metrics
from tests.builders import HTTP, host

ALPHA, BETA = ExportKey("default", "alpha"), ExportKey("default", "beta")


def shop(by: str) -> Published:
    return Published(offer=Offer(host=host("shop"), ports=(HTTP,), sni_host=host(by)))


class Told:
    """A publisher in its second term, and what subscribers hear in it; in the first, alpha was exported as shop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.publisher, self.planner = Publisher(Options(namespace="istio-system"), Metrics()), Planner(Settings())
        self.publisher.begin(self.planner)
        self.publisher.publish(ALPHA, shop("alpha"))
        self.publisher.ready(self.planner)
        self.publisher.begin(self.planner)
        self.heard: list[str] = []
        exports = self.publisher._exports
        monkeypatch.setattr(exports, "set", lambda offer, _audience, **_: self.heard.append(offer.sni_host))
        monkeypatch.setattr(exports, "remove", lambda gone, **_: self.heard.append(f"no {gone}"))


async def test_a_host_stays_with_whom_it_was_until_it_is_known_that_they_have_it_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told(monkeypatch)
    told.publisher.publish(BETA, shop("beta"))  # as where nothing is known of alpha for a fault of ours
    assert told.heard == []
    told.publisher.publish(ALPHA, shop("alpha"))
    told.publisher.publish(BETA, None)
    told.publisher.ready(told.planner)
    assert told.heard == [host("alpha")]


async def test_who_was_kept_back_has_the_host_as_soon_as_it_is_free_and_without_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told(monkeypatch)
    told.publisher.publish(BETA, shop("beta"))
    told.publisher.ready(told.planner)
    assert told.heard == [host("beta")]
    told.publisher.publish(BETA, None)
    assert told.heard == [host("beta"), f"no {host('shop')}"]


async def test_who_subscribes_counts_once_and_of_those_that_share_an_identity_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher = Publisher(Options(namespace="istio-system"), Metrics())
    west = Subscriber("west", frozenset({"west"}))
    both = Subscriber("north+south", frozenset({"north", "south"}))
    streams = [(west, Dialect.SOTW), (west, Dialect.DELTA), (west, Dialect.SOTW), (both, Dialect.SOTW)]
    streams.append((Subscriber("anonymous", frozenset()), Dialect.DELTA))
    monkeypatch.setattr(publisher._server, "subscriptions", lambda: streams)
    assert publisher.subscribers() == {"west": "delta", "north": "sotw", "south": "sotw"}

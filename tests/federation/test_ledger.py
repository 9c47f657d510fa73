"""What is remembered of a remote's offers, and what it takes to make us forget."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshfed.api.v1alpha1 import FederatedServiceSpec
from meshfed.federation.ledger import Ledger
from meshfed.federation.recorded import MAX_DENIED, room
from meshfed.federation.withdrawals import WINDOW, Guard
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Decision, Reason
from tests.builders import HTTP, host, offer


def ledger(hold: float = 300) -> Ledger:
    return Ledger("west", trust_domain="west.local", guard=Guard(hold=hold))


def all_but(*denied: str) -> Callable[[FederatedServiceSpec], Decision]:
    return lambda spec: Decision(accepted=spec.host not in denied, reason=Reason.DENIED_BY_RULE)


def only(admitted: str) -> Callable[[FederatedServiceSpec], Decision]:
    return lambda spec: Decision(accepted=spec.host == admitted, reason=Reason.DENIED_BY_RULE)


class Rules:
    """Import rules that may be others at any time."""

    def __init__(self, judge: Callable[[FederatedServiceSpec], Decision]) -> None:
        self.judge = judge

    def __call__(self, spec: FederatedServiceSpec) -> Decision:
        return self.judge(spec)


def hear(
    book: Ledger,
    *offers: Offer,
    gone: tuple[str, ...] = (),
    complete: bool = False,
    now: float = 0.0,
) -> set[str]:
    second = f"2026-01-01T00:00:{int(now) % 60:02d}"
    return book.update(offers, gone, complete=complete, now=now, stamp=f"{second}Z", moment=f"{second}.000000Z")


def many(count: int) -> list[Offer]:
    return [offer(f"s{index}") for index in range(count)]


def test_an_offer_becomes_a_federated_service() -> None:
    book = ledger()
    announced = offer("ratings", identities=("spiffe://west.local/ns/shop/sa/ratings",), locality="eu/a")
    assert hear(book, announced) == {host("ratings")}
    assert book.desired(host("ratings")) == FederatedServiceSpec(
        remote="west",
        host=host("ratings"),
        ports=(HTTP,),
        labels={"app": "ratings"},
        identities=("spiffe://west.local/ns/shop/sa/ratings",),
        locality="eu/a",
        first_offered="2026-01-01T00:00:00.000000Z",
    )


def test_repeating_an_offer_changes_nothing_and_keeps_when_it_was_first_made() -> None:
    book = ledger()
    hear(book, offer("ratings"), now=1)
    assert hear(book, offer("ratings"), now=50) == set()
    spec = book.desired(host("ratings"))
    assert spec is not None
    assert spec.first_offered == "2026-01-01T00:00:01.000000Z"


def test_a_restart_starts_from_what_was_written_and_a_partial_update_takes_nothing_away() -> None:
    before = ledger()
    hear(before, offer("ratings"), offer("reviews"))
    after = ledger()
    specs = [spec for name in ("ratings", "reviews") if (spec := before.desired(host(name)))]
    after.remember(specs)
    assert hear(after, offer("details")) == {host("details")}
    assert [after.desired(spec.host) for spec in specs] == specs


def test_only_a_complete_update_withdraws_what_it_does_not_name() -> None:
    book = ledger()
    hear(book, offer("ratings"), offer("reviews"))
    assert hear(book, offer("reviews"), complete=True) == {host("ratings")}
    assert book.desired(host("ratings")) is None
    assert hear(book, gone=(host("reviews"), host("unheard-of"))) == {host("reviews")}


@pytest.mark.parametrize(
    ("total", "withdrawn", "held"),
    [
        (10, 10, False),
        (19, 19, False),
        (20, 20, True),
        (40, 20, False),
        (40, 21, True),
        (100, 50, False),
        (100, 51, True),
    ],
)
def test_the_guard_holds_more_than_half_and_at_least_twenty(total: int, withdrawn: int, held: bool) -> None:
    book = ledger()
    hear(book, *many(total), complete=True)
    gone = hear(book, *many(total)[withdrawn:], complete=True, now=100)
    assert (len(gone) == 0) == held
    hold = book.hold()
    assert (hold.hosts if hold else 0) == (withdrawn if held else 0)


def test_a_held_withdrawal_ends_by_itself_by_its_token_or_by_a_new_offer() -> None:
    book = ledger(hold=300)
    hear(book, *many(30), complete=True)
    hear(book, complete=True, now=100)
    hold = book.hold()
    assert hold is not None
    assert hold.until == 400
    assert hear(book, complete=True, now=200) == set(), "hearing it again does not extend or carry out the hold"
    assert book.release(now=399.9) == set()
    assert book.release(now=200, token="an older token") == set()
    hear(book, offer("s3"), now=250)
    assert book.release(now=250, token=hold.token) == {host(f"s{index}") for index in range(30) if index != 3}
    assert book.hold() is None
    assert len(book) == 1


def test_small_steps_add_up_to_a_mass_withdrawal_unless_they_are_far_apart() -> None:
    hasty, patient = ledger(), ledger()
    for book, pause in ((hasty, 0.1), (patient, WINDOW + 1)):
        hear(book, *many(40), complete=True)
        for index in range(30):
            hear(book, gone=(host(f"s{index}"),), now=index * pause)
    hold = hasty.hold()
    assert hold is not None
    assert (len(hasty), hold.hosts) == (20, 10)
    assert len(patient) == 10


def test_nonsense_takes_nothing_away_and_is_said() -> None:
    book = ledger()
    hear(book, offer("ratings"))
    twice = (Port(number=80, name="a"), Port(number=80, name="b"))
    hear(book, offer("ratings", ports=twice), offer("new", ports=twice), Offer(host="*.evil", ports=(HTTP,)))
    kept, fresh = book.desired(host("ratings")), book.desired(host("new"))
    assert kept is not None
    assert fresh is not None
    assert (kept.ports, fresh.ports) == ((HTTP,), ())
    assert "port number 80" in kept.problem
    assert "port number 80" in fresh.problem
    assert (book.unusable, len(book)) == (1, 2)


def test_an_offer_without_identities_clears_none_and_one_with_others_replaces_them() -> None:
    book = ledger()
    named = offer("ratings", identities=("spiffe://west.local/ns/shop/sa/ratings",))
    hear(book, named)
    assert hear(book, offer("ratings")) == set()
    assert hear(book, offer("ratings", identities=("spiffe://west.local/ns/shop/sa/new",))) == {host("ratings")}
    hear(book, gone=(host("ratings"),))
    hear(book, offer("ratings"))
    kept = book.desired(host("ratings"))
    assert kept is not None
    assert kept.identities == ()


def test_refused_offers_are_shown_up_to_a_limit_and_come_back_when_the_rules_change() -> None:
    guard, rules = Guard(), Rules(only(host("s0")))
    book = Ledger("west", trust_domain="west.local", guard=guard, judge=rules)
    hear(book, *many(MAX_DENIED + 51), complete=True)
    assert book.shown == MAX_DENIED
    assert book.unrecorded == {Reason.DENIED_BY_RULE: 50}
    shown = [one.host for one in many(MAX_DENIED + 51) if book.desired(one.host)]
    assert len(shown) == MAX_DENIED + 1
    rules.judge = all_but()
    changed = book.rejudge(trust_domain="west.local", guard=guard, limit=1000)
    assert len(changed) == 50
    assert (book.shown, book.unrecorded) == (0, {})


def test_offers_far_beyond_the_limit_are_counted_and_take_the_place_of_those_that_go() -> None:
    rules = Rules(all_but())
    book = Ledger("west", trust_domain="west.local", limit=2, judge=rules)
    kept, total = room(2), room(2) + 5
    first = [one.host for one in many(total)]
    assert hear(book, *many(total), complete=True) == set(first[:kept])
    assert (book.unrecorded, len(book)) == ({Reason.LIMIT_EXCEEDED: 5}, total)
    assert hear(book, gone=(first[0],)) == {first[0], first[kept]}
    assert hear(book, gone=(first[-1],)) == set(), "nobody ever saw that one"
    assert (book.unrecorded, len(book)) == ({Reason.LIMIT_EXCEEDED: 3}, total - 2)
    changed = book.rejudge(trust_domain="west.local", guard=Guard(), limit=4)
    assert changed == set(first[kept + 1 : total - 1])
    assert book.unrecorded == {}
    rules.judge = all_but(first[kept])
    changed = book.rejudge(trust_domain="west.local", guard=Guard(), limit=2)
    assert len(changed) == 2
    assert book.unrecorded == {Reason.LIMIT_EXCEEDED: 2}
    assert book.clear() == set(first[1 : total - 1])
    assert (book.unrecorded, len(book)) == ({}, 0)


def test_a_hold_is_of_what_has_a_federated_service_so_that_endless_new_names_take_no_memory() -> None:
    book = Ledger("west", trust_domain="west.local", limit=10)
    for lot in range(20):
        hear(book, *(offer(f"s{lot}-{index}") for index in range(500)), complete=True, now=lot)
    hold = book.hold()
    assert hold is not None
    assert hold.hosts == room(10)
    assert len(book) == room(10) + 500


def test_announcements_without_a_usable_host_are_counted_once() -> None:
    book = ledger()
    evil, worse = Offer(host="*.evil", ports=(HTTP,)), Offer(host="UPPER.evil", ports=(HTTP,))
    hear(book, evil, worse, complete=True)
    hear(book, evil, complete=False)
    assert book.unusable == 2
    hear(book, gone=("*.evil",))
    assert book.unusable == 1
    hear(book, complete=True)
    assert book.unusable == 0


def test_what_a_person_deleted_while_the_remote_was_away_stays_away_until_offered_again() -> None:
    book = ledger()
    hear(book, offer("ratings"))
    book.forget(host("ratings"))
    assert book.desired(host("ratings")) is None
    assert hear(book, offer("ratings")) == {host("ratings")}


def test_what_is_left_out_of_offers_is_counted() -> None:
    book = ledger()
    hear(book, offer("ratings", labels={"app": "a", "x.istio.io/y": "z"}, identities=("spiffe://other/ns/a/sa/b",)))
    assert book.dropped == {"labels": 1, "identities": 1}
    hear(book, offer("details", labels={"app": "a", "kubernetes.io/x": "y", "istio-locality": "eu"}))
    assert book.dropped == {"labels": 3, "identities": 1}

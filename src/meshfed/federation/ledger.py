"""What one remote offers, as we remember it: the step between hearing a remote and writing FederatedServices.

A remote's word is turned into the FederatedServices that should exist. Whatever came before stays until it was
really withdrawn: an update that is not complete removes only what it names, and a withdrawal of too much at once
is held for a while (the guard), since failures look just like that. Restarting loses nothing: the ledger starts
from the FederatedServices that the last process left.

Time comes in as arguments: ``now`` in seconds of any steady clock, ``stamp`` as RFC 3339 for people, ``moment`` as
RFC 3339 too, in microseconds, since it decides who was first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedServiceSpec
from meshfed.federation.recorded import Recorded
from meshfed.federation.withdrawals import Guard, Hold, Withdrawals
from meshfed.model.offers import Offer, Refusal, checked
from meshfed.model.reasons import Decision, Reason

_ADMITTED: Final = Decision(accepted=True, reason=Reason.ACCEPTED)


class Ledger:
    """The offers of one remote. Not shared between tasks; every method is O(what it is given)."""

    def __init__(
        self,
        remote: str,
        *,
        trust_domain: str,
        guard: Guard = Guard(),  # noqa: B008 - immutable
        limit: int = 1000,
        judge: Callable[[FederatedServiceSpec], Decision] = lambda _spec: _ADMITTED,
    ) -> None:
        """``judge`` says whether the import rules admit an offer, and if not, why."""
        self._remote = remote
        self._trust_domain = trust_domain
        self._judge = judge
        self._offers: dict[str, FederatedServiceSpec] = {}
        self._recorded = Recorded(limit)
        self._withdrawals = Withdrawals(guard)
        self._unusable: set[str] = set()
        self._dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._offers)

    def desired(self, host: str) -> FederatedServiceSpec | None:
        """The FederatedService that should exist for ``host``; ``None`` where none should."""
        return self._offers[host] if host in self._recorded else None

    @property
    def dropped(self) -> Counter[str]:
        """How many ``labels`` and ``identities`` were left out of what was announced, so far."""
        return self._dropped.copy()

    @property
    def shown(self) -> int:
        """How many refused offers have a FederatedService all the same, to say why."""
        return self._recorded.refused

    @property
    def unrecorded(self) -> dict[Reason, int]:
        """How many offers have no FederatedService, by the reason why they are not imported."""
        return self._recorded.missing

    @property
    def unusable(self) -> int:
        """How many of the announcements that stand have no usable host, so that nothing can be named after them."""
        return len(self._unusable)

    def hosts(self) -> tuple[str, ...]:
        """Every host that is remembered."""
        return tuple(self._offers)

    def remembers(self, host: str) -> bool:
        """Whether the remote offers a host, with or without a FederatedService."""
        return host in self._offers

    def specs(self) -> tuple[FederatedServiceSpec, ...]:
        """Everything that is remembered, those without a FederatedService included."""
        return tuple(self._offers.values())

    def clear(self) -> set[str]:
        """Drop everything; returns the hosts that went."""
        gone = set(self._offers)
        self._offers.clear()
        self._recorded.clear()
        self._withdrawals.reoffered(gone)
        return gone

    def remember(self, specs: Iterable[FederatedServiceSpec]) -> None:
        """Start from what an earlier process wrote."""
        for spec in specs:
            self._put(spec)
        self._recorded.promoted()

    def resume(self, hold: Hold) -> None:
        """An earlier process held a withdrawal: what the first whole offer lacks is that one, where it is no more."""
        self._withdrawals.resume(hold)

    def forget(self, host: str) -> None:
        """A person deleted the FederatedService while the remote was away: it stands until it is offered again."""
        self._drop(host)

    def update(
        self,
        upserts: Iterable[Offer],
        removals: Iterable[str] = (),
        *,
        complete: bool,
        now: float,
        stamp: str,
        moment: str,
    ) -> set[str]:
        """Take in what the remote said; returns the hosts whose desired FederatedService changed.

        ``complete`` says that ``upserts`` is all there is, so that whatever is missing from it was withdrawn.
        An offer without identities clears none: a dialect may not carry them, and a Service that is scaled to zero has
        nobody to state. Forgetting them would let any certificate of a trusted root answer for the host.
        """
        offers = tuple(upserts)
        offered = {offer.host for offer in offers}
        changed = self.offered(offers, moment=moment)
        gone = self.missing(offered) if complete else [host for host in removals if host not in offered]
        return changed | self.withdrawn(gone, complete=complete, now=now, stamp=stamp)

    def offered(self, offers: Iterable[Offer], *, moment: str) -> set[str]:
        """Take in a part of what the remote said that it offers; returns the hosts that it changed."""
        changed: set[str] = set()
        for offer in offers:
            self._withdrawals.reoffered([offer.host])
            spec = self._spec(offer, moment)
            if spec is None:
                self._unusable.add(offer.host)
                continue
            self._unusable.discard(offer.host)
            before = self.desired(offer.host)
            self._put(spec)
            if self.desired(offer.host) != before:
                changed.add(offer.host)
        return changed | self._recorded.promoted()

    def reoffered(self, hosts: Iterable[str]) -> None:
        """What the remote is about to be taken at its word for is offered again, so that no hold's end takes it."""
        self._withdrawals.reoffered(hosts)

    def missing(self, offered: Collection[str]) -> list[str]:
        """What the remote announced before, usable or not, and not in ``offered``, which is all that it offers now."""
        return [host for hosts in (self._offers, self._unusable) for host in hosts if host not in offered]

    def withdrawn(self, hosts: Collection[str], *, complete: bool, now: float, stamp: str) -> set[str]:
        """Take in what the remote does not offer any more; returns the hosts that changed by that.

        ``complete``: that follows from a whole list of what it offers, which was taken in.
        """
        self._unusable.difference_update(hosts)
        gone = self._withdraw([host for host in hosts if host in self._offers], now=now, stamp=stamp)
        if complete:
            self._withdrawals.resume(None)
        return gone | self._recorded.promoted()

    def hold(self) -> Hold | None:
        """The withdrawal that is being held, if any."""
        return self._withdrawals.hold()

    def release(self, *, now: float, token: str | None = None) -> set[str]:
        """Carry out the held withdrawal where its time is up or ``token`` names it; returns the hosts that went."""
        gone = self._withdrawals.released(now=now, token=token)
        for host in gone:
            self._drop(host)
        return gone | self._recorded.promoted()

    def rejudge(self, *, trust_domain: str, guard: Guard, limit: int) -> set[str]:
        """The RemoteMesh changed: judge every offer again; returns the hosts whose desired state changed."""
        before: Mapping[str, FederatedServiceSpec | None] = {host: self.desired(host) for host in self._offers}
        self._trust_domain, self._withdrawals.guard = trust_domain, guard
        self._recorded = Recorded(limit)
        # Who has a FederatedService keeps it before another gets one.
        for host in sorted(self._offers, key=lambda host: before[host] is None):
            self._put(self._offers[host])
        return {host for host, spec in before.items() if self.desired(host) != spec}

    def _withdraw(self, gone: list[str], *, now: float, stamp: str) -> set[str]:
        for host in gone:
            if self.desired(host) is None:
                self._drop(host)  # nobody sees it go, and a hold of what has no bound would have none either
        gone = [host for host in gone if host in self._offers and host not in self._withdrawals]
        if not gone or self._withdrawals.holds(gone, of=len(self._recorded), now=now, stamp=stamp):
            return set()
        for host in gone:
            self._drop(host)
        return set(gone)

    def _put(self, spec: FederatedServiceSpec) -> None:
        self._offers[spec.host] = spec
        self._recorded.put(spec.host, self._judge(spec))

    def _drop(self, host: str) -> None:
        self._offers.pop(host, None)
        self._recorded.drop(host)
        self._withdrawals.reoffered([host])

    def _spec(self, offer: Offer, moment: str) -> FederatedServiceSpec | None:
        """What to remember of ``offer``; ``None`` where its host is no host, so nothing can be named after it."""
        known = self._offers.get(offer.host)
        first_offered = known.first_offered if known is not None and known.first_offered else moment
        verdict = checked(offer, self._trust_domain)
        if isinstance(verdict, Refusal):
            if verdict.field == "host":
                return None
            # An announcement that makes no sense is an error, and an error takes nothing away: what was good stays.
            known = known or FederatedServiceSpec(remote=self._remote, host=offer.host, first_offered=first_offered)
            return msgspec.structs.replace(known, problem=verdict.message[:1024])
        self._dropped += Counter(labels=verdict.dropped_labels, identities=verdict.dropped_identities)
        usable = verdict.offer
        spec = FederatedServiceSpec(
            remote=self._remote,
            host=usable.host,
            ports=usable.ports,
            labels=usable.labels,
            sni_host=usable.sni_host,
            identities=usable.identities or (known.identities if known is not None else ()),
            locality=usable.locality,
            first_offered=first_offered,
        )
        return known if spec == known else spec  # as a rule it says what its record says: that is kept once

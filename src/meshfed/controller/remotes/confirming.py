"""Which of its offers a remote is told to be in place here, and at which version, once all was worked out.

A host is looked at again when its remote offered it, and when its objects or what becomes of it turned out otherwise.
What is being written, or is unknown just now, is told when it is in place; until then what was told before stands.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedServiceSpec
from meshfed.controller.writing.outcomes import verdict
from meshfed.fds import Confirming, Update
from meshfed.federation.imports import record_name
from meshfed.federation.ledger import Ledger
from meshfed.kube import Engine
from meshfed.plan import ImportKey, Key, Planner


class Stands(msgspec.Struct, frozen=True):
    """What is in place of a host: the offer that is imported; ``None``: none. Where not ``known``, nobody can say."""

    offer: FederatedServiceSpec | None = None
    known: bool = True


NOT_IMPORTED: Final = Stands()
NOT_KNOWN: Final = Stands(known=False)
"""It is being written, or what it comes to is unknown."""


class Confirmer:
    """What one remote is told of its offers, as `ledger` remembers them; ``allowed``: whether it may be told."""

    def __init__(self, ledger: Ledger, *, allowed: bool) -> None:
        self._ledger = ledger
        self._allowed = allowed
        self._versions: dict[str, str] = {}
        """By host, as which its offer was announced last."""
        self.unsettled: set[str] = set()
        """The hosts to look at once all was worked out."""
        self._whole_due = False
        self._asked = ""

    def heard(self, update: Update) -> None:
        """The remote said what it offers, and that was taken in."""
        if update.complete:
            self._versions.clear()
        for host in update.removals:
            self._versions.pop(host, None)
        self._versions |= update.versions
        if self._allowed:
            self.unsettled.update(update.versions, update.removals)
            self._whole_due = self._whole_due or update.synced
            self._asked = update.asked or self._asked

    def allow(self, to: Confirming | None, *, allowed: bool) -> None:
        """It may be told from now on, or may not be any more."""
        if allowed == self._allowed:
            return
        self._allowed = self._whole_due = allowed
        self._asked = ""
        self.unsettled = set(self._versions) if allowed else set()
        if to is not None and not allowed:
            to.stop()

    def turned(self, host: str) -> None:
        """What becomes of a host, or its objects, is something else."""
        if self._allowed:
            self.unsettled.add(host)

    def settle(self, to: Confirming, standing: Callable[[str], Stands]) -> None:
        """Tell what holds, now that all was worked out; ``standing`` returns what of a host is in place.

        Raises what that raises, once all other hosts were looked at; those on which it did are looked at again.
        """
        hosts, self.unsettled = self.unsettled, set()
        failure: Exception | None = None
        for host in hosts:
            try:
                self._tell(to, host, standing)
            except Exception as error:  # noqa: BLE001 - one host's fault must not stop the others
                self.unsettled.add(host)
                failure = error
        if failure is not None:
            raise failure
        if self._whole_due:
            self._whole_due = False
            to.begin()
        if self._asked:
            to.answer(self._asked)
            self._asked = ""

    def _tell(self, to: Confirming, host: str, standing: Callable[[str], Stands]) -> None:
        offer = self._ledger.desired(host)
        stands = standing(host) if offer is not None else NOT_IMPORTED
        if stands == NOT_IMPORTED:
            to.put(host, None)
        elif offer is not None and stands.offer == offer and host in self._versions:
            to.put(host, "" if offer.problem else self._versions[host])


class Placement:
    """What of remotes' offers is in place, as the plan and the engine have it once all was worked out.

    ``failing`` has the keys that could not be worked out; ``is_done`` says whether nothing waits to be.
    """

    def __init__(
        self, planner: Planner, engine: Engine, *, failing: Container[Key], is_done: Callable[[], bool]
    ) -> None:
        self._planner = planner
        self._engine = engine
        self._failing = failing
        self.is_done = is_done

    def of(self, remote: str, host: str) -> Stands:
        """Return what of an offer is in place."""
        record = record_name(host, remote)
        offer, fate = self._planner.imports.offer(record), self._planner.imports.fate(record)
        if offer is None or fate is None:
            return NOT_KNOWN
        if not fate.decision.accepted:
            return NOT_IMPORTED
        key = ImportKey(fate.host)
        if key in self._failing or verdict(self._engine.source_state(key)).state != "applied":
            return NOT_KNOWN
        return Stands(offer.spec)

"""Where the CRD of FederatedServices was deleted and made anew while no controller ran: the memory was lost.

A controller that starts then finds objects that nobody wants, and would delete what works until the remotes, asked
again, have it written again. So what becomes of the hosts of imports that are older than the CRD is unknown until all
that the remotes offer is recorded. Everywhere else an object without its FederatedService is what somebody wanted to
have gone, or what a crash left of a withdrawal.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.remotes.remote_sessions import RemoteSessions
from meshfed.kube import ObjectKey, Store
from meshfed.plan import ImportKey, Planner, Ref
from meshfed.plan.keys import read_origin

_log = logging.getLogger(__name__)


class LostRecords:
    """Knows which hosts outlived their FederatedServices: for each there was one that nobody knows any more."""

    def __init__(self, planner: Planner, listener: RemoteSessions, offers: Store[FederatedService]) -> None:
        self._planner = planner
        self._listener = listener
        self._offers = offers
        self._lost: list[Ref] = []

    async def begin(self, outlived: Callable[[], Awaitable[Mapping[ObjectKey, str]]]) -> None:
        """All inputs are in, and the remotes known; ``outlived`` returns the imports that are older than the CRD.

        Each with what it says that it follows from.
        """
        if len(self._offers) or not self._listener.unheard():
            return
        found = await outlived()
        if not found:
            return
        remotes = ", ".join(self._listener.unheard())
        reason = f"FederatedServices were lost with their CRD, and of {remotes} nobody heard yet what is offered"
        keys = {read_origin(source) for source in found.values()}
        # Of an object that does not say what it follows from, nobody knows which host it is for.
        hosts = {key.host if isinstance(key, ImportKey) else "" for key in keys}
        for host in sorted(hosts):
            ref = ("FederatedService", "", f"(lost) {host}")
            self._lost.append(ref)
            self._planner.unknown(ref, reason, [host])
        _log.warning(
            "the CRD of FederatedServices was made anew, so nobody knows from whom %d objects were imported, %s "
            "among them: they stay until it is known again what the remotes offer; to be heard: %s",
            len(found),
            min(found, key=str),
            remotes,
        )

    def look(self) -> None:
        """Everything that waited was worked out: see whether all that the remotes offer is recorded by now."""
        if not self._lost or self._listener.unheard() or len(self._offers) < self._listener.recorded:
            return
        lost, self._lost = self._lost, []
        for ref in lost:
            self._planner.known(ref)

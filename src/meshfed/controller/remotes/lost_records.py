"""Where the CRD of FederatedServices was deleted and made anew: of what was imported before, the memory was lost.

A controller that starts then finds objects that nobody wants, and would delete what works until the remotes, asked
again, have it written again. So what becomes of the hosts of imports that are older than the CRD, and that no
FederatedService is for, is unknown until the remotes were heard, and what they offer of them is recorded. A predecessor
may have recorded some of it again. Everywhere else an object without its FederatedService is what somebody wanted to
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
        self.lost: dict[str, Ref] = {}
        """By host, which is empty for all of which nobody knows the host."""

    async def begin(self, outlived: Callable[[], Awaitable[Mapping[ObjectKey, str]]]) -> None:
        """All inputs are in, and the remotes known; ``outlived`` returns the imports that are older than the CRD.

        Each with what it says that it follows from.
        """
        if not self._listener.unheard():
            return
        recorded = {self._planner.host_of(offer.spec) for _, offer in self._offers.items()}
        # Of an object that does not say what it follows from, nobody knows which host it is for.
        of_nobody = set() if not recorded else {""}
        hosts = {key: _host(source) for key, source in (await outlived()).items()}
        found = {key: host for key, host in hosts.items() if host not in recorded | of_nobody}
        if not found:
            return
        remotes = ", ".join(self._listener.unheard())
        reason = f"FederatedServices were lost with their CRD, and of {remotes} nobody heard yet what is offered"
        for host in sorted(set(found.values())):
            ref = self.lost[host] = ("FederatedService", "", f"(lost) {host}")
            self._planner.unknown(ref, reason, [host])
        _log.warning(
            "the CRD of FederatedServices was made anew, so nobody knows from whom %d objects were imported, %s "
            "among them: they stay until it is known again what the remotes offer; to be heard: %s",
            len(found),
            min(found, key=str),
            remotes,
        )

    def look(self) -> None:
        """Everything that waited was worked out: see of which hosts it is recorded by now whether they are offered."""
        if self._listener.unheard():
            return
        # One that the API server does not take is missing for as long as that lasts.
        missing = {self._planner.host_of(spec) for spec in self._listener.unrecorded()}
        for host in [host for host in self.lost if host not in missing and (host or not missing)]:
            self._planner.known(self.lost.pop(host))


def _host(source: str) -> str:
    """Return the host of the import that an object says it follows from; empty where it says nothing of the kind."""
    key = read_origin(source)
    return key.host if isinstance(key, ImportKey) else ""

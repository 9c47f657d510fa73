"""Where the CRD of FederatedServices was deleted and made anew while no controller ran: the memory was lost.

A controller that starts then finds objects that nobody wants, and would delete what works until the remotes, asked
again, have it written again. So imports that are older than the CRD are kept until all that the remotes offer is
recorded. Everywhere else an object without its FederatedService is what somebody wanted to have gone, or what a crash
left of a withdrawal.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.listener import Listener
from meshfed.kube import ObjectKey, Store

_log = logging.getLogger(__name__)


class LostRecords:
    """Knows which imports outlived their FederatedServices, for as long as they are to stay."""

    def __init__(self, listener: Listener, offers: Store[FederatedService]) -> None:
        self._listener = listener
        self._offers = offers
        self._kept: frozenset[ObjectKey] = frozenset()

    async def begin(self, outlived: Callable[[], Awaitable[frozenset[ObjectKey]]]) -> None:
        """All inputs are in, and the remotes known; ``outlived`` returns the imports that are older than the CRD."""
        if len(self._offers) or not self._listener.unheard():
            return
        self._kept = await outlived()
        if self._kept:
            _log.warning(
                "the CRD of FederatedServices was made anew, so nobody knows from whom %d objects were imported, %s "
                "among them: they stay until it is known again what the remotes offer; to be heard: %s",
                len(self._kept),
                min(self._kept, key=str),
                ", ".join(self._listener.unheard()),
            )

    def keeps(self, key: ObjectKey) -> bool:
        """Whether an object that nobody wants is not to be deleted for now."""
        return key in self._kept

    def let_go(self) -> bool:
        """Everything that waited was worked out: say whether objects may be deleted now that were kept so far."""
        if not self._kept or self._listener.unheard() or len(self._offers) < self._listener.recorded:
            return False
        self._kept = frozenset()
        return True

"""Where every FederatedService is gone, though imports are in place: the memory was lost, nothing was withdrawn.

So it is after their CRD was deleted and made anew, or a namespace was restored without them, while no controller ran.
A controller that starts then would find objects that nobody wants, and delete what works until the remotes, asked
again, have it written again. So the objects of imports are kept in this one case until all that the remotes offer is
recorded. Where only some FederatedServices are gone, that was somebody's will, or a withdrawal cut short by a crash.
"""

from __future__ import annotations

import logging
from typing import Final

from meshfed.api.v1alpha1 import FederatedService
from meshfed.controller.listener import Listener
from meshfed.kube import ObjectKey, Store
from meshfed.model.meshes import FDS_SERVICE_PREFIX

_log = logging.getLogger(__name__)

_CARRIERS: Final = frozenset({"ServiceEntry", "WorkloadEntry", "DestinationRule"})
"""The kinds that imports are made of."""


class LostRecords:
    """Knows whether the memory of this term's remotes was lost, and is not whole again."""

    def __init__(self, listener: Listener, offers: Store[FederatedService]) -> None:
        self._listener = listener
        self._offers = offers
        self._lost = False
        self._said = False

    def begin(self) -> None:
        """All inputs are in, and the remotes that are to be listened to are known."""
        self._lost = not len(self._offers) and bool(self._listener.unheard())

    def keeps(self, key: ObjectKey) -> bool:
        """Whether an object that nobody wants is not to be deleted for now."""
        kept = self._lost and key.kind in _CARRIERS and FDS_SERVICE_PREFIX not in key.name
        if kept and not self._said:
            self._said = True
            _log.warning(
                "every FederatedService is gone, so nobody knows who wants %s: what is imported stays until it is "
                "known again what the remotes offer; still to be heard: %s",
                key,
                ", ".join(self._listener.unheard()),
            )
        return kept

    def let_go(self) -> bool:
        """Everything that waited was worked out: say whether objects may be deleted now that were kept so far."""
        if not self._lost or self._listener.unheard() or len(self._offers) < self._listener.recorded:
            return False
        self._lost = False
        return True

"""Keeps a mesh's OpenShift router at what its Routes say, and the Routes' statuses at what the router does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from meshfed.kube import Client, KubeError
from meshfed_sandbox.dataplane.router import Router, RouterFailed
from meshfed_sandbox.dataplane.watch import ROUTE, Watch

_log = logging.getLogger(__name__)
_KINDS: Final = ("Route", "Service", "EndpointSlice")
_PAUSE: Final = 0.05
"""Seconds for which changes are gathered: each is a reload."""


class Routing:
    """Follows one mesh's Routes. ``problem`` is called with what the router refuses."""

    def __init__(self, client: Client, watch: Watch, router: Router, problem: Callable[[str], None]) -> None:
        self._client = client
        self._watch = watch
        self._router = router
        self._problem = problem
        self._changed = asyncio.Event()
        watch.subscribe(lambda kind: self._changed.set() if kind in _KINDS else None)

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._watch.synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            await asyncio.sleep(_PAUSE)
            self._changed.clear()
            try:
                patches = await self._router.update(self._watch.objects(_KINDS))
                for key, patch in patches.items():
                    await self._client.patch(ROUTE, key.name, patch, namespace=key.namespace, subresource="status")
            except RouterFailed as error:
                self._problem(str(error))
            except KubeError as error:
                _log.warning("the status of a Route cannot be written: %s", error)

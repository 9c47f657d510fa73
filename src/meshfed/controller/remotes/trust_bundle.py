"""The roots that this mesh trusts, from the ConfigMap in which istiod, or whoever rotates them, keeps them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from meshfed.controller.config_maps import PERIOD, RETRY, data_of
from meshfed.kube import Client, KubeError
from meshfed.probe import Roots
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)


class TrustBundle:
    """Reads a ConfigMap again and again; what was read last stays in use while it cannot be read."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._pem = ""
        self._throttle = LogThrottle(period=3600)
        self.roots: Roots | None = None
        self.why_none = ""
        """Why there are no ``roots``; empty where nobody has looked yet."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Look until cancelled; ``changed`` hears of other roots, and of another reason why there are none."""
        while True:
            before = (self.roots, self.why_none)
            await self._look()
            if before != (self.roots, self.why_none):
                changed()
            await asyncio.sleep(PERIOD if self.roots is not None else RETRY)

    async def _look(self) -> None:
        place = f"ConfigMap {self._namespace}/{self._name}"
        try:
            # Who keeps bundles of several trust domains keeps each under a key of its own.
            pem = "\n".join((await data_of(self._client, self._namespace, self._name)).values())
            if pem != self._pem or self.roots is None:
                self.roots, self._pem = Roots(pem), pem
        except (KubeError, ValueError) as error:
            why = f"the roots that this mesh trusts cannot be read from {place}: {error}"
            if self.roots is None:
                self.why_none = why
            if self._throttle.ready(place):
                _log.warning("%s%s", why, "" if self.roots is None else "; those that were read before stay in use")

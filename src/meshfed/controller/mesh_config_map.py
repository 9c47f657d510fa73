"""Istio's configuration of this mesh, from the ConfigMap in the control plane namespace that istiod reads."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from meshfed import istio
from meshfed.api.errors import InvalidInput
from meshfed.controller.config_maps import PERIOD, RETRY, data_of
from meshfed.kube import Client, Forbidden, KubeError, NotFound
from meshfed.model.meshes import MeshConfig
from meshfed.plan import Planner

_log = logging.getLogger(__name__)

KEY: Final = "mesh"
"""The key under which istiod reads it (``kubemesh.MeshConfigKey``)."""


class MeshConfigMap:
    """Reads it again and again; what was read last stays in use while it cannot be read.

    Until it was read what it states is unknown, and why is said with whatever hangs on it. Of several ConfigMaps that
    an istiod merges (``SHARED_MESH_CONFIG``) it is the one that has the last word.
    """

    def __init__(self, client: Client, name: str, planner: Planner) -> None:
        self._client = client
        self._name = name
        self._planner = planner
        self.namespace = ""
        """Where it was looked for last."""
        self._is_read = False
        self._moved = asyncio.Event()

    async def begin(self) -> None:
        """Look until the API server has answered, be it that there is none or that it may not be read.

        An import may hang on what it says, so nothing is worked out, nor deleted, before that.
        """
        while True:
            if await self._look():
                return
            await asyncio.sleep(RETRY)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                async with asyncio.timeout(PERIOD):
                    await self._moved.wait()
            except TimeoutError:
                pass
            self._moved.clear()
            await self._look()

    def look_again(self) -> None:
        """Look at once, as the control plane namespace is another."""
        self._moved.set()

    async def _look(self) -> bool:
        """Look once, and return whether there was an answer. Without a mesh there is nothing to look for."""
        mesh = self._planner.mesh
        if mesh is None:
            return True
        if mesh.control_plane_namespace != self.namespace:
            self.namespace, self._is_read = mesh.control_plane_namespace, False
        source = f"ConfigMap {self.namespace}/{self._name}"
        try:
            data = await data_of(self._client, self.namespace, self._name)
            self._planner.mesh_config_changed(istio.mesh_config(data.get(KEY, ""), source))
        except (KubeError, InvalidInput) as error:
            _log.debug("the mesh's configuration cannot be read from %s: %s", source, error)
            if not self._is_read:
                self._planner.mesh_config_changed(MeshConfig(unread=_why_unread(source, error)))
            return isinstance(error, NotFound | Forbidden | InvalidInput)
        self._is_read = True
        return True


def _why_unread(source: str, error: KubeError | InvalidInput) -> str:
    """Return why nobody knows how Istio is configured, and the remedy."""
    match error:
        case NotFound():
            remedy = "name the right one with --mesh-config (in the chart istio.meshConfig)"
            return f"{source}, with Istio's configuration of the mesh, is not there: {remedy}"
        case Forbidden():
            return f"{source}, with Istio's configuration of the mesh, may not be read: grant get on it"
        case _:
            return f"Istio's configuration of the mesh cannot be read from {source}: {error}"

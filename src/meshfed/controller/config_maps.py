"""ConfigMaps that others keep, each read by its name, again and again."""

from __future__ import annotations

from typing import Any, Final

from meshfed.kube import Client, Resource

CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
PERIOD: Final = 60.0
"""Seconds between two looks; what is in them changes over days."""
RETRY: Final = 5.0
"""Seconds until another look while nothing was found that somebody waits for."""


async def data_of(client: Client, namespace: str, name: str) -> dict[str, str]:
    """Return what is in a ConfigMap: texts, by key.

    It is one ``get``: a Role can allow that for one name (``resourceNames``), and nothing else.

    Raises:
        KubeError: it is not there, or may not be read, or the API server does not answer.
    """
    found: dict[str, Any] = await client.get(CONFIG_MAPS, name, namespace=namespace)
    data = found.get("data")
    return {key: str(data[key]) for key in sorted(data)} if isinstance(data, dict) else {}

"""One way tried: through every IP of its gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshfed.model.probes import Broken, Finding, Link, Way
from meshfed.probe.handshake import Roots, handshake
from meshfed.probe.names import Names

Shake = Callable[[Way, str, Roots], Awaitable[Finding]]
"""Shakes hands by a way, at an IP."""


async def attempt(way: Way, roots: Roots, names: Names, shake: Shake = handshake) -> Finding:
    """Shake hands at each IP of the gateway, until one does not answer."""
    try:
        ips = await names.ips(way.gateway.host)
    except OSError as error:
        return Broken(Link.NAME, str(error))
    finding: Finding = Broken(Link.NAME, "it has no address")
    for ip in ips:
        finding = await shake(way, ip, roots)
        if isinstance(finding, Broken):
            break
    return finding

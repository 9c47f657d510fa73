"""Shards: which Gateway object lists which exported Service.

istiod skips the whole server of a Gateway in which a host stands that another one has already, so each host has one
shard and keeps it. The history needed for that is in the Gateway objects themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshfed.model.names import ServiceHost

HOSTS_PER_GATEWAY: Final = 500


class GatewayShards:
    """The shard of every exported Service among the Gateways, numbered from 0.

    Services are known by namespace and name, so that a changed cluster domain moves none of them. Gateway 0 also
    lists the discovery service of the mesh, and so has room for one Service less.
    """

    def __init__(self) -> None:
        self._shard: dict[tuple[str, str], int] = {}
        self._members: dict[int, set[tuple[str, str]]] = {}
        self._former: dict[tuple[str, str], int] = {}
        """The Gateway that a Service left, for as long as that may still list it."""

    def recover(self, index: int, services: Iterable[tuple[str, str]]) -> None:
        """Take over what Gateway ``index`` lists, as (namespace, name); what has a shard keeps the lower-numbered."""
        for service in services:
            known = self._shard.get(service)
            if known is not None:
                if known <= index:
                    continue
                self.release(service)
            self._put(service, index)

    def assign(self, service: tuple[str, str]) -> int:
        """Return the shard of ``service``, found in the lowest-numbered Gateway with room where it has none."""
        shard = self._shard.get(service)
        if shard is None:
            shard = 0
            while len(self._members.get(shard, ())) >= HOSTS_PER_GATEWAY - (shard == 0):
                shard += 1
            self._put(service, shard)
        return shard

    def release(self, service: tuple[str, str]) -> int | None:
        """Take ``service`` out of its shard, and return which that was."""
        shard = self._shard.pop(service, None)
        if shard is not None:
            self._former[service] = shard
            members = self._members[shard]
            members.discard(service)
            if not members:
                del self._members[shard]
        return shard

    def former(self, index: int) -> set[int]:
        """Return the Gateways that may still list what is in shard ``index`` now, and so have to be written first."""
        members = self._members.get(index, set())
        return {shard for service in self._former.keys() & members if (shard := self._former[service]) != index}

    def left(self, index: int) -> None:
        """Take note that Gateway ``index`` lists its members and nothing else any more."""
        self._former = {service: shard for service, shard in self._former.items() if shard != index}

    def shard_of(self, service: tuple[str, str]) -> int | None:
        """Return the shard of ``service`` where it has one."""
        return self._shard.get(service)

    def hosts(self, index: int, domain: str) -> tuple[str, ...]:
        """Return the hosts in Gateway ``index`` under ``domain``, sorted."""
        members = self._members.get(index, ())
        return tuple(sorted(ServiceHost(name=name, namespace=ns, domain=domain).fqdn for ns, name in members))

    def indexes(self) -> list[int]:
        """Return the Gateways that list any Service, sorted."""
        return sorted(self._members)

    def _put(self, service: tuple[str, str], index: int) -> None:
        self._shard[service] = index
        self._members.setdefault(index, set()).add(service)

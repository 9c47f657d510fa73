"""A remote mesh that is nothing but its discovery service, so that a test says what is offered and when."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshfed.fds import DiscoveryServer, ExportSet, Subscriber
from meshfed.kube import Manifest
from meshfed.model.offers import Offer, Port
from meshfed.telemetry.metrics import Metrics
from meshfed_sandbox.ports import Ports
from tests.controller.meshes import GROUP, SYSTEM

HTTP = Port(number=9080, name="http", protocol="HTTP", target_port=8080)


class Remote:
    """One remote: what it offers, and its discovery service while that is up."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.offers: dict[str, Offer] = {}
        self._exports = ExportSet()
        self._exports.mark_ready()
        self.calls = 0
        """How many streams were begun."""
        self._up = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Come up."""
        server = DiscoveryServer(self._exports, self._admit, Metrics())
        await self._up.enter_async_context(server.listen("127.0.0.1", self.port))

    def _admit(self, _caller: object) -> Subscriber:
        self.calls += 1
        return Subscriber("anyone", frozenset())

    async def stop(self) -> None:
        """Go away, as in an outage."""
        await self._up.aclose()

    def offer(self, *offers: Offer) -> None:
        """Offer these too, or in place of what was offered under their hosts."""
        for one in offers:
            self.offers[one.host] = one
            self._exports.set(one, None)

    def withdraw(self, *hosts: str) -> None:
        """Offer these no more."""
        for host in hosts:
            del self.offers[host]
            self._exports.remove(host)

    def object(self, *, namespace: str = SYSTEM, **spec: Any) -> Manifest:
        """The RemoteMesh that speaks of it: all that it offers is imported, unless ``spec`` says otherwise."""
        plain = {
            "addresses": ["192.0.2.10"],
            "network": f"{self.name}-network",
            "identity": f"spiffe://cluster.local/ns/istio-system/sa/controller-{self.name}",
            "discovery": {"address": f"127.0.0.1:{self.port}"},
            "import": {"merge": True},
        }
        wanted = plain | {key.rstrip("_"): value for key, value in spec.items()}
        return {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "RemoteMesh",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": {key: value for key, value in wanted.items() if value is not None},
        }


@asynccontextmanager
async def remotes(*names: str) -> AsyncIterator[list[Remote]]:
    """Remotes that are up, and offer nothing yet."""
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        found = [Remote(name, ports.take()) for name in names]
        for remote in found:
            stack.push_async_callback(remote.stop)
            await remote.start()
        yield found


def host(name: str, domain: str = "cluster.local") -> str:
    """``ratings`` in ``default``, or ``ratings.shop``, as a host; anything longer stays as it is."""
    labels = name.split(".")
    if len(labels) > 2:
        return name
    return f"{labels[0]}.{labels[1] if len(labels) == 2 else 'default'}.svc.{domain}"


def offer(name: str, **fields: Any) -> Offer:
    """An offer of ``name``, completed by `host`, on port http 9080 -> 8080, labelled ``app``."""
    plain = {"ports": (HTTP,), "labels": {"app": name.partition(".")[0]}}
    return Offer(host=host(name), **(plain | fields))

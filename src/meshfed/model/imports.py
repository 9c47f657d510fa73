"""Imports: a host that remote meshes serve in this one, and the local Service it may join.

These are the values that decisions hand to rendering: everything is decided, nothing is rendered yet.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meshfed.model.meshes import IngressType, Remote
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Port


class Backend(msgspec.Struct, frozen=True, gc=False):
    """One remote that serves an imported host.

    ``labels`` are already safe to copy to endpoints; ``sni_host`` is the exporter's own host, which its gateway
    answers to; ``identities`` are the SPIFFE IDs announced for it, all in the remote's trust domain; ``without`` are
    numbers of the import's ports that it does not serve, and which others do.
    """

    remote: Remote
    sni_host: str
    labels: dict[str, str] = {}
    identities: tuple[str, ...] = ()
    without: frozenset[int] = frozenset()


class LocalPort(msgspec.Struct, frozen=True):
    """A port of a local Service, as istiod will look WorkloadEntry ports up: by name or by ``target_port`` name."""

    number: int
    name: str = ""
    target_port: int | str | None = None


class LocalService(msgspec.Struct, frozen=True):
    """What of a local Service decides how remote endpoints join it."""

    host: ServiceHost
    selector: dict[str, str]
    ports: tuple[LocalPort, ...]
    headless: bool = False
    external_name: bool = False
    visible_in: tuple[str, ...] | None = None
    """The namespaces whose clients see it, sorted; ``None``: all of them."""
    visible_by: str = ""
    """What says so, in words; empty where all do."""


class Import(msgspec.Struct, frozen=True, gc=False):
    """A host imported from one remote or several; all serve all of its ports, unless they join a local Service.

    ``backends`` stand in a stable order. ``traffic_policy`` is what the remotes ask for of a DestinationRule's, under
    Istio's own field names; a field that is there counts, even where it is empty. ``taken_over`` is the whole one of
    somebody else's rule for a wildcard, which would count were there no rule for this host.
    ``local`` is the Service of this mesh that they join, if there is one.
    """

    host: str
    ports: tuple[Port, ...]
    backends: tuple[Backend, ...]
    export_to: tuple[str, ...] = ("*",)
    traffic_policy: dict[str, Any] = {}
    taken_over: dict[str, Any] = {}
    local: LocalService | None = None

    @property
    def ingress_type(self) -> IngressType:
        """The ingress type that all backends share."""
        return self.backends[0].remote.ingress_type

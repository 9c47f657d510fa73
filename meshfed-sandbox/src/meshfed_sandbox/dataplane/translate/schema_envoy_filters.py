"""What of an EnvoyFilter is read: server names that are merged into filter chains, and chains that are added."""

from __future__ import annotations

from typing import Literal

import msgspec

from meshfed_sandbox.dataplane.translate.schema import Spec, WorkloadSelector


class FilterChainMatch(Spec, frozen=True, kw_only=True):
    """``filterChain`` of an EnvoyFilter's listener match."""

    sni: str


class ListenerMatch(Spec, frozen=True, kw_only=True):
    """``listener`` of an EnvoyFilter's match: by port, by name, or by both."""

    port_number: int = 0
    name: str = ""
    filter_chain: FilterChainMatch | None = None


class PatchMatch(Spec, frozen=True, kw_only=True):
    """``match`` of an EnvoyFilter's patch."""

    context: Literal["GATEWAY", "ANY"] = "ANY"
    listener: ListenerMatch


class ServerNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a patch says of a filter chain's match; the protocols only of a chain that it adds."""

    server_names: list[str]
    transport_protocol: Literal["tls"] | None = None
    application_protocols: list[str] = []


class TcpProxyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a filter chain that is added leads."""

    type: Literal["type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"] = msgspec.field(
        name="@type"
    )
    stat_prefix: str
    cluster: str


class TcpProxy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The filter of a filter chain that is added."""

    name: Literal["envoy.filters.network.tcp_proxy"]
    typed_config: TcpProxyConfig


class FilterChainPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be merged into a filter chain, or the one that is added."""

    filter_chain_match: ServerNames
    filters: list[TcpProxy] = []


class Patch(Spec, frozen=True, kw_only=True):
    """``patch`` of an EnvoyFilter."""

    operation: Literal["ADD", "MERGE"]
    value: FilterChainPatch


class ConfigPatch(Spec, frozen=True, kw_only=True):
    """A patch of an EnvoyFilter, with what it applies to."""

    apply_to: Literal["FILTER_CHAIN"]
    match: PatchMatch
    patch: Patch


class EnvoyFilterSpec(Spec, frozen=True, kw_only=True):
    """An EnvoyFilter."""

    workload_selector: WorkloadSelector = WorkloadSelector()
    config_patches: list[ConfigPatch] = msgspec.field(default_factory=list)

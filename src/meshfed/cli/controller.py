"""``meshfed controller``: one mesh's controller, in a pod or against a kubeconfig."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import string
from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal, NamedTuple

from cyclopts import Parameter

from meshfed.api.errors import InvalidInput
from meshfed.api.reference_config import reference_config
from meshfed.cli.arguments import account, address, duration, pod_namespace
from meshfed.cli.exits import BadInput, Exit, OutOfReach
from meshfed.cli.istio_logging import SCOPES, output_levels
from meshfed.controller.controller import Controller
from meshfed.controller.garbage import short_pauses
from meshfed.controller.options import Address, Fixed, Options
from meshfed.kube import (
    Client,
    ClusterConfig,
    ConfigError,
    Elector,
    LeaseTiming,
    detect,
    pod_service_account,
    process_identity,
)
from meshfed.model.installation import LEASE, MESH_CONFIG, TRUST_BUNDLE
from meshfed.telemetry import logs
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)
_IN_NAMES: Final = frozenset(string.ascii_lowercase + string.digits + "-.")


def controller(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
    discovery_bind_address: str = ":15080",
    metrics_bind_address: str = ":8080",
    health_probe_bind_address: str = ":8081",
    dashboard_bind_address: str = "0",
    dashboard_hosts: str = "",
    trusted_proxy_cidrs: str = "127.0.0.0/8,::1/128,::6/128",
    allow_unauthenticated_peers: Annotated[bool, Parameter(show_default=False)] = False,
    leader_elect: Annotated[bool, Parameter(show_default=False)] = False,
    leader_elect_lease_duration: str = "15s",
    leader_elect_renew_deadline: str = "10s",
    leader_elect_retry_period: str = "2s",
    service_account: str | None = None,
    read_pods: Annotated[bool, Parameter(negative="--no-read-pods")] = True,
    probe: Annotated[bool, Parameter(negative="--no-probe")] = True,
    trust_bundle: str = TRUST_BUNDLE,
    mesh_config: str = MESH_CONFIG,
    log_format: Literal["text", "json"] = "text",
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    adopt_reference: Annotated[bool, Parameter(show_default=False)] = False,
    mesh_peers: Annotated[str | None, Parameter(name="--meshPeers")] = None,
    exported_service_set: Annotated[str | None, Parameter(name="--exportedServiceSet")] = None,
    imported_service_set: Annotated[str | None, Parameter(name="--importedServiceSet")] = None,
    log_output_level: Annotated[str | None, Parameter(name="--log_output_level")] = None,
    log_as_json: Annotated[bool, Parameter(name="--log_as_json", show_default=False)] = False,
    log_caller: Annotated[str, Parameter(name="--log_caller", show_default=False)] = "",
    log_stacktrace_level: Annotated[str, Parameter(name="--log_stacktrace_level", show_default=False)] = "",
) -> int:
    """Run the controller of one mesh.

    It reads its MeshFederation and RemoteMeshes from the cluster, or from the reference's JSON flags, and runs until
    SIGINT or SIGTERM.

    Parameters
    ----------
    kubeconfig
        The kubeconfig file. Without it: $KUBECONFIG, then the pod's service account, then ~/.kube/config.
    context
        The kubeconfig's context to use.
    namespace
        Where the MeshFederation and RemoteMeshes are. Without it: $POD_NAMESPACE, then the service account's
        namespace, then istio-system.
    discovery_bind_address
        Where remote controllers are served.
    metrics_bind_address
        Where /metrics is served; 0 serves none.
    health_probe_bind_address
        Where /healthz and /readyz are served; 0 serves none.
    dashboard_bind_address
        Where the dashboard of this mesh is served, to whoever reaches it: 127.0.0.1:8082 is for kubectl port-forward; 0
        serves none.
    dashboard_hosts
        The names, comma-separated, by which the dashboard may be asked for beside localhost.
    trusted_proxy_cidrs
        The proxies whose x-forwarded-client-cert is believed, as comma-separated CIDRs: the pod's own sidecar.
    allow_unauthenticated_peers
        Admit callers without an identity. For trials on loopback: whoever reaches the port is told the exports.
    leader_elect
        Run beside other replicas: all serve discovery, and the one that holds the Lease meshfed-controller writes.
    leader_elect_lease_duration
        How long the others wait after the leader's last sign of life, in whole seconds.
    leader_elect_renew_deadline
        How long the leader goes on without a renewal; shorter than the lease duration.
    leader_elect_retry_period
        The time between two renewals, or two looks at the Lease.
    service_account
        The name of the ServiceAccount that the controller runs as: by its identity remotes know this mesh. Without it:
        the one that the pod's token is of, then federation-controller.
    read_pods
        Watch Pods, and EndpointSlices of Services without a selector, to tell remotes which identities serve an export,
        and see exports without a sidecar.
    probe
        Prove, by TLS handshakes without a credential, that what is imported is answered, and by whom.
    trust_bundle
        The ConfigMap, beside the controller, with the root certificates that this mesh trusts: all PEM in it counts.
    mesh_config
        The ConfigMap, in the control plane namespace, with Istio's configuration of this mesh: of a revision,
        istio-REVISION.
    log_format
        One line a record for people, or one JSON object a line for machines.
    log_level
        The least severe records to write.
    adopt_reference
        Take over what the reference's controller, which must not run any more, left in the cluster: its objects, and
        its CRDs. No import is interrupted.
    mesh_peers
        The reference's JSON: this mesh and its remotes, instead of the MeshFederation and RemoteMeshes.
    exported_service_set
        The reference's JSON: what is exported. Needs --meshPeers.
    imported_service_set
        The reference's JSON: parsed and warned about, not applied, as there. Needs --meshPeers.
    log_output_level
        Istio's flag, for all logs or single scopes, such as all:info,fds:debug; goes before --log-level. The scopes are
        all, default, api, cli, controller, fds, federation, istio, kube, plan and telemetry.
    log_as_json
        Istio's flag: the same as --log-format json.
    log_caller
        Istio's flag: accepted, without effect. Each line names its logger.
    log_stacktrace_level
        Istio's flag: accepted, without effect. Each error of Meshfed's own has its trace.
    """
    levels, unknown = output_levels(log_output_level or "")
    logs.configure(level=log_level, log_format="json" if log_as_json else log_format, levels=levels)
    if unknown:
        _log.warning("--log_output_level: no such scope: %s; there are all, %s", ", ".join(unknown), ", ".join(SCOPES))
    for flag, given in (("--log_caller", log_caller), ("--log_stacktrace_level", log_stacktrace_level)):
        if given:
            _log.warning("%s has no effect", flag)
    place = namespace or pod_namespace()
    options = Options(
        namespace=place,
        discovery=address("--discovery-bind-address", discovery_bind_address),
        metrics=address("--metrics-bind-address", metrics_bind_address),
        health=address("--health-probe-bind-address", health_probe_bind_address),
        allow_unauthenticated_peers=allow_unauthenticated_peers,
        trusted_proxies=_cidrs(trusted_proxy_cidrs),
        read_pods=read_pods,
        probe=probe,
        trust_bundle=trust_bundle,
        mesh_config=mesh_config,
        account=pod_service_account() if service_account is None else (place, account(service_account)),
        adopt_reference=adopt_reference,
        fixed=_fixed(mesh_peers, exported_service_set, imported_service_set, place),
    )
    page = _Page(address("--dashboard-bind-address", dashboard_bind_address), _names(dashboard_hosts))
    timing = _timing(leader_elect_lease_duration, leader_elect_renew_deadline, leader_elect_retry_period)
    try:
        config = detect(environ=os.environ, path=kubeconfig, context=context)
    except ConfigError as error:
        raise BadInput(str(error)) from error
    return _run(config=config, options=options, election=timing if leader_elect else None, page=page)


class _Page(NamedTuple):
    """Where the dashboard is served, and under which names beside the loopback's."""

    address: Address
    names: tuple[str, ...]

    @contextlib.asynccontextmanager
    async def served(self, config: ClusterConfig, options: Options) -> AsyncIterator[None]:
        """Serve it while the context lasts; where it is off, nothing of it is imported."""
        if self.address.port == 0:
            yield
            return
        from meshfed.dashboard.inside import inside

        async with inside(config, options, self.address, self.names):
            yield


def _run(*, config: ClusterConfig, options: Options, election: LeaseTiming | None, page: _Page) -> int:
    try:
        with short_pauses():
            return asyncio.run(_until_signalled(config, options, election, page))
    except* ConfigError as errors:
        raise BadInput(_sentences(errors)) from errors
    except* OSError as errors:
        raise OutOfReach(_sentences(errors)) from errors


async def _until_signalled(config: ClusterConfig, options: Options, election: LeaseTiming | None, page: _Page) -> int:
    """Run the controller until it is told to stop; a second signal does not wait for it."""
    loop = asyncio.get_running_loop()
    metrics = Metrics()
    async with (
        Client(config, metrics=metrics) as client,
        Client(config, metrics=metrics) as apart,  # so that no other request delays a renewal
        page.served(config, options),
    ):
        elector = None
        if election is not None:
            elector = Elector(
                apart, namespace=options.namespace, name=LEASE, identity=process_identity(), timing=election
            )
        running = loop.create_task(Controller(client, options, metrics, elector=elector).run(), name="controller")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, running, number)
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return Exit.OK


def _stop(running: asyncio.Task[None], number: int) -> None:
    if running.cancelling():
        _log.warning("second %s: leaving at once", signal.Signals(number).name)
        os._exit(128 + number)
    _log.info("%s: stopping", signal.Signals(number).name)
    running.cancel()


def _sentences(group: BaseExceptionGroup[BaseException]) -> str:
    parts = [_sentences(one) if isinstance(one, BaseExceptionGroup) else str(one) for one in group.exceptions]
    return "; ".join(parts)


def _timing(lease: str, renew: str, retry: str) -> LeaseTiming:
    flags = (("lease-duration", lease), ("renew-deadline", renew), ("retry-period", retry))
    try:
        return LeaseTiming(*(duration(f"--leader-elect-{flag}", text) for flag, text in flags))
    except ValueError as error:
        raise BadInput(f"--leader-elect-*: {error}") from error


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for name in names:
        if not set(name) <= _IN_NAMES:
            raise BadInput(f"--dashboard-hosts: {name!r} is no name of a host: write it without a scheme or a port")
    return names


def _cidrs(text: str) -> tuple[str, ...]:
    cidrs = tuple(part.strip() for part in text.split(",") if part.strip())
    for cidr in cidrs:
        try:
            ipaddress.ip_network(cidr)
        except ValueError as error:
            raise BadInput(f"--trusted-proxy-cidrs: {error}; write CIDRs such as 127.0.0.0/8") from error
    return cidrs


def _fixed(peers: str | None, exported: str | None, imported: str | None, namespace: str) -> Fixed | None:
    if peers is None and exported is None and imported is None:
        return None
    if peers is None or exported is None:
        raise BadInput("--meshPeers and --exportedServiceSet go together: give both (`null` is accepted), or neither")
    try:
        config = reference_config(
            mesh_peers=peers, exported_service_set=exported, imported_service_set=imported or "", namespace=namespace
        )
    except InvalidInput as error:
        raise BadInput(str(error)) from error
    for warning in config.warnings:
        _log.warning("%s", warning)
    if config.mesh is None:
        raise BadInput("--meshPeers: `local` is missing, so this mesh has no name and no gateway; describe it there")
    return Fixed(config.mesh, config.remotes)

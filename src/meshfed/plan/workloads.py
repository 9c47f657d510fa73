"""Workloads: Pods, and WorkloadEntries that others wrote.

Those that are alike, as those of one Deployment are, are kept once and count as one (`meshfed.derive.Distinct`): most
changes to Pods end at a number that goes up or down, and only the first and the last of a kind asks which Services
select it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from meshfed.api.core import Container, Pod
from meshfed.model.imports import LocalPort
from meshfed.model.meshes import is_ip
from meshfed.model.offers import TLS_MODE
from meshfed.model.workloads import Located, Workload

_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_DEFAULT_ACCOUNT: Final = "default"
_MTLS: Final = "istio"
"""The value of the label for whoever takes Istio's mTLS; any other says that it does not."""
_HEALTH_CHECKED: Final = "proxy.istio.io/health-checks-enabled"
"""The annotation by which istiod counts a WorkloadEntry only where its condition ``Healthy`` is True."""
_TRUE: Final = frozenset({"1", "t", "T", "true", "True", "TRUE"})
"""What Go's ``strconv.ParseBool`` takes for true."""
_alike: WeakKeyDictionary[Workload, ref[Workload]] = WeakKeyDictionary()


def of_pod(pod: Pod) -> Located:
    """Return what matters of a Pod; one that has finished is nothing any more, and has no labels.

    It counts from when it exists, not from when it is ready, so that who serves a host is announced before it does.
    Its label alone says whether it takes mTLS (istiod, ``PodTLSMode``).
    """
    if pod.status.phase in _FINISHED:
        return Located(_kept(Workload()))
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)
    workload = _workload(
        pod.metadata.labels,
        account=pod.spec.service_account_name or _DEFAULT_ACCOUNT,
        in_mesh=pod.metadata.labels.get(TLS_MODE) == _MTLS,
        ready=ready and not pod.metadata.deletion_timestamp,
        ports=_named_ports((*pod.spec.containers, *filter(_is_sidecar, pod.spec.init_containers))),
    )
    return Located(workload, pod.status.pod_ip)


def of_entry(entry: Mapping[str, Any]) -> Located:
    """Return what matters of a WorkloadEntry, as plain data.

    Its labels are those of its metadata, then those of its spec (istiod, ``ConvertWorkloadEntry``). At a host name or
    a Unix socket it is an endpoint of no Service (``convertWorkloadEntryToWorkloadInstance``), and has no labels here.
    One that is not healthy is no endpoint either (``isHealthy``), and is here what a Pod is that is not ready.
    """
    spec, metadata = _mapping(entry.get("spec")), _mapping(entry.get("metadata"))
    if not _is_reached_by_ip(spec):
        return Located(_kept(Workload()))
    return Located(_of_entry(spec, _mapping(metadata.get("labels")), ready=_is_healthy(entry, metadata)))


def of_endpoints(endpoints: object) -> tuple[Workload, ...]:
    """Return what matters of a ServiceEntry's endpoints, those that are alike once.

    istiod reads each as it does a WorkloadEntry's spec (``convertServiceEntryToInstances``). Where a Service has the
    host too, those at a host name are left out (``EndpointBuilder.BuildClusterLoadAssignment``).
    """
    specs = map(_mapping, endpoints) if isinstance(endpoints, list) else ()
    return tuple(dict.fromkeys(_of_entry(spec, {}, ready=True) for spec in specs if _is_reached_by_ip(spec)))


def _is_healthy(entry: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a WorkloadEntry takes requests: one whose health is checked does once its condition says so."""
    if _mapping(metadata.get("annotations")).get(_HEALTH_CHECKED) not in _TRUE:
        return True
    conditions = _mapping(entry.get("status")).get("conditions")
    found = map(_mapping, conditions) if isinstance(conditions, list) else ()
    return any(one.get("type") == "Healthy" and one.get("status") == "True" for one in found)


def _is_reached_by_ip(spec: Mapping[str, Any]) -> bool:
    """Whether an endpoint has an IP, or none: its network's gateway then stands for it."""
    address = spec.get("address") or ""
    return not address or (isinstance(address, str) and is_ip(address))


def _of_entry(spec: Mapping[str, Any], more_labels: Mapping[str, Any], *, ready: bool) -> Workload:
    """Return what matters of an endpoint with a WorkloadEntry's fields.

    Its label says whether it takes mTLS; without that label, it does if it has a service account
    (``getTLSModeFromWorkloadEntry``). Without an account nobody can say as whom it serves: istiod has no default here.
    """
    found = {**_mapping(spec.get("labels")), **more_labels}
    labels = {key: value for key, value in found.items() if isinstance(value, str)}
    account = str(spec.get("serviceAccount") or "")
    mode = labels.get(TLS_MODE)
    return _workload(
        labels,
        account=account,
        in_mesh=mode == _MTLS if mode is not None else bool(account),
        ready=ready,
        ports={name: port for name, port in _mapping(spec.get("ports")).items() if isinstance(port, int) and port},
        is_entry=True,
    )


def _workload(
    labels: Mapping[str, str],
    *,
    account: str,
    in_mesh: bool,
    ready: bool,
    ports: Mapping[str, int],
    is_entry: bool = False,
) -> Workload:
    return _kept(
        Workload(
            labels=tuple(sorted(labels.items())),
            account=account,
            in_mesh=in_mesh,
            ready=ready,
            ports=tuple(sorted(ports.items())),
            is_entry=is_entry,
        )
    )


def port_of(workload: Workload, port: LocalPort) -> int | None:
    """Return the workload's own port to which a Service's leads; ``None`` where to none.

    A Pod has the number, or a container's port of that name (Kubernetes, ``podutil.FindPort``). A WorkloadEntry's
    ``ports`` come first: by the name that ``targetPort`` is, and else by the Service port's, where a number stands in
    for one that it lacks (istiod, ``serviceInstanceFromWorkloadInstance``).
    """
    named = dict(workload.ports)
    if isinstance(port.target_port, str):
        return named.get(port.target_port)
    number = port.target_port or port.number
    return named.get(port.name, number) if workload.is_entry else number


def _named_ports(containers: Iterable[Container]) -> dict[str, int]:
    """Return the TCP ports that have names: of several of one name the first."""
    found: dict[str, int] = {}
    for container in containers:
        for port in container.ports:
            if port.name and port.protocol == "TCP":
                found.setdefault(port.name, port.container_port)
    return found


def _is_sidecar(container: Container) -> bool:
    """Whether an init container runs for as long as the others."""
    return container.restart_policy == "Always"


def _kept(workload: Workload) -> Workload:
    """Return the one that is kept of all equal ones, for as long as anybody holds it."""
    return _alike.setdefault(workload, ref(workload))() or workload


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def labelled(namespace: str, labels: Iterable[tuple[str, str]]) -> frozenset[Any]:
    """Return the labels of something, or those that it selects by, with its namespace, in which alone these count."""
    return frozenset((namespace, *labels))


def namespace_of(place: tuple[str, str]) -> str:
    """Return where an object may select anything of which nothing is known."""
    return place[0]


def namespace_in(labels: frozenset[Any]) -> str | None:
    """Return the namespace of what is `labelled`; ``None`` for labels alone, which count in all of them."""
    return next((item for item in labels if isinstance(item, str)), None)

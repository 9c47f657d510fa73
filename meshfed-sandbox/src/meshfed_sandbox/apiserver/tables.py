"""The columns ``kubectl get`` prints: the built-in kinds' own, and those a CRD declares by JSONPath."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from meshfed_sandbox.apiserver import selectors
from meshfed_sandbox.apiserver.json_path import json_path, lookup
from meshfed_sandbox.apiserver.resources import Column, Resource

JSONObject = dict[str, Any]
Cell = str | int | float | bool | None

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"


class TableColumn(msgspec.Struct, frozen=True):
    """A column of a Table and how its cells come about."""

    name: str
    type: str
    cell: Callable[[JSONObject], Cell]
    format: str = ""
    description: str = ""
    priority: int = 0

    def definition(self) -> JSONObject:
        """The column as a Table defines it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def age(timestamp: Any) -> str:
    """How long ago ``timestamp`` (RFC 3339) was, as kubectl shows durations."""
    if not isinstance(timestamp, str) or not timestamp:
        return UNKNOWN
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    seconds = int((datetime.now(UTC) - then).total_seconds())
    return "<invalid>" if seconds < -1 else duration(max(seconds, 0))


def duration(seconds: int) -> str:
    """A duration in at most two units (apimachinery's ``duration.HumanDuration``)."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    return f"{years}y{days % 365}d" if years < 8 and days % 365 else f"{years}y"


def _pairs(labels: Any) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _selector(selector: Any) -> str:
    return selectors.text_of(selector or {}) or NONE


def _service_ports(obj: JSONObject) -> str:
    ports = lookup(obj, "spec", "ports") or []
    return (
        ",".join(
            f"{p.get('port')}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
            for p in ports
        )
        or NONE
    )


def _external_ip(obj: JSONObject) -> str:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or NONE
    addresses = [i.get("ip") or i.get("hostname") for i in lookup(obj, "status", "loadBalancer", "ingress") or ()]
    addresses += spec.get("externalIPs") or []
    pending = "<pending>" if spec.get("type") == "LoadBalancer" else NONE
    return ",".join(address for address in addresses if address) or pending


def _endpoints(obj: JSONObject) -> str:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return ",".join(shown[:3]) + (f" + {len(shown) - 3} more..." if len(shown) > 3 else "") or NONE


def _slice_ports(obj: JSONObject) -> str:
    return ",".join(str(port.get("port", "*")) for port in obj.get("ports") or ()) or "<unset>"


def _slice_endpoints(obj: JSONObject) -> str:
    shown = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return ",".join(shown[:3]) + (f" + {len(shown) - 3} more..." if len(shown) > 3 else "") or "<unset>"


def _images(*path: str) -> Callable[[JSONObject], str]:
    return lambda obj: ",".join(c.get("image", "") for c in lookup(obj, *path) or ())


def _names(*path: str) -> Callable[[JSONObject], str]:
    return lambda obj: ",".join(c.get("name", "") for c in lookup(obj, *path) or ())


def _pod_ready(obj: JSONObject) -> str:
    ready = sum(1 for status in lookup(obj, "status", "containerStatuses") or () if status.get("ready"))
    return f"{ready}/{len(lookup(obj, 'spec', 'containers') or ())}"


def _pod_restarts(obj: JSONObject) -> str:
    return str(sum(s.get("restartCount", 0) for s in lookup(obj, "status", "containerStatuses") or ()))


def _pod_status(obj: JSONObject) -> str:
    if lookup(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    found = lookup(obj, "status", "reason") or lookup(obj, "status", "phase") or ""
    # As kubectl's users know it: of the containers that do not run, the first one's reason stands for the Pod's phase.
    for container in lookup(obj, "status", "containerStatuses") or ():
        reason = lookup(container, "state", "waiting", "reason") or lookup(container, "state", "terminated", "reason")
        if reason:
            return str(reason)
    return str(found)


def _node_status(obj: JSONObject) -> str:
    ready = [c for c in lookup(obj, "status", "conditions") or () if c.get("type") == "Ready"]
    state = ("Ready" if ready[0].get("status") == "True" else "NotReady") if ready else "Unknown"
    return state + (",SchedulingDisabled" if lookup(obj, "spec", "unschedulable") else "")


def _node_roles(obj: JSONObject) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = (key.removeprefix(prefix) for key in lookup(obj, "metadata", "labels") or () if key.startswith(prefix))
    return ",".join(sorted(roles)) or NONE


def _involved(obj: JSONObject) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _last_seen(obj: JSONObject) -> str:
    return age(lookup(obj, "series", "lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime"))


def _data_count(obj: JSONObject) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _role(obj: JSONObject) -> str:
    return f"{lookup(obj, 'roleRef', 'kind')}/{lookup(obj, 'roleRef', 'name')}"


def _subjects(kind: str) -> Callable[[JSONObject], str]:
    def cell(obj: JSONObject) -> str:
        subjects = [s for s in obj.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(
            f"{s['namespace']}/{s['name']}" if kind == "ServiceAccount" else s.get("name", "") for s in subjects
        )

    return cell


def _at(*path: str | int, default: Cell = NONE) -> Callable[[JSONObject], Cell]:
    def cell(obj: JSONObject) -> Cell:
        value = lookup(obj, *path)
        return default if value is None or value == "" else value

    return cell


def _number(*path: str) -> Callable[[JSONObject], Cell]:
    return _at(*path, default=0)


def _ready_of(obj: JSONObject) -> str:
    return f"{lookup(obj, 'status', 'readyReplicas') or 0}/{lookup(obj, 'spec', 'replicas') or 0}"


def _column(name: str, cell: Callable[[JSONObject], Cell], priority: int = 0, kind: str = "string") -> TableColumn:
    return TableColumn(name, kind, cell, priority=priority)


NAME: Final = TableColumn(
    "Name",
    "string",
    _at("metadata", "name", default=""),
    format="name",
    description="Name must be unique within a namespace.",
)
AGE: Final = TableColumn(
    "Age",
    "string",
    lambda obj: age(lookup(obj, "metadata", "creationTimestamp")),
    description="CreationTimestamp is a timestamp representing the server time when this object was created.",
)
CREATED: Final = TableColumn(
    "Created At",
    "date",
    _at("metadata", "creationTimestamp"),
    description="CreationTimestamp is a timestamp representing the server time when this object was created.",
)
_TEMPLATE: Final = ("spec", "template", "spec", "containers")
_WORKLOAD: Final = (
    _column("Containers", _names(*_TEMPLATE), 1),
    _column("Images", _images(*_TEMPLATE), 1),
    _column("Selector", lambda obj: _selector(lookup(obj, "spec", "selector")), 1),
)
_BINDING: Final = (
    _column("Role", _role),
    AGE,
    _column("Users", _subjects("User"), 1),
    _column("Groups", _subjects("Group"), 1),
    _column("ServiceAccounts", _subjects("ServiceAccount"), 1),
)
_BUILTIN: Final[dict[tuple[str, str], tuple[TableColumn, ...]]] = {
    ("", "Namespace"): (NAME, _column("Status", _at("status", "phase")), AGE),
    ("", "Service"): (
        NAME,
        _column("Type", _at("spec", "type")),
        _column("Cluster-IP", _at("spec", "clusterIP")),
        _column("External-IP", _external_ip),
        _column("Port(s)", _service_ports),
        AGE,
        _column("Selector", lambda obj: _pairs(lookup(obj, "spec", "selector")), 1),
    ),
    ("", "Endpoints"): (NAME, _column("Endpoints", _endpoints), AGE),
    ("", "Pod"): (
        NAME,
        _column("Ready", _pod_ready),
        _column("Status", _pod_status),
        _column("Restarts", _pod_restarts),
        AGE,
        _column("IP", _at("status", "podIP"), 1),
        _column("Node", _at("spec", "nodeName"), 1),
        _column("Nominated Node", _at("status", "nominatedNodeName"), 1),
        _column("Readiness Gates", lambda _: NONE, 1),
    ),
    ("", "ServiceAccount"): (NAME, AGE),
    ("", "ConfigMap"): (NAME, _column("Data", _data_count), AGE),
    ("", "Secret"): (NAME, _column("Type", _at("type")), _column("Data", _data_count), AGE),
    ("", "Node"): (
        NAME,
        _column("Status", _node_status),
        _column("Roles", _node_roles),
        AGE,
        _column("Version", _at("status", "nodeInfo", "kubeletVersion", default="")),
    ),
    ("", "Event"): (
        _column("Last Seen", _last_seen),
        _column("Type", _at("type", default="")),
        _column("Reason", _at("reason", default="")),
        _column("Object", _involved),
        _column("Message", lambda obj: str(obj.get("message", "")).strip()),
        _column("Source", _at("source", "component", default=""), 1),
        _column("Count", _at("count", default=1), 1),
        TableColumn("Name", "string", _at("metadata", "name", default=""), format="name", priority=1),
    ),
    ("apps", "Deployment"): (
        NAME,
        _column("Ready", _ready_of),
        _column("Up-to-date", _number("status", "updatedReplicas")),
        _column("Available", _number("status", "availableReplicas")),
        AGE,
        *_WORKLOAD,
    ),
    ("apps", "ReplicaSet"): (
        NAME,
        _column("Desired", _number("spec", "replicas"), kind="integer"),
        _column("Current", _number("status", "replicas"), kind="integer"),
        _column("Ready", _number("status", "readyReplicas"), kind="integer"),
        AGE,
        *_WORKLOAD,
    ),
    ("apps", "DaemonSet"): (
        NAME,
        _column("Desired", _number("status", "desiredNumberScheduled"), kind="integer"),
        _column("Current", _number("status", "currentNumberScheduled"), kind="integer"),
        _column("Ready", _number("status", "numberReady"), kind="integer"),
        AGE,
        *_WORKLOAD,
    ),
    ("apps", "StatefulSet"): (NAME, _column("Ready", _ready_of), AGE, *_WORKLOAD[:2]),
    ("batch", "Job"): (
        NAME,
        _column(
            "Completions", lambda o: f"{lookup(o, 'status', 'succeeded') or 0}/{lookup(o, 'spec', 'completions') or 1}"
        ),
        AGE,
        *_WORKLOAD,
    ),
    ("coordination.k8s.io", "Lease"): (NAME, _column("Holder", _at("spec", "holderIdentity", default="")), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        NAME,
        _column("AddressType", _at("addressType", default="")),
        _column("Ports", _slice_ports),
        _column("Endpoints", _slice_endpoints),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        NAME,
        _column("Pod-Selector", lambda obj: _selector(lookup(obj, "spec", "podSelector"))),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        NAME,
        _column("Min Available", _at("spec", "minAvailable", default="N/A")),
        _column("Max Unavailable", _at("spec", "maxUnavailable", default="N/A")),
        _column("Allowed Disruptions", _number("status", "disruptionsAllowed")),
        AGE,
    ),
    ("rbac.authorization.k8s.io", "Role"): (NAME, CREATED),
    ("rbac.authorization.k8s.io", "ClusterRole"): (NAME, CREATED),
    ("rbac.authorization.k8s.io", "RoleBinding"): (NAME, *_BINDING),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): (NAME, *_BINDING),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (NAME, CREATED),
}


def _custom(column: Column) -> TableColumn:
    find = json_path(column.json_path)

    def cell(obj: JSONObject) -> Cell:
        found = find(obj)
        if not found:
            return None
        value = found[0]
        match column.type:
            case "date":
                return age(value)
            case "integer" | "number" if isinstance(value, int | float):
                return value
            case "boolean" if isinstance(value, bool):
                return value
            case "string":
                return value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return None

    return TableColumn(
        column.name,
        column.type,
        cell,
        format=column.format,
        description=column.description or f"Custom resource definition column (in JSONPath format): {column.json_path}",
        priority=column.priority,
    )


@lru_cache(maxsize=1024)
def _custom_columns(declared: tuple[Column, ...]) -> tuple[TableColumn, ...]:
    return tuple(_custom(column) for column in declared)


def columns(resource: Resource) -> tuple[TableColumn, ...]:
    """The columns of ``resource``."""
    if resource.custom:
        return (NAME, *_custom_columns(resource.columns)) if resource.columns else (NAME, AGE)
    group = "" if resource.kind == "Event" else resource.group
    return _BUILTIN.get((group, resource.kind), (NAME, AGE))

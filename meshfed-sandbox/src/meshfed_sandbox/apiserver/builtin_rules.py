"""What built-in kinds demand beyond the shape of their fields: rules across fields, and fields that never change.

Only those that people run into; the words are the API server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from meshfed_sandbox.apiserver.causes import OMITTED, Cause, duplicate, forbidden, invalid, not_found, required
from meshfed_sandbox.apiserver.schema_formats import FORMATS
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = ["RULES", "Rule"]

Rule = Callable[[JsonObject, JsonObject | None], Iterator[Cause]]

_IMMUTABLE: Final = "field is immutable"
_PORT_RANGE: Final = "must be between 1 and 65535, inclusive"
_LABEL: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def _service(obj: JsonObject, old: JsonObject | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    ports = spec.get("ports") or []
    if spec.get("type") == "ExternalName":
        if not spec.get("externalName"):
            yield required("spec.externalName")
    elif not ports and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    names: set[str] = set()
    for index, port in enumerate(ports):
        target = port.get("targetPort")
        if isinstance(target, int) and not 1 <= target <= 65535:
            yield invalid(f"spec.ports[{index}].targetPort", target, _PORT_RANGE)
        where, name = f"spec.ports[{index}].name", port.get("name")
        if not name:
            if len(ports) > 1:
                yield required(where)
            continue
        if not FORMATS["k8sshortname"](name):
            yield invalid(where, name, _LABEL)
        elif name in names:
            yield duplicate(where, name)
        names.add(name)


def _workload(kind: str) -> Rule:
    def rule(obj: JsonObject, old: JsonObject | None) -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        selector = spec.get("selector")
        template = spec.get("template") or {}
        if selector is not None:
            labels = (template.get("metadata") or {}).get("labels") or {}
            if not selector.get("matchLabels") and not selector.get("matchExpressions"):
                yield invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
            elif any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
                detail = "`selector` does not match template `labels`"
                yield invalid("spec.template.metadata.labels", labels or OMITTED, detail)
        yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")
        if old is not None and selector != (old.get("spec") or {}).get("selector"):
            yield invalid("spec.selector", selector, _IMMUTABLE)

    return rule


def _pod(obj: JsonObject, old: JsonObject | None) -> Iterator[Cause]:
    yield from _pod_spec(obj.get("spec") or {}, "spec")


def _pod_spec(spec: JsonObject, path: str) -> Iterator[Cause]:
    volumes = {v.get("name") for v in spec.get("volumes") or ()}
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            where = f"{path}.{kind}[{index}]"
            name = container.get("name")
            if name and not FORMATS["k8sshortname"](name):
                yield invalid(f"{where}.name", name, _LABEL)
            if not container.get("image"):
                yield required(f"{where}.image")
            yield from _container_ports(container, where)
            for at, mount in enumerate(container.get("volumeMounts") or ()):
                if mount.get("name") and mount["name"] not in volumes:
                    yield not_found(f"{where}.volumeMounts[{at}].name", mount["name"])


def _container_ports(container: JsonObject, path: str) -> Iterator[Cause]:
    for index, port in enumerate(container.get("ports") or ()):
        number, where = port.get("containerPort"), f"{path}.ports[{index}].containerPort"
        if not number:
            yield required(where)
        elif isinstance(number, int) and not 1 <= number <= 65535:
            yield invalid(where, number, _PORT_RANGE)


def _never_changes(field: str, detail: str = _IMMUTABLE) -> Rule:
    def rule(obj: JsonObject, old: JsonObject | None) -> Iterator[Cause]:
        if old is not None and obj.get(field) != old.get(field):
            yield invalid(field, obj.get(field), detail)

    return rule


def _immutable_data(obj: JsonObject, old: JsonObject | None) -> Iterator[Cause]:
    if old is None or old.get("immutable") is not True:
        return
    if obj.get("immutable") is not True:
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if obj.get(field) != old.get(field):
            yield forbidden(field, "field is immutable when `immutable` is set")


def _both(*rules: Rule) -> Rule:
    def rule(obj: JsonObject, old: JsonObject | None) -> Iterator[Cause]:
        for each in rules:
            yield from each(obj, old)

    return rule


_role_ref: Final = _never_changes("roleRef", "cannot change roleRef")

RULES: Final[dict[str, Rule]] = {
    "/v1/Service": _service,
    "/v1/Pod": _pod,
    "/v1/ConfigMap": _immutable_data,
    "/v1/Secret": _both(_never_changes("type"), _immutable_data),
    "apps/v1/Deployment": _workload("deployment"),
    "apps/v1/ReplicaSet": _workload("replicaset"),
    "apps/v1/DaemonSet": _workload("daemonset"),
    "apps/v1/StatefulSet": _workload("statefulset"),
    "rbac.authorization.k8s.io/v1/RoleBinding": _role_ref,
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": _role_ref,
}
"""By "group/version/Kind": what is wrong with an object that its schema accepts, given what it was before."""

"""Objects in Kubernetes' protobuf encoding, as far as kubectl sends them.

``kubectl create`` of built-in kinds and ``kubectl auth`` write protobuf and know no other way, so this server has to
read it; it never writes it. What a field is called and what it holds is in ``_MESSAGES``, after the ``generated.proto``
files of k8s.io/api; a field that is not there and not empty is refused rather than lost.

The envelope is ``k8s\\0`` and a ``runtime.Unknown``: the apiVersion and kind, then the object's own bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple

from meshfed_sandbox.apiserver import errors

JSONObject = dict[str, Any]

MEDIA: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"

# A field is `name:number type`. Types: s string, i integer, b boolean (in capitals: present even where 0 or false),
# t time, q quantity, v integer or string, y bytes, another message; {x} a map of strings to x, [x] a list of x.
_MESSAGES: Final = {
    "ObjectMeta": """name:1 s, generateName:2 s, namespace:3 s, uid:5 s, resourceVersion:6 s, generation:7 i,
        creationTimestamp:8 t, labels:11 {s}, annotations:12 {s}, ownerReferences:13 [OwnerReference],
        finalizers:14 [s]""",
    "OwnerReference": "kind:1 s, name:3 s, uid:4 s, apiVersion:5 s, controller:6 B, blockOwnerDeletion:7 B",
    "LabelSelector": "matchLabels:1 {s}, matchExpressions:2 [Requirement]",
    "Requirement": "key:1 s, operator:2 s, values:3 [s]",
    "Namespace": "metadata:1 ObjectMeta, spec:2 NamespaceSpec, status:3 NamespaceStatus",
    "NamespaceSpec": "finalizers:1 [s]",
    "NamespaceStatus": "phase:1 s",
    "ConfigMap": "metadata:1 ObjectMeta, data:2 {s}, binaryData:3 {y}, immutable:4 B",
    "Secret": "metadata:1 ObjectMeta, data:2 {y}, type:3 s, stringData:4 {s}, immutable:5 B",
    "ServiceAccount": "metadata:1 ObjectMeta, automountServiceAccountToken:4 B",
    "Service": "metadata:1 ObjectMeta, spec:2 ServiceSpec, status:3 ServiceStatus",
    "ServiceSpec": """ports:1 [ServicePort], selector:2 {s}, clusterIP:3 s, type:4 s, externalIPs:5 [s],
        sessionAffinity:7 s, externalName:10 s, publishNotReadyAddresses:13 b, clusterIPs:18 [s]""",
    "ServicePort": "name:1 s, protocol:2 s, port:3 i, targetPort:4 v, nodePort:5 i, appProtocol:6 s",
    "ServiceStatus": "loadBalancer:1 LoadBalancerStatus",
    "LoadBalancerStatus": "",
    "Deployment": "metadata:1 ObjectMeta, spec:2 DeploymentSpec, status:3 DeploymentStatus",
    "DeploymentSpec": """replicas:1 I, selector:2 LabelSelector, template:3 PodTemplateSpec,
        strategy:4 DeploymentStrategy, minReadySeconds:5 i, revisionHistoryLimit:6 I, paused:7 b,
        progressDeadlineSeconds:9 I""",
    "DeploymentStrategy": "type:1 s",
    "DeploymentStatus": "",
    "PodTemplateSpec": "metadata:1 ObjectMeta, spec:2 PodSpec",
    "PodSpec": "containers:2 [Container], restartPolicy:3 s, nodeSelector:7 {s}, serviceAccountName:8 s",
    "Container": """name:1 s, image:2 s, command:3 [s], args:4 [s], workingDir:5 s, ports:6 [ContainerPort],
        env:7 [EnvVar], resources:8 Resources, imagePullPolicy:14 s""",
    "ContainerPort": "name:1 s, hostPort:2 i, containerPort:3 i, protocol:4 s, hostIP:5 s",
    "EnvVar": "name:1 s, value:2 s",
    "Resources": "limits:1 {q}, requests:2 {q}",
    "Job": "metadata:1 ObjectMeta, spec:2 JobSpec, status:3 JobStatus",
    "JobSpec": "parallelism:1 I, completions:2 I, template:6 PodTemplateSpec, backoffLimit:7 I",
    "JobStatus": "",
    "PodDisruptionBudget": "metadata:1 ObjectMeta, spec:2 PodDisruptionBudgetSpec, status:3 PodDisruptionBudgetStatus",
    "PodDisruptionBudgetSpec": "minAvailable:1 v, selector:2 LabelSelector, maxUnavailable:3 v",
    "PodDisruptionBudgetStatus": "",
    "Role": "metadata:1 ObjectMeta, rules:2 [PolicyRule]",
    "ClusterRole": "metadata:1 ObjectMeta, rules:2 [PolicyRule], aggregationRule:3 AggregationRule",
    "PolicyRule": "verbs:1 [s], apiGroups:2 [s], resources:3 [s], resourceNames:4 [s], nonResourceURLs:5 [s]",
    "AggregationRule": "clusterRoleSelectors:1 [LabelSelector]",
    "RoleBinding": "metadata:1 ObjectMeta, subjects:2 [Subject], roleRef:3 RoleRef",
    "ClusterRoleBinding": "metadata:1 ObjectMeta, subjects:2 [Subject], roleRef:3 RoleRef",
    "Subject": "kind:1 s, apiGroup:2 s, name:3 s, namespace:4 s",
    "RoleRef": "apiGroup:1 s, kind:2 s, name:3 s",
    "SelfSubjectAccessReview": "metadata:1 ObjectMeta, spec:2 AccessReviewSpec, status:3 AccessReviewStatus",
    "SubjectAccessReview": "metadata:1 ObjectMeta, spec:2 AccessReviewSpec, status:3 AccessReviewStatus",
    "AccessReviewSpec": """resourceAttributes:1 ResourceAttributes, nonResourceAttributes:2 NonResourceAttributes,
        user:3 s, groups:4 [s]""",
    "ResourceAttributes": "namespace:1 s, verb:2 s, group:3 s, version:4 s, resource:5 s, subresource:6 s, name:7 s",
    "NonResourceAttributes": "path:1 s, verb:2 s",
    "AccessReviewStatus": "",
    "SelfSubjectRulesReview": "metadata:1 ObjectMeta, spec:2 SelfSubjectRulesReviewSpec, status:3 RulesReviewStatus",
    "SelfSubjectRulesReviewSpec": "namespace:1 s",
    "RulesReviewStatus": "",
    "SelfSubjectReview": "metadata:1 ObjectMeta, status:2 SelfSubjectReviewStatus",
    "SelfSubjectReviewStatus": "userInfo:1 UserInfo",
    "UserInfo": "",
    "TokenRequest": "metadata:1 ObjectMeta, spec:2 TokenRequestSpec, status:3 TokenRequestStatus",
    "TokenRequestSpec": "audiences:1 [s], boundObjectRef:3 OwnerReference, expirationSeconds:4 I",
    "TokenRequestStatus": "token:1 s, expirationTimestamp:2 t",
    "DeleteOptions": """gracePeriodSeconds:1 I, preconditions:2 Preconditions, orphanDependents:3 B,
        propagationPolicy:4 s, dryRun:5 [s]""",
    "Preconditions": "uid:1 s, resourceVersion:2 s",
    "Unknown": "typeMeta:1 TypeMeta, raw:2 r, contentEncoding:3 s, contentType:4 s",
    "TypeMeta": "apiVersion:1 s, kind:2 s",
    "Time": "seconds:1 I, nanos:2 i",
    "Quantity": "string:1 s",
    "IntOrString": "type:1 i, intVal:2 I, strVal:3 s",
}
_FIELD: Final = re.compile(r"(\w+):(\d+) (\S+?)(?:,|$)")


class _Field(NamedTuple):
    name: str
    type: str


@cache
def _fields(message: str) -> dict[int, _Field]:
    return {int(number): _Field(name, kind) for name, number, kind in _FIELD.findall(_MESSAGES[message])}


def decoded(body: bytes) -> JSONObject:
    """The object in ``body``, as JSON would have it; ``StatusError`` 400 where it cannot be read whole."""
    if not body.startswith(_MAGIC):
        raise errors.bad_request("provided data does not appear to be a protobuf message, expected prefix k8s\\0")
    try:
        envelope = _message("Unknown", body[len(_MAGIC) :])
        type_meta = envelope.get("typeMeta", {})
        kind = type_meta.get("kind", "")
        if kind not in _MESSAGES:
            raise errors.bad_request(f"this server reads no {kind or 'object'} in protobuf; send JSON")
        return {**type_meta, **_message(kind, envelope.get("raw", b""))}
    except (IndexError, UnicodeDecodeError) as error:
        raise errors.bad_request(f"malformed protobuf: {error}") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number and value. Kubernetes uses varints and lengths only."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        if tag & 7 == 0:
            yield tag >> 3, size
        elif tag & 7 == 2 and at + size <= len(data):
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise errors.bad_request(f"malformed protobuf: wire type {tag & 7} in field {tag >> 3}")


def _message(message: str, data: bytes) -> JSONObject:
    found: JSONObject = {}
    fields = _fields(message)
    for number, raw in _parts(data):
        if number not in fields:
            if raw:
                raise errors.bad_request(f"this server reads no field {number} of {message} in protobuf; send JSON")
            continue
        name, kind = fields[number]
        if kind[0] == "[":
            found.setdefault(name, []).append(_value(kind[1:-1], raw))
        elif kind[0] == "{":
            entry = dict(_parts(_bytes(raw)))
            found.setdefault(name, {})[_text(entry.get(1, b""))] = _value(kind[1:-1], entry.get(2, b""))
        elif kind in {"I", "B"} or raw not in {0, b""} or kind in _MESSAGES:
            value = _value(kind, raw)
            if value is not None:
                found[name] = value
    return found


def _value(kind: str, raw: int | bytes) -> Any:
    match kind:
        case "s":
            return _text(raw)
        case "i" | "I":
            number = raw if isinstance(raw, int) else 0
            return number - (1 << 64) if number >= 1 << 63 else number
        case "b" | "B":
            return bool(raw)
        case "r":
            return _bytes(raw)
        case "y":
            return base64.b64encode(_bytes(raw)).decode()
        case "t":
            seconds = _message("Time", _bytes(raw)).get("seconds", 0)
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case "q":
            return _message("Quantity", _bytes(raw)).get("string", "0")
        case "v":
            either = _message("IntOrString", _bytes(raw))
            return either.get("strVal", "") if either.get("type") else either.get("intVal", 0)
    return _message(kind, _bytes(raw))


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise errors.bad_request("malformed protobuf: a number where bytes were expected")
    return raw


def _text(raw: int | bytes) -> str:
    return _bytes(raw).decode()

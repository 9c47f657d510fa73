"""The kinds of Istio and OpenShift that Meshfed writes or reads, as CRDs reduced to what it uses of them.

Written for the sandbox after the published CRDs: names, versions, printer columns and the validation of the fields
that matter here are theirs; what Meshfed does not touch is let through unseen. A mesh that wants the whole of them
loads the published files instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

JSONObject = dict[str, Any]

_STRING: Final[JSONObject] = {"type": "string"}
_INTEGER: Final[JSONObject] = {"type": "integer"}
_PORT: Final[JSONObject] = {"type": "integer", "minimum": 1, "maximum": 65535}
_ANYTHING: Final[JSONObject] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _object(fields: Mapping[str, JSONObject], *required: str, open_ended: bool = False, rules: str = "") -> JSONObject:
    """An object of ``fields``; ``open_ended`` keeps others too; ``rules`` are in CEL, one a line: rule | message."""
    schema: JSONObject = {"type": "object", "properties": dict(fields)}
    if required:
        schema["required"] = list(required)
    if open_ended:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    if rules:
        parts = (line.rsplit("|", 1) for line in rules.strip().splitlines())
        schema["x-kubernetes-validations"] = [{"rule": rule.strip(), "message": text.strip()} for rule, text in parts]
    return schema


def _list(items: JSONObject, **limits: Any) -> JSONObject:
    return {"type": "array", "items": items, **limits}


def _map(values: JSONObject, **limits: Any) -> JSONObject:
    return {"type": "object", "additionalProperties": values, **limits}


def _enum(*values: str) -> JSONObject:
    return {"type": "string", "enum": list(values)}


_STRINGS: Final = _list(_STRING)
_LABELS: Final = _map(_STRING, maxProperties=256)
_WORKLOAD_SELECTOR: Final = _object({"labels": _map({"type": "string", "maxLength": 63}, maxProperties=256)})
_POD_SELECTOR: Final = _object({"matchLabels": _map({"type": "string", "maxLength": 63}, maxProperties=4096)})

_GATEWAY: Final = _object(
    {
        "selector": _map(_STRING),
        "servers": _list(
            _object(
                {
                    "bind": _STRING,
                    "defaultEndpoint": _STRING,
                    "hosts": _STRINGS,
                    "name": _STRING,
                    "port": _object(
                        {"name": _STRING, "number": _INTEGER, "protocol": _STRING, "targetPort": _INTEGER},
                        "number",
                        "protocol",
                        "name",
                    ),
                    "tls": _object(
                        {
                            "mode": _enum(
                                "PASSTHROUGH",
                                "SIMPLE",
                                "MUTUAL",
                                "AUTO_PASSTHROUGH",
                                "ISTIO_MUTUAL",
                                "OPTIONAL_MUTUAL",
                            ),
                        },
                        open_ended=True,
                    ),
                },
                "port",
                "hosts",
            )
        ),
    }
)
_ENDPOINT_FIELDS: Final[dict[str, JSONObject]] = {
    "address": {"type": "string", "maxLength": 256},
    "labels": _LABELS,
    "locality": {"type": "string", "maxLength": 2048},
    "network": {"type": "string", "maxLength": 2048},
    "ports": _map(_PORT, maxProperties=128),
    "serviceAccount": {"type": "string", "maxLength": 253},
    "weight": {"type": "integer", "minimum": 0},
}
_HAS_ADDRESS: Final = "has(self.address) || has(self.network) | Address is required"
_WORKLOAD_ENTRY: Final = _object(_ENDPOINT_FIELDS, rules=_HAS_ADDRESS)
_SERVICE_ENTRY: Final = _object(
    {
        "addresses": _list({"type": "string", "maxLength": 64}, maxItems=256),
        "endpoints": _list(_object(_ENDPOINT_FIELDS, rules=_HAS_ADDRESS), maxItems=4096),
        "exportTo": _STRINGS,
        "hosts": _list({"type": "string", "not": {"enum": ["*"]}}, minItems=1, maxItems=256),
        "location": _enum("MESH_EXTERNAL", "MESH_INTERNAL"),
        "ports": {
            **_list(
                _object(
                    {
                        "name": {"type": "string", "maxLength": 256},
                        "number": _PORT,
                        "protocol": {"type": "string", "maxLength": 256},
                        "targetPort": _PORT,
                    },
                    "number",
                    "name",
                ),
                maxItems=256,
            ),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        "resolution": _enum("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"),
        "subjectAltNames": _STRINGS,
        "workloadSelector": _WORKLOAD_SELECTOR,
    },
    "hosts",
    rules="""
    !(has(self.workloadSelector) && has(self.endpoints)) | only one of WorkloadSelector or Endpoints can be set
    """,
)
_CLIENT_TLS: Final = _object(
    {
        "mode": _enum("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"),
        "sni": _STRING,
        "subjectAltNames": _STRINGS,
    },
    open_ended=True,
)
_DESTINATION_RULE: Final = _object(
    {
        "exportTo": _STRINGS,
        "host": _STRING,
        "subsets": _list(_object({"name": _STRING, "labels": _LABELS}, "name", open_ended=True)),
        "trafficPolicy": _object(
            {
                "connectionPool": _ANYTHING,
                "outlierDetection": _ANYTHING,
                "portLevelSettings": _list(
                    _object({"port": _object({"number": _INTEGER}), "tls": _CLIENT_TLS}, open_ended=True),
                    maxItems=4096,
                ),
                "tls": _CLIENT_TLS,
            },
            open_ended=True,
        ),
        "workloadSelector": _POD_SELECTOR,
    },
    "host",
)
_ENVOY_FILTER: Final = _object(
    {
        "configPatches": _list(
            _object(
                {
                    "applyTo": _enum(
                        "INVALID",
                        "LISTENER",
                        "FILTER_CHAIN",
                        "NETWORK_FILTER",
                        "HTTP_FILTER",
                        "ROUTE_CONFIGURATION",
                        "VIRTUAL_HOST",
                        "HTTP_ROUTE",
                        "CLUSTER",
                        "EXTENSION_CONFIG",
                        "BOOTSTRAP",
                        "LISTENER_FILTER",
                    ),
                    "match": _object(
                        {
                            "context": _enum("ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"),
                            "listener": _object(
                                {
                                    "filterChain": _object({"sni": _STRING}, open_ended=True),
                                    "name": _STRING,
                                    "portNumber": _INTEGER,
                                },
                                open_ended=True,
                            ),
                        },
                        open_ended=True,
                    ),
                    "patch": _object(
                        {
                            "operation": _enum(
                                "INVALID",
                                "MERGE",
                                "ADD",
                                "REMOVE",
                                "INSERT_BEFORE",
                                "INSERT_AFTER",
                                "INSERT_FIRST",
                                "REPLACE",
                            ),
                            "value": _ANYTHING,
                        },
                        open_ended=True,
                    ),
                }
            )
        ),
        "priority": _INTEGER,
        "workloadSelector": _WORKLOAD_SELECTOR,
    },
    open_ended=True,
)
_MTLS: Final = _object({"mode": _enum("UNSET", "DISABLE", "PERMISSIVE", "STRICT")})
_PEER_AUTHENTICATION: Final = _object(
    {"mtls": _MTLS, "portLevelMtls": _map(_MTLS, minProperties=1), "selector": _POD_SELECTOR},
    rules="""
    !has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels)) | portLevelMtls requires selector
    """,
)
_AUTHORIZATION_POLICY: Final = _object(
    {
        "action": _enum("ALLOW", "DENY", "AUDIT", "CUSTOM"),
        "rules": _list(
            _object(
                {
                    "from": _list(
                        _object({"source": _object({"namespaces": _STRINGS, "principals": _STRINGS}, open_ended=True)}),
                        maxItems=512,
                    ),
                    "to": _list(
                        _object({"operation": _object({"notPorts": _STRINGS, "ports": _STRINGS}, open_ended=True)})
                    ),
                    "when": _list(_object({"key": _STRING, "values": _STRINGS, "notValues": _STRINGS}, "key")),
                }
            ),
            maxItems=512,
        ),
        "selector": _POD_SELECTOR,
    },
    open_ended=True,
)
_ROUTE: Final = _object(
    {
        "host": {"type": "string", "maxLength": 253},
        "path": _STRING,
        "port": _object({"targetPort": {"x-kubernetes-int-or-string": True}}, "targetPort"),
        "tls": _object({"termination": _enum("edge", "passthrough", "reencrypt")}, "termination", open_ended=True),
        "to": _object(
            {
                "kind": {**_enum("Service", ""), "default": "Service"},
                "name": {"type": "string", "minLength": 1},
                "weight": {"type": "integer", "minimum": 0, "maximum": 256, "default": 100},
            },
            "kind",
            "name",
        ),
        "wildcardPolicy": {**_enum("None", "Subdomain", ""), "default": "None"},
    },
    "to",
    open_ended=True,
)

_AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_NETWORKING: Final = "networking.istio.io"
_SECURITY: Final = "security.istio.io"


def _columns(**paths: str) -> list[JSONObject]:
    return [{"name": name, "type": "string", "jsonPath": path} for name, path in paths.items()]


def _crd(
    group: str,
    versions: str,
    kind: str,
    spec: JSONObject,
    *,
    plural: str = "",
    short: str = "",
    columns: list[JSONObject] | None = None,
) -> JSONObject:
    """A namespaced CRD; the first of ``versions`` is the one stored."""
    plural = plural or f"{kind.lower()}s"
    names: JSONObject = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    if group.endswith(".istio.io"):
        names["categories"] = ["istio-io", group.replace(".", "-")]
    if short:
        names["shortNames"] = [short]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": index == 0,
                    "schema": {"openAPIV3Schema": _object({"spec": spec, "status": _ANYTHING})},
                    "subresources": {"status": {}},
                    **({"additionalPrinterColumns": columns} if columns else {}),
                }
                for index, version in enumerate(versions.split())
            ],
        },
    }


def istio_crds() -> list[JSONObject]:
    """The reduced CRDs, in the versions that Istio 1.30 and OpenShift serve."""
    networking, security = "v1 v1beta1 v1alpha3", "v1 v1beta1"
    admitted = '.status.ingress[0].conditions[?(@.type=="Admitted")].status'
    return [
        _crd(_NETWORKING, networking, "Gateway", _GATEWAY, short="gw"),
        _crd(
            _NETWORKING,
            networking,
            "ServiceEntry",
            _SERVICE_ENTRY,
            plural="serviceentries",
            short="se",
            columns=[*_columns(Hosts=".spec.hosts", Location=".spec.location", Resolution=".spec.resolution"), _AGE],
        ),
        _crd(
            _NETWORKING,
            networking,
            "WorkloadEntry",
            _WORKLOAD_ENTRY,
            plural="workloadentries",
            short="we",
            columns=[_AGE, *_columns(Address=".spec.address")],
        ),
        _crd(
            _NETWORKING,
            networking,
            "DestinationRule",
            _DESTINATION_RULE,
            short="dr",
            columns=[*_columns(Host=".spec.host"), _AGE],
        ),
        _crd(_NETWORKING, "v1alpha3", "EnvoyFilter", _ENVOY_FILTER),
        _crd(
            _SECURITY,
            security,
            "PeerAuthentication",
            _PEER_AUTHENTICATION,
            short="pa",
            columns=[*_columns(Mode=".spec.mtls.mode"), _AGE],
        ),
        _crd(
            _SECURITY,
            security,
            "AuthorizationPolicy",
            _AUTHORIZATION_POLICY,
            plural="authorizationpolicies",
            short="ap",
            columns=[*_columns(Action=".spec.action"), _AGE],
        ),
        _crd(
            "route.openshift.io",
            "v1",
            "Route",
            _ROUTE,
            # No router fills in the status here, so the host is the one that is asked for.
            columns=_columns(
                Host=".spec.host", Admitted=admitted, Service=".spec.to.name", TLS=".spec.tls.termination"
            ),
        ),
    ]

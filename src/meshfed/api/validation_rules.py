"""The rules of the API that no schema can say, each once as CEL and once in Python.

The API server evaluates ``cel``; ``meshfed plan`` and the reference's flags are judged by ``holds``. The two stand
side by side so that a change to one is seen beside the other, and a test feeds both the same objects. Either sees
``self`` as the API server does: JSON values with the defaults filled in. CEL keeps to the core language, without
Kubernetes' own functions, and names that are words of CEL are escaped as Kubernetes does it (``__as__``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from meshfed.api.traffic_policy import OutlierDetection, TCPSettings
from meshfed.api.v1alpha1 import (
    Discovery,
    ExportAlias,
    ExportRule,
    ImportPolicy,
    ImportRule,
    MeshFederation,
    MeshFederationSpec,
    RemoteMesh,
    RemoteMeshSpec,
)
from meshfed.model.names import MAX_CLUSTER_DOMAIN, MAX_MESH_NAME
from meshfed.model.selectors import Requirement


class Rule(msgspec.Struct, frozen=True):
    """One rule.

    It holds for every ``on``, or where ``part`` is given for a field of it (``field``, or ``field[]`` for each of its
    items). ``message`` names what is wrong and the remedy; ``field`` is the path from there to what is at fault, as
    ``.name``, where the rule looks at several fields.
    """

    on: type[msgspec.Struct]
    part: str
    cel: str
    holds: Callable[[Any], bool]
    message: str
    field: str = ""


_HEX = "[0-9a-fA-F]{1,4}"
_IPV4 = r"((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV6 = "|".join(
    [f"({_HEX}:){{7}}{_HEX}", f"({_HEX}:){{1,7}}:"]
    + [f"({_HEX}:){{1,{7 - n}}}(:{_HEX}){{1,{n}}}" for n in range(1, 7)]
    + [f":(:{_HEX}){{1,7}}", "::"]
)
_NAME = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ADDRESS: Final = rf"^(({_IPV4}|{_NAME})(:{_PORT})?|{_IPV6}|\[({_IPV6})\]:{_PORT})$"
_HOST_PORT: Final = rf"^({_IPV4}|\[({_IPV6})\]|{_NAME}):{_PORT}$"


def _alias_tells_hosts_apart(rule: dict[str, Any]) -> bool:
    if "as" not in rule:
        return True
    hosts, namespaces, host = rule.get("hosts", []), rule.get("namespaces", []), rule["as"]["host"]
    if len(hosts) == 1 and "*" not in hosts[0]:
        return True
    one_namespace = len(namespaces) == 1 and "*" not in namespaces[0]
    return "{name}" in host and ("{namespace}" in host or one_namespace)


def _is_mesh_name(name: str) -> bool:
    return len(name) <= MAX_MESH_NAME and "." not in name


_MESH_NAME_CEL: Final = f"size(self.metadata.name) <= {MAX_MESH_NAME} && !self.metadata.name.contains('.')"
_MESH_NAME_MESSAGE: Final = (
    f"the name must be a DNS label of at most {MAX_MESH_NAME} characters, without dots, since "
    "federation-discovery-service-<name> has to be one too: choose a shorter name for the mesh"
)

ADDRESS: Final = Rule(
    on=RemoteMeshSpec,
    part="addresses[]",
    cel=f"self.matches(r'{_ADDRESS}')",
    holds=lambda self: re.fullmatch(_ADDRESS, self) is not None,
    message="an address must be an IP address or a lower-case host name, without scheme or path: where the field "
    "port does not hold for it, put its own behind it, as in 192.0.2.20:31443 or [2001:db8::1]:31443",
)

RULES: Final[tuple[Rule, ...]] = (
    *(
        Rule(
            on=kind,
            part="",
            cel=_MESH_NAME_CEL,
            holds=lambda self: _is_mesh_name(self["metadata"]["name"]),
            message=_MESH_NAME_MESSAGE,
            field=".metadata.name",
        )
        for kind in (MeshFederation, RemoteMesh)
    ),
    Rule(
        on=Requirement,
        part="",
        cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        holds=lambda self: (self["operator"] in {"In", "NotIn"}) == bool(self.get("values")),
        message="values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist",
        field=".values",
    ),
    Rule(
        on=ExportAlias,
        part="",
        cel="has(self.name) || has(self.__namespace__)",
        holds=lambda self: bool({"name", "namespace"} & self.keys()),
        message="an export alias must give a name, a namespace or both: name what changes, or remove as",
    ),
    Rule(
        on=ExportRule,
        part="",
        cel="self.action == 'Export' || (!has(self.__as__) && !has(self.remotes))",
        holds=lambda self: self["action"] == "Export" or not {"as", "remotes"} & self.keys(),
        message="as and remotes have no meaning where action is Deny, which denies the Service to every remote: remove "
        "them; to keep it from one remote, name the others in remotes of a rule with action Export",
    ),
    *(
        Rule(
            on=spec,
            part="clusterDomain",
            cel=f"size(self) <= {MAX_CLUSTER_DOMAIN}",
            holds=lambda self: len(self) <= MAX_CLUSTER_DOMAIN,
            message=f"clusterDomain must have at most {MAX_CLUSTER_DOMAIN} characters, so that every Service's host, "
            "<name>.<namespace>.svc.<clusterDomain>, fits into a TLS server name: give the domain with which that "
            "cluster's kubelets were started, mostly cluster.local",
        )
        for spec in (MeshFederationSpec, RemoteMeshSpec)
    ),
    ADDRESS,
    Rule(
        on=RemoteMeshSpec,
        part="",
        cel="!has(self.identity) || self.identity.startsWith('spiffe://' + self.trustDomain + '/')",
        holds=lambda self: self.get("identity", f"spiffe://{self['trustDomain']}/").startswith(
            f"spiffe://{self['trustDomain']}/"
        ),
        message="identity must be in the trust domain that trustDomain names: set trustDomain to that of the identity",
        field=".identity",
    ),
    Rule(
        on=Discovery,
        part="address",
        cel=f"self.matches(r'{_HOST_PORT}')",
        holds=lambda self: re.fullmatch(_HOST_PORT, self) is not None,
        message="address must be host:port, with an IPv6 address in brackets and no scheme: "
        "for instance fds.west.example:15080",
    ),
    *(
        Rule(
            on=on,
            part=part,
            cel="self.matches('[1-9]')",
            holds=lambda self: re.search("[1-9]", self) is not None,
            message=f"{part} must be more than zero: leave it out for Istio's default",
        )
        for on, part in (
            (OutlierDetection, "interval"),
            (OutlierDetection, "baseEjectionTime"),
            (TCPSettings, "connectTimeout"),
        )
    ),
    Rule(
        on=ImportRule,
        part="",
        cel="!has(self.__as__)"
        " || (has(self.hosts) && size(self.hosts) == 1 && !self.hosts[0].contains('*'))"
        " || (self.__as__.host.contains('{name}') && (self.__as__.host.contains('{namespace}')"
        " || (has(self.namespaces) && size(self.namespaces) == 1 && !self.namespaces[0].contains('*'))))",
        holds=_alias_tells_hosts_apart,
        message="as.host must contain {name} and {namespace} where the rule can match several hosts; {namespace} may "
        "be left out where namespaces names a single one: add them, or name a single host in hosts",
        field=".as.host",
    ),
    Rule(
        on=ImportRule,
        part="",
        cel="self.action == 'Import' || (!has(self.__as__) && !has(self.merge) && !has(self.allowTCP)"
        " && !has(self.subjectAltNames))",
        holds=lambda self: (
            self["action"] == "Import" or not {"as", "merge", "allowTCP", "subjectAltNames"} & self.keys()
        ),
        message="as, merge, allowTCP and subjectAltNames have no meaning where action is Deny: remove them",
    ),
    Rule(
        on=ImportPolicy,
        part="exportTo",
        cel="!('*' in self) || size(self) == 1",
        holds=lambda self: "*" not in self or len(self) == 1,
        message="exportTo must not name others beside *, which is everyone already: remove * or the others",
    ),
)

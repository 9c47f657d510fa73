"""Every condition type and reason, and every Event, that Meshfed writes: closed lists, each with the sentence that
documents it.

The documentation's tables are generated from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """What a condition speaks of."""

    READY = "Ready"
    GATEWAY_READY = "GatewayReady"
    EXPORTS_READY = "ExportsReady"
    CONNECTED = "Connected"
    SYNCED = "Synced"
    IDENTITY_UNIQUE = "IdentityUnique"
    ACCEPTED = "Accepted"
    APPLIED = "Applied"
    VALID = "Valid"
    REACHABLE = "Reachable"
    SUBSCRIBED = "Subscribed"


CONDITIONS: Final[dict[ConditionType, str]] = {
    ConditionType.READY: "Whether all that the object asks for is in place; the first to look at.",
    ConditionType.GATEWAY_READY: "On a MeshFederation: whether the federation ingress gateway is there as `spec.ingress` says.",
    ConditionType.EXPORTS_READY: "On a MeshFederation: whether what is exported is written, and nothing is known that would keep the gateway from passing calls on.",
    ConditionType.CONNECTED: "On a RemoteMesh: whether its discovery service is connected.",
    ConditionType.SYNCED: "On a RemoteMesh: whether all that it offers has been received on this connection.",
    ConditionType.ACCEPTED: "On a FederatedService: whether the offer is imported, and if not, why.",
    ConditionType.APPLIED: "On a FederatedService: whether the Istio objects of the import are in place.",
    ConditionType.REACHABLE: "On a FederatedService that is imported, and on a RemoteMesh for its discovery service: whether a TLS handshake through each of the remote's addresses was answered by whom it should be. What policies of the application say to a request is not seen.",
    ConditionType.SUBSCRIBED: "On a RemoteMesh: whether its controller subscribes to what this mesh exports; the message says at which replica, and since when. It does not count for `Ready`: a remote that imports nothing is fine.",
    ConditionType.IDENTITY_UNIQUE: "On a RemoteMesh: whether callers with its identity can be told from all others.",
    ConditionType.VALID: "On a ServiceExport of the multi-cluster services API: whether its Service can be exported.",
}
"""What each condition type speaks of, for the documentation."""


SEEN: Final[dict[ConditionType, str]] = {
    ConditionType.READY: "What the object's other conditions saw; besides, what stands in the objects and in Istio's configuration.",
    ConditionType.GATEWAY_READY: "In the API: the Gateway objects, pods of the gateway that are ready, and a Service with the port and an address. Not seen: whether that address leads there from outside. The other meshes' `Reachable` says so.",
    ConditionType.EXPORTS_READY: "In the API: what an export needs, and pods with a sidecar behind it where Pods may be read. Not seen: a request. The other meshes' `Reachable` says whether it is answered.",
    ConditionType.CONNECTED: "An answer of the discovery service, through this controller's sidecar, which lets nobody answer but whom `identity` of the RemoteMesh states; where it states nobody, whoever has a certificate of a trusted root.",
    ConditionType.SYNCED: "The remote's whole offer.",
    ConditionType.ACCEPTED: "A decision, and no traffic.",
    ConditionType.APPLIED: "The objects in the API. Not seen: whether istiod and the proxies have them yet.",
    ConditionType.REACHABLE: "A handshake by every way that ended in the certificate of whom it should be. Not seen: a request, and what policies say to it.",
    ConditionType.SUBSCRIBED: "A stream by which a caller with the remote's identity asked for what is exported, as the replica that serves it wrote into its Lease. Not seen: what the remote imports of it.",
    ConditionType.IDENTITY_UNIQUE: "What the RemoteMeshes and this mesh state, compared. Nobody was called.",
    ConditionType.VALID: "A decision, and no traffic.",
}
"""What was seen where a condition is True, and what was not, for the documentation."""


class Reason(StrEnum):
    """Why a condition is as it is."""

    # common
    READY = "Ready"
    INVALID = "Invalid"
    NOT_UNDERSTOOD = "NotUnderstood"
    NO_MESH_FEDERATION = "NoMeshFederation"
    NOT_OWNED = "NotOwned"
    DRIFT_CONFLICT = "DriftConflict"
    WRITE_FAILED = "WriteFailed"
    APPLIED = "Applied"
    PENDING = "Pending"
    PAUSED = "Paused"
    # MeshFederation
    DUPLICATE = "Duplicate"
    TRUST_DOMAIN_MISMATCH = "TrustDomainMismatch"
    ROOT_NAMESPACE_ELSEWHERE = "RootNamespaceElsewhere"
    EXPORTING = "Exporting"
    NOTHING_EXPORTED = "NothingExported"
    EXPORTED = "Exported"
    NOT_SELECTED = "NotSelected"
    EXTERNAL_NAME = "ExternalName"
    NO_USABLE_PORTS = "NoUsablePorts"
    HOST_TAKEN = "HostTaken"
    NAME_TOO_LONG = "NameTooLong"
    NO_SERVICE = "NoService"
    NO_MESH_ENDPOINTS = "NoMeshEndpoints"
    MTLS_DISABLED = "MTLSDisabled"
    HIDDEN_FROM_GATEWAY = "HiddenFromGateway"
    ROUTE_NOT_ADMITTED = "RouteNotAdmitted"
    GATEWAY_SERVICE_MISSING = "GatewayServiceMissing"
    GATEWAY_PORT_MISSING = "GatewayPortMissing"
    GATEWAY_ADDRESS_MISSING = "GatewayAddressMissing"
    GATEWAY_PODS_MISSING = "GatewayPodsMissing"
    GATEWAY_PODS_NOT_READY = "GatewayPodsNotReady"
    GATEWAY_CROWDED = "GatewayCrowded"
    # RemoteMesh
    CONNECTED = "Connected"
    CONNECTING = "Connecting"
    UNREACHABLE = "Unreachable"
    PERMISSION_DENIED = "PermissionDenied"
    SYNCED = "Synced"
    NOT_SYNCED = "NotSynced"
    WITHDRAWAL_HELD = "WithdrawalHeld"
    THROTTLED = "Throttled"
    STALE = "Stale"
    PUBLISH_ONLY = "PublishOnly"
    IMPORTS_NOT_REACHED = "ImportsNotReached"
    NAME_CONFLICT = "NameConflict"
    IDENTITY_UNIQUE = "IdentityUnique"
    IDENTITY_SHADOWED = "IdentityShadowed"
    IDENTITY_AMBIGUOUS = "IdentityAmbiguous"
    SUBSCRIBED = "Subscribed"
    NOT_SUBSCRIBED = "NotSubscribed"
    SUBSCRIBERS_UNKNOWN = "SubscribersUnknown"
    # FederatedService
    ACCEPTED = "Accepted"
    HOST_SHARED = "HostShared"
    PORTS_LEFT_OUT = "PortsLeftOut"
    REMOTE_MISSING = "RemoteMissing"
    NOT_IMPORTED = "NotImported"
    DENIED_BY_RULE = "DeniedByRule"
    PROTECTED_NAMESPACE = "ProtectedNamespace"
    LIMIT_EXCEEDED = "LimitExceeded"
    INVALID_HOST = "InvalidHost"
    INVALID_PORTS = "InvalidPorts"
    PORT_CONFLICT = "PortConflict"
    SNI_CONFLICT = "SNIConflict"
    SNI_OVERRIDDEN = "SNIOverridden"
    TRAFFIC_POLICY_OVERRIDDEN = "TrafficPolicyOverridden"
    PLAINTEXT_ENDPOINTS = "PlaintextEndpoints"
    SELECTOR_SHARED = "SelectorShared"
    LOCAL_SERVICE_EXISTS = "LocalServiceExists"
    LOCAL_SERVICE_UNUSABLE = "LocalServiceUnusable"
    ALREADY_IMPORTED = "AlreadyImported"
    IDENTITY_MISMATCH = "IdentityMismatch"
    IDENTITY_UNKNOWN = "IdentityUnknown"
    TCP_NOT_ALLOWED = "TCPNotAllowed"
    UNRESOLVED = "Unresolved"
    # ways into remote meshes
    ANSWERED = "Answered"
    NOT_PROBED = "NotProbed"
    NAME_NOT_RESOLVED = "NameNotResolved"
    GATEWAY_NOT_REACHED = "GatewayNotReached"
    NOT_PASSED_ON = "NotPassedOn"
    NO_CERTIFICATE = "NoCertificate"
    NO_MUTUAL_TLS = "NoMutualTLS"
    ROOT_NOT_TRUSTED = "RootNotTrusted"
    CERTIFICATE_NOT_VALID = "CertificateNotValid"
    UNEXPECTED_IDENTITY = "UnexpectedIdentity"


REASONS: Final[dict[Reason, str]] = {
    Reason.READY: "Everything that was asked for is in place.",
    Reason.INVALID: "The object's spec cannot be used; the message names the field, the value and the remedy.",
    Reason.NOT_UNDERSTOOD: "What is stored of the object, or of one that it depends on, has a form that this version does not know, or Meshfed's own code fails on it, as the message says; what depends on it stays as it was.",
    Reason.NO_MESH_FEDERATION: "There is no MeshFederation in the namespace, so nothing is exported or imported.",
    Reason.NOT_OWNED: "An object of that name exists and is not ours; it is never overwritten.",
    Reason.DRIFT_CONFLICT: "Something else keeps changing the object back; it is tried again ever more slowly.",
    Reason.WRITE_FAILED: "The Kubernetes API refused or failed a write; it is tried again, and the message says what it answered.",
    Reason.APPLIED: "The Istio objects are in place; the message lists them.",
    Reason.PENDING: "The Istio objects are being written.",
    Reason.PAUSED: 'An annotation on an object, `federation.openshift-service-mesh.io/paused: "true"`, says to leave it as it is.',
    Reason.DUPLICATE: "An older MeshFederation in this namespace is in force; this one does nothing.",
    Reason.TRUST_DOMAIN_MISMATCH: "`spec.trustDomain` is not the trust domain in the mesh's own configuration, so identities that follow from it are nobody's.",
    Reason.ROOT_NAMESPACE_ELSEWHERE: "`rootNamespace` in the mesh's own configuration is not `spec.controlPlaneNamespace`, into which Meshfed writes; what of that does not count for all is said.",
    Reason.EXPORTING: "Services are exported; the message counts them.",
    Reason.NOTHING_EXPORTED: "No Service matches the export rules, or there are none.",
    Reason.EXPORTED: "The Service is offered to other meshes.",
    Reason.NOT_SELECTED: "The Service, or its Namespace, does not match what the MeshFederation exports.",
    Reason.EXTERNAL_NAME: "A Service of type ExternalName has no endpoints that other meshes could reach.",
    Reason.NO_USABLE_PORTS: "The Service has no TCP port; UDP does not pass the gateway.",
    Reason.HOST_TAKEN: "Another Service is exported under the same host; the message names it.",
    Reason.NAME_TOO_LONG: "The OpenShift router cannot serve the host: a DNS label of its SNI would be over 63 characters.",
    Reason.NO_SERVICE: "There is no Service of the ServiceExport's name.",
    Reason.NO_MESH_ENDPOINTS: "No endpoint of the exported Service has a sidecar, so the gateway cannot reach any; it is exported all the same.",
    Reason.MTLS_DISABLED: "A PeerAuthentication, or a DestinationRule of others (`tls.mode`), which the message names, turns mTLS off, without which nothing passes from mesh to mesh. An export leaves the ports out that are served so; an import is not written where clients would speak plaintext to the remote's gateway, and with clients of some namespaces alone it is written, and not for those; with mTLS off in the whole mesh, remotes are not reached, nor is this mesh's discovery service.",
    Reason.HIDDEN_FROM_GATEWAY: "The exported Service's annotation `networking.istio.io/exportTo`, or without it `defaultServiceExportTo` of the mesh's configuration, leaves the gateway's namespace out, so the gateway passes no calls on to it; it is exported all the same.",
    Reason.ROUTE_NOT_ADMITTED: "The OpenShift router refuses a Route, so that what it leads to cannot be reached; the message has the Route and what the router says.",
    Reason.GATEWAY_SERVICE_MISSING: "No Service is in front of the gateway's pods; behind an OpenShift router, none of the name that Routes lead to.",
    Reason.GATEWAY_PORT_MISSING: "The gateway's Service lacks the port that `ingress.gateway.portConfig` states.",
    Reason.GATEWAY_ADDRESS_MISSING: "The gateway's Service has no address outside the cluster, or none yet.",
    Reason.GATEWAY_PODS_MISSING: "No pod has the labels of `ingress.gateway.selector`.",
    Reason.GATEWAY_PODS_NOT_READY: "None of the gateway's pods is ready.",
    Reason.GATEWAY_CROWDED: "More ports are exported than a gateway serves well; they are served all the same.",
    Reason.CONNECTED: "The remote's discovery service is connected.",
    Reason.CONNECTING: "The first connection is being made.",
    Reason.UNREACHABLE: "The remote's discovery service cannot be reached; its imports stay as they are.",
    Reason.PERMISSION_DENIED: "The remote does not know our identity: it needs a RemoteMesh that names it.",
    Reason.SYNCED: "All that the remote offers has been received.",
    Reason.NOT_SYNCED: "The remote's whole offer has not been received on this connection yet.",
    Reason.WITHDRAWAL_HELD: "The remote withdrew so much at once that it is held for a while; the message says until when and how to let it through.",
    Reason.THROTTLED: "The remote keeps changing more hosts a second than are taken; its changes wait for their turn.",
    Reason.STALE: "The remote has been away for longer than its staleness policy allows.",
    Reason.PUBLISH_ONLY: "The RemoteMesh has no `import`, so nothing is imported from it.",
    Reason.IMPORTS_NOT_REACHED: "The remote is connected and in sync, and behind its gateway nobody answers for some of its imports, or somebody else; the message names them, and says why for the first. It is these imports' trouble, so `Ready` stays True.",
    Reason.NAME_CONFLICT: "The RemoteMesh has the name or the network of this mesh or of an older RemoteMesh.",
    Reason.IDENTITY_UNIQUE: "Callers with the remote's identity are this remote and no other.",
    Reason.IDENTITY_AMBIGUOUS: "Another RemoteMesh, or this mesh, has the same identity, so callers cannot be told apart.",
    Reason.IDENTITY_SHADOWED: "The remote's trust domain is `cluster.local` and this mesh's is not: Istio takes callers of it for this mesh's own, so the remote is refused.",
    Reason.SUBSCRIBED: "The remote's controller subscribes to what this mesh exports.",
    Reason.NOT_SUBSCRIBED: "Nobody with the remote's identity has subscribed to what this mesh exports for half a minute. That is as it should be where the remote imports nothing.",
    Reason.SUBSCRIBERS_UNKNOWN: "It is not known who subscribes: this controller has only begun to look, or the Leases cannot be written or watched by which its replicas say so.",
    Reason.ACCEPTED: "The offer is imported.",
    Reason.HOST_SHARED: "The offer is imported, and a ServiceEntry that is not ours has the host too; the message names it, and says which of them clients are served by.",
    Reason.PORTS_LEFT_OUT: "The offer is imported without some of its ports; the message names them, and says why for each.",
    Reason.REMOTE_MISSING: "There is no RemoteMesh of that name.",
    Reason.NOT_IMPORTED: "The RemoteMesh imports nothing.",
    Reason.DENIED_BY_RULE: "A rule denies it or all of its ports, or there are rules and none matches.",
    Reason.PROTECTED_NAMESPACE: "Remotes may not put hosts into that namespace unless an import rule names it outright.",
    Reason.LIMIT_EXCEEDED: "The remote has as many imported hosts as `import.limit` allows.",
    Reason.INVALID_HOST: "The host is not a Service of the remote's cluster domain, and no rule says what it becomes.",
    Reason.INVALID_PORTS: "The announced ports cannot be used.",
    Reason.PORT_CONFLICT: "Another remote offered the host first, and this one lacks a port that the first serves, or serves it by another protocol; the message names it. Where it is the other way round, and only this one has a port, that port alone is left out.",
    Reason.SNI_CONFLICT: "The exporter answers to another SNI than the host can be called by: it offers the host under an alias where a local Service has it, or another remote behind an ingress of another type offered it first.",
    Reason.SNI_OVERRIDDEN: "Another DestinationRule for the host takes the place of the one that states the SNI of the remote's ingress, or states another SNI; the message names it. Where that is so for clients of some namespaces alone, the offer is imported, and not for those.",
    Reason.TRAFFIC_POLICY_OVERRIDDEN: "The offer is imported, and another DestinationRule for the host takes the place of the one with `trafficPolicy` of its RemoteMesh; the message names it, and says what does not count: without outlierDetection there is no failover by locality.",
    Reason.PLAINTEXT_ENDPOINTS: "The local Service has pods without a sidecar, with which the DestinationRule that states the remote's SNI would have everybody speak mTLS.",
    Reason.SELECTOR_SHARED: "Another Service or ServiceEntry selects the same labels and would pick up the remote's endpoints.",
    Reason.LOCAL_SERVICE_EXISTS: "A local Service has that name, and `merge` is not set.",
    Reason.LOCAL_SERVICE_UNUSABLE: "The local Service of that name cannot take endpoints from a WorkloadEntry.",
    Reason.ALREADY_IMPORTED: "The host is imported from another remote, and `merge` is not set.",
    Reason.IDENTITY_MISMATCH: "The identities that serve the host cannot be stated on a WorkloadEntry of the local Service: they are of another namespace, or of a trust domain that is neither this mesh's nor an alias of it.",
    Reason.IDENTITY_UNKNOWN: "Nobody says who serves the host in the remote, and callers here would accept the accounts of the local Service alone: state them in `subjectAltNames` of an import rule.",
    Reason.TCP_NOT_ALLOWED: "Every port is plain TCP or of no stated protocol, no local Service has the host, and `allowTCP` is not set.",
    Reason.UNRESOLVED: "The remote's address is a host name that has not been resolved yet.",
    Reason.ANSWERED: "A handshake by every way was answered by whom it should be, with a certificate that is valid and of a trusted root.",
    Reason.NOT_PROBED: "Not every way was tried yet, or none can be: without roots to compare with, where this controller's own sidecar lets nothing through, or where TLS 1.3 is not taken, as with FIPS. The message says which.",
    Reason.NAME_NOT_RESOLVED: "DNS has no address for the host name of the remote's gateway.",
    Reason.GATEWAY_NOT_REACHED: "Nobody takes a connection at an address of the remote's gateway: a wrong address or port, a firewall, or the gateway is down.",
    Reason.NOT_PASSED_ON: "The remote's gateway closed the connection when it had seen the SNI: what was asked for is not exported there, or no ready pod with a sidecar is behind it; or it is another gateway than is meant.",
    Reason.NO_CERTIFICATE: "The remote's gateway took the connection, and nobody behind it answered.",
    Reason.NO_MUTUAL_TLS: "Whoever answers does not speak TLS: no gateway that passes TLS on, or a workload that takes plaintext alone.",
    Reason.ROOT_NOT_TRUSTED: "The certificate was signed by a root that this mesh does not trust.",
    Reason.CERTIFICATE_NOT_VALID: "The certificate has expired, or is not valid yet.",
    Reason.UNEXPECTED_IDENTITY: "Somebody else answers than who is announced or stated to serve it; the message names both.",
}
"""What each reason means, for the documentation."""


DENIALS: Final = frozenset({Reason.DENIED_BY_RULE, Reason.NOT_IMPORTED})
"""Why an offer is not imported that somebody did not want: any other reason may take them by surprise."""


RESERVED: Final = frozenset(
    {
        Reason.GATEWAY_CROWDED,
        Reason.ROOT_NAMESPACE_ELSEWHERE,
        Reason.IMPORTS_NOT_REACHED,
        Reason.HOST_SHARED,
        Reason.PORTS_LEFT_OUT,
        Reason.TRAFFIC_POLICY_OVERRIDDEN,
        Reason.MTLS_DISABLED,
        Reason.SNI_OVERRIDDEN,
    }
)
"""Reasons of what is True and not all well."""


BROKEN: Final = frozenset(
    {
        Reason.NAME_NOT_RESOLVED,
        Reason.GATEWAY_NOT_REACHED,
        Reason.NOT_PASSED_ON,
        Reason.NO_CERTIFICATE,
        Reason.NO_MUTUAL_TLS,
        Reason.ROOT_NOT_TRUSTED,
        Reason.CERTIFICATE_NOT_VALID,
        Reason.UNEXPECTED_IDENTITY,
    }
)
"""What may be wrong with a way into a remote mesh."""


class EventReason(StrEnum):
    """What an Event tells of."""

    EXPORTED = "Exported"
    UNEXPORTED = "Unexported"
    NOT_EXPORTED = "NotExported"
    STILL_IMPORTED = "StillImported"
    IMPORTED = "Imported"
    HOST_SHARED = "HostShared"
    PORTS_LEFT_OUT = "PortsLeftOut"
    TRAFFIC_POLICY_OVERRIDDEN = "TrafficPolicyOverridden"
    DENIED = "Denied"
    IMPORT_FAILED = "ImportFailed"
    WITHDRAWN = "Withdrawn"
    REMOTE_FOUND = "RemoteFound"
    REMOTE_LOST = "RemoteLost"
    WITHDRAWAL_HELD = "WithdrawalHeld"
    THROTTLED = "Throttled"
    STALE = "Stale"
    IDENTITY_SHADOWED = "IdentityShadowed"
    IDENTITY_AMBIGUOUS = "IdentityAmbiguous"
    READY = "Ready"
    IMPORTS_NOT_REACHED = "ImportsNotReached"
    NOT_READY = "NotReady"


EVENTS: Final[dict[EventReason, str]] = {
    EventReason.EXPORTED: "On a Service or ServiceExport: it is offered to other meshes from now on.",
    EventReason.UNEXPORTED: "On a Service: it is not offered any more; the message says why.",
    EventReason.NOT_EXPORTED: "On a Service or ServiceExport: it is selected for export and cannot be; the message begins with the reason.",
    EventReason.STILL_IMPORTED: "On a Service, and on the MeshFederation where the Service is gone: it is not offered any more to remotes that said that they import it; the message names them. Their callers lose it, unless something else serves its host there.",
    EventReason.IMPORTED: "On a FederatedService: its Istio objects are in place; the message lists them.",
    EventReason.HOST_SHARED: "On a FederatedService: it is imported, and somebody else's ServiceEntry has its host too.",
    EventReason.PORTS_LEFT_OUT: "On a FederatedService: it is imported without some of its ports; the message says why.",
    EventReason.TRAFFIC_POLICY_OVERRIDDEN: "On a FederatedService: it is imported, and somebody else's DestinationRule takes the place of the one with `trafficPolicy` of its RemoteMesh.",
    EventReason.DENIED: "On a FederatedService: the offer is not imported; the message begins with the reason. A warning unless a rule says so.",
    EventReason.IMPORT_FAILED: "On a FederatedService: its Istio objects are not in place; the message begins with the reason.",
    EventReason.WITHDRAWN: "On a FederatedService, which is gone: its remote does not offer it to this mesh any more; `meshfed explain` says when.",
    EventReason.REMOTE_FOUND: "On a RemoteMesh: its discovery service is connected, for the first time or again.",
    EventReason.REMOTE_LOST: "On a RemoteMesh: its discovery service is not reached, or refuses us; imports stay.",
    EventReason.WITHDRAWAL_HELD: "On a RemoteMesh: it withdrew so much at once that it is held; the message says how to let it through.",
    EventReason.THROTTLED: "On a RemoteMesh: it changes more than is taken, and waits for its turn.",
    EventReason.STALE: "On a RemoteMesh: it has been away for longer than its staleness policy allows.",
    EventReason.IDENTITY_SHADOWED: "On a RemoteMesh: Istio here takes callers from it for callers of this mesh, so it is refused.",
    EventReason.IDENTITY_AMBIGUOUS: "On a RemoteMesh: callers with its identity cannot be told from others.",
    EventReason.READY: "On a MeshFederation: all that it asks for is in place.",
    EventReason.IMPORTS_NOT_REACHED: "On a RemoteMesh: it is ready, and the way to some of its imports has been broken for a while; the message names them, and says why the first is not reached.",
    EventReason.NOT_READY: "On a MeshFederation or RemoteMesh: something stands in the way; the message begins with the reason.",
}
"""What each Event tells, for the documentation."""


class EventRecord(msgspec.Struct, frozen=True):
    """Something worth an Event; ``warns`` where a person may have to act."""

    reason: EventReason
    message: str
    warns: bool = False


class Condition(msgspec.Struct, frozen=True, gc=False):
    """What holds of an object, not yet stamped with a time: ``status``, a reason, and a message for a person."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Yes or no with a reason and a sentence."""

    accepted: bool
    reason: Reason
    message: str = ""

"""The kinds of the core group that are not about pods, and what describes them to others: leases, events, slices."""

from __future__ import annotations

from typing import Final

from meshfed_sandbox.apiserver.builtin_language import kinds
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = ["COMMON", "SCHEMAS"]

COMMON: Final = """
LabelSelector atomic: Selects objects by their labels; all its parts must match.
  matchExpressions [LabelSelectorRequirement] # Requirements on keys and sets of values.
  matchLabels {string} # Keys and the values they must have.
LabelSelectorRequirement: One requirement of a selector.
  key! string # The label's key.
  operator! string # In, NotIn, Exists or DoesNotExist.
  values [string] # What to compare with; none for Exists and DoesNotExist.
StatusCondition: One aspect of the current state.
  lastHeartbeatTime time # When it was last reported.
  lastProbeTime time # When it was last looked at.
  lastTransitionTime time # When the status last changed.
  lastUpdateTime time # When it was last written.
  message string # Details, for people.
  observedGeneration int # The generation of the object it is about.
  reason string # Why, as one word for machines.
  status string # True, False or Unknown.
  type string # Which aspect.
ObjectReference atomic: Points at another object.
  apiVersion string # API version of the other object.
  fieldPath string # A part of it, such as spec.containers{name}.
  kind string # Its kind.
  name string # Its name.
  namespace string # Its namespace.
  resourceVersion string # The version that was meant.
  uid string # Its identity.
LocalObjectReference atomic: Points at an object in the same namespace.
  name string # Its name.
"""

_CORE: Final = """
Namespace: A space for names; objects in different namespaces may have the same name.
  spec NamespaceSpec {} # How it should be.
  status NamespaceStatus {} # How it is.
NamespaceSpec: How a namespace should be.
  finalizers [string] # Who must agree before it may go.
NamespaceStatus: How a namespace is.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  phase string Active|Terminating # Whether it is in use or going away.
Service: A name and address for a set of pods that do the same.
  spec ServiceSpec {} # How it should be.
  status ServiceStatus {} # How it is.
ServiceSpec: How a service should be.
  allocateLoadBalancerNodePorts bool # Whether a LoadBalancer gets node ports too.
  clusterIP string # Its address inside the cluster; None for a headless service.
  clusterIPs [string] # Its addresses inside the cluster, one per IP family.
  externalIPs [string] # Further addresses whose traffic nodes accept.
  externalName string # What an ExternalName service is an alias of.
  externalTrafficPolicy string Cluster|Local # Whether outside traffic stays on the node it came to.
  healthCheckNodePort int 0..65535 # Port on which nodes say whether they have endpoints.
  internalTrafficPolicy string Cluster|Local # Whether inside traffic stays on its node.
  ipFamilies [string] # IPv4, IPv6 or both.
  ipFamilyPolicy string PreferDualStack|RequireDualStack|SingleStack # Whether both IP families are wanted.
  loadBalancerClass string # Which implementation provides the load balancer.
  loadBalancerIP string # A wish for the load balancer's address; deprecated.
  loadBalancerSourceRanges [string] # Who may reach the load balancer.
  ports [ServicePort] map(port,protocol) merge(port) unique # The ports it offers.
  publishNotReadyAddresses bool # Whether pods count before they are ready.
  selector {string} atomic # Labels of the pods behind it.
  sessionAffinity string ClientIP|None =None # Whether a client keeps its pod.
  sessionAffinityConfig SessionAffinityConfig # Details of the affinity.
  trafficDistribution string # Which endpoints are preferred, such as PreferClose.
  type string ClusterIP|ExternalName|LoadBalancer|NodePort =ClusterIP # How it is exposed.
ServicePort: One port of a service.
  appProtocol string # The application protocol, such as http or kubernetes.io/h2c.
  name string # Its name, needed where there are several ports.
  nodePort int 0..65535 # The port on every node, for NodePort and LoadBalancer.
  port! int 1..65535 # The port clients connect to.
  protocol string SCTP|TCP|UDP =TCP # Its transport protocol.
  targetPort intstr # Number or name of the pods' port; the service's own where not given.
SessionAffinityConfig: Details of session affinity.
  clientIP ClientIPConfig # Affinity by client address.
ClientIPConfig: Affinity by client address.
  timeoutSeconds int 1..86400 # How long a client keeps its pod.
ServiceStatus: How a service is.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  loadBalancer LoadBalancerStatus {} # Where the load balancer answers.
LoadBalancerStatus: Where a load balancer answers.
  ingress [LoadBalancerIngress] # Its points of entry.
LoadBalancerIngress: One point of entry.
  hostname string # Its host name.
  ip string # Its address.
  ipMode string # VIP or Proxy.
  ports [PortStatus] # State of its ports.
PortStatus: State of one port.
  error string # What is wrong with it.
  port int # Which port.
  protocol string SCTP|TCP|UDP # Its transport protocol.
Endpoints: The addresses behind a service; EndpointSlice is its successor.
  subsets [EndpointSubset] # Addresses that share the same ports.
EndpointSubset: Addresses that share the same ports.
  addresses [EndpointAddress] # Those that are ready.
  notReadyAddresses [EndpointAddress] # Those that are not.
  ports [EndpointPort] # The ports they all have.
EndpointAddress atomic: One address behind a service.
  hostname string # Its host name.
  ip! string # The address.
  nodeName string # The node it is on.
  targetRef ObjectReference # What has this address, usually a pod.
EndpointPort atomic: One port of endpoints.
  appProtocol string # The application protocol.
  name string # The service port it belongs to.
  port! int 1..65535 # The number.
  protocol string SCTP|TCP|UDP =TCP # Its transport protocol.
ServiceAccount: An identity for what runs in pods.
  automountServiceAccountToken bool # Whether pods get its token mounted.
  imagePullSecrets [LocalObjectReference] # Secrets for pulling its pods' images.
  secrets [ObjectReference] map(name) merge(name) # Secrets its pods may use.
ConfigMap: Configuration for pods.
  binaryData {bytes} # Data that is no text, in base64.
  data {string} # The configuration.
  immutable bool # Whether the data may never change.
Secret: Confidential data for pods.
  data {bytes} # The data, in base64.
  immutable bool # Whether the data may never change.
  stringData {string} # Data as plain text, put into data when written.
  type string =Opaque # What it is for.
Event: Something that happened to an object.
  action string # What was done.
  count int # How often it happened.
  eventTime time # When it was first seen.
  firstTimestamp time # When it first happened.
  involvedObject ObjectReference {} # What it is about.
  lastTimestamp time # When it last happened.
  message string # What happened, for people.
  reason string # Why, as one word for machines.
  related ObjectReference # Another object that plays a part.
  reportingComponent string = # Which controller says so.
  reportingInstance string = # Which instance of it.
  series EventSeries # How it repeats.
  source EventSource {} # Who says so.
  type string # Normal or Warning.
EventSeries: How an event repeats.
  count int # How often so far.
  lastObservedTime time # When it was last seen.
EventSource: Who reports an event.
  component string # Which component.
  host string # On which node.
Node: A machine that runs pods.
  spec NodeSpec {} # How it should be.
  status NodeStatus {} # How it is.
NodeSpec: How a node should be.
  externalID string # No longer used.
  podCIDR string # Addresses of its pods.
  podCIDRs [string] set merge # Addresses of its pods, one range per IP family.
  providerID string # Its name at the cloud provider.
  taints [Taint] # What keeps pods away from it.
  unschedulable bool # Whether new pods are kept away.
Taint: Keeps pods that do not tolerate it away from a node.
  effect! string NoExecute|NoSchedule|PreferNoSchedule # What happens to them.
  key! string # Its key.
  timeAdded time # When it was added.
  value string # Its value.
NodeStatus: How a node is.
  addresses [NodeAddress] map(type) merge(type) # Where it is reached.
  allocatable {quantity} # Resources for pods.
  capacity {quantity} # Resources in all.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  daemonEndpoints NodeDaemonEndpoints {} # Ports of its daemons.
  images [ContainerImage] # Images it has.
  nodeInfo NodeSystemInfo {} # What it runs on.
  phase string Pending|Running|Terminated # No longer used.
  volumesAttached [AttachedVolume] # Volumes attached to it.
  volumesInUse [string] # Volumes it uses.
NodeAddress: Where a node is reached.
  address! string # The address.
  type! string # Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS.
NodeDaemonEndpoints: Ports of a node's daemons.
  kubeletEndpoint DaemonEndpoint {} # The kubelet's.
DaemonEndpoint: Port of a daemon.
  Port int =0 # The number.
ContainerImage: An image on a node.
  names [string] # Its names.
  sizeBytes int # Its size.
NodeSystemInfo: What a node runs on.
  architecture string = # Of the processor.
  bootID string = # Changes with every boot.
  containerRuntimeVersion string = # Name and version of the container runtime.
  kernelVersion string = # Of the kernel.
  kubeProxyVersion string = # Deprecated.
  kubeletVersion string = # Of the kubelet.
  machineID string = # Of the machine.
  operatingSystem string = # Such as linux.
  osImage string = # Name of the distribution.
  systemUUID string = # Of the hardware.
AttachedVolume: A volume attached to a node.
  devicePath string # Where.
  name string # Which.
"""

_COORDINATION: Final = """
Lease: A claim on a role, such as leadership, for a limited time.
  spec LeaseSpec {} # Who holds it, and until when.
LeaseSpec: Who holds a lease, and until when.
  acquireTime time # When the holder got it.
  holderIdentity string # Who holds it.
  leaseDurationSeconds int 1.. # How long it holds without renewal.
  leaseTransitions int 0.. # How often the holder changed.
  preferredHolder string # Who should have it next.
  renewTime time # When it was last renewed.
  strategy string # How the next holder is chosen.
"""

_DISCOVERY: Final = """
EndpointSlice: Some of the addresses behind a service.
  addressType! string FQDN|IPv4|IPv6 # What kind of addresses.
  endpoints [Endpoint] # The endpoints.
  ports [EndpointPort] # The ports they all have.
Endpoint: One endpoint.
  addresses! [string] set # Its addresses; they are the same to a client.
  conditions EndpointConditions {} # What state it is in.
  deprecatedTopology {string} # No longer used.
  hints EndpointHints # Who should use it.
  hostname string # Its host name.
  nodeName string # The node it is on.
  targetRef ObjectReference # What it is, usually a pod.
  zone string # The zone it is in.
EndpointConditions: What state an endpoint is in.
  ready bool # Whether it may get traffic.
  serving bool # Whether it answers, be it terminating or not.
  terminating bool # Whether it is going away.
EndpointHints: Who should use an endpoint.
  forNodes [ForName] # Nodes whose clients should.
  forZones [ForName] # Zones whose clients should.
ForName: A node or zone.
  name! string # Its name.
EndpointPort atomic: One port of endpoints.
  appProtocol string # The application protocol.
  name string = # The service port it belongs to.
  port int 1..65535 # The number.
  protocol string SCTP|TCP|UDP =TCP # Its transport protocol.
"""

_EVENTS: Final = """
Event: Something that happened to an object.
  action string # What was done.
  deprecatedCount int # How often it happened; of the older API.
  deprecatedFirstTimestamp time # When it first happened; of the older API.
  deprecatedLastTimestamp time # When it last happened; of the older API.
  deprecatedSource EventSource {} # Who says so; of the older API.
  eventTime time # When it was first seen.
  note string # What happened, for people.
  reason string # Why, as one word for machines.
  regarding ObjectReference {} # What it is about.
  related ObjectReference # Another object that plays a part.
  reportingController string # Which controller says so.
  reportingInstance string # Which instance of it.
  series EventSeries # How it repeats.
  type string # Normal or Warning.
EventSeries: How an event repeats.
  count int # How often so far.
  lastObservedTime time # When it was last seen.
EventSource: Who reports an event.
  component string # Which component.
  host string # On which node.
"""

SCHEMAS: Final[dict[str, JsonObject]] = {
    **kinds(
        "/v1",
        ["Namespace", "Service", "Endpoints", "ServiceAccount", "ConfigMap", "Secret", "Event", "Node"],
        COMMON,
        _CORE,
    ),
    **kinds("coordination.k8s.io/v1", ["Lease"], COMMON, _COORDINATION),
    **kinds("discovery.k8s.io/v1", ["EndpointSlice"], COMMON, _DISCOVERY),
    **kinds("events.k8s.io/v1", ["Event"], COMMON, _EVENTS),
}

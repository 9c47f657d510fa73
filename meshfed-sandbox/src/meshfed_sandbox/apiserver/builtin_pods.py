"""The Pod, and the pod template that all workloads share."""

from __future__ import annotations

from typing import Final

from meshfed_sandbox.apiserver.builtin_containers import CONTAINERS, VOLUMES
from meshfed_sandbox.apiserver.builtin_core import COMMON
from meshfed_sandbox.apiserver.builtin_language import kinds
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = ["POD_SPEC", "SCHEMAS"]

_SCHEDULING: Final = """
Affinity: Where a pod would rather run.
  nodeAffinity NodeAffinity # By the node.
  podAffinity PodAffinity # Near other pods.
  podAntiAffinity PodAffinity # Away from other pods.
NodeAffinity: Nodes a pod would rather run on.
  preferredDuringSchedulingIgnoredDuringExecution [PreferredSchedulingTerm] # Preferred ones.
  requiredDuringSchedulingIgnoredDuringExecution NodeSelector # Required ones.
PreferredSchedulingTerm: Nodes that are preferred.
  preference NodeSelectorTerm {} # Which.
  weight! int 1..100 # How much.
NodeSelector atomic: Selects nodes; one of its terms must match.
  nodeSelectorTerms! [NodeSelectorTerm] # The terms.
NodeSelectorTerm atomic: Selects nodes; all its parts must match.
  matchExpressions [NodeSelectorRequirement] # By labels.
  matchFields [NodeSelectorRequirement] # By fields.
NodeSelectorRequirement: One requirement of a node selector.
  key! string # Label or field.
  operator! string DoesNotExist|Exists|Gt|In|Lt|NotIn # How to compare.
  values [string] # What to compare with.
PodAffinity: Pods to be near to, or away from.
  preferredDuringSchedulingIgnoredDuringExecution [WeightedPodAffinityTerm] # Preferably.
  requiredDuringSchedulingIgnoredDuringExecution [PodAffinityTerm] # Strictly.
WeightedPodAffinityTerm: Pods, with a weight.
  podAffinityTerm PodAffinityTerm {} # Which.
  weight! int 1..100 # How much.
PodAffinityTerm: Selects pods, and what "near" means.
  labelSelector LabelSelector # Which pods.
  matchLabelKeys [string] # Labels whose values are taken from the pod itself.
  mismatchLabelKeys [string] # Labels whose values must differ from the pod's own.
  namespaceSelector LabelSelector # In which namespaces.
  namespaces [string] # In which namespaces, by name.
  topologyKey! string # The node label whose value must be the same.
Toleration: A taint that does not keep the pod away.
  effect string NoExecute|NoSchedule|PreferNoSchedule # Which effect; all where not given.
  key string # Which key; all where not given.
  operator string Equal|Exists # How to compare the value.
  tolerationSeconds int # For how long.
  value string # Which value.
TopologySpreadConstraint: How pods spread over the cluster.
  labelSelector LabelSelector # Which pods count.
  matchLabelKeys [string] # Labels whose values are taken from the pod itself.
  maxSkew! int 1.. # How uneven it may be.
  minDomains int 1.. # How many domains there should be.
  nodeAffinityPolicy string Honor|Ignore # Whether node affinity counts.
  nodeTaintsPolicy string Honor|Ignore # Whether taints count.
  topologyKey! string # The node label that makes domains.
  whenUnsatisfiable! string DoNotSchedule|ScheduleAnyway # What if it cannot be met.
HostAlias: An entry of the pod's hosts file.
  hostnames [string] # The names.
  ip! string # The address.
PodDNSConfig: Resolver settings.
  nameservers [string] # DNS servers.
  options [PodDNSConfigOption] # Options.
  searches [string] # Search domains.
PodDNSConfigOption: A resolver option.
  name string # Its name.
  value string # Its value.
PodOS: The operating system a pod needs.
  name! string # linux or windows.
PodReadinessGate: A condition the pod must have to be ready.
  conditionType! string # Which.
PodResourceClaim: A device claimed by a pod.
  name! string # Its name in the pod.
  resourceClaimName string # An existing claim.
  resourceClaimTemplateName string # A template to make one from.
PodSchedulingGate: Holds scheduling back.
  name! string # Its name.
PodSecurityContext: What all containers of a pod are allowed to do.
  appArmorProfile SecurityProfile # AppArmor profile.
  fsGroup int 0.. # Group that owns the volumes.
  fsGroupChangePolicy string Always|OnRootMismatch # When the group is changed.
  runAsGroup int 0.. # Group id.
  runAsNonRoot bool # Whether no container may be root.
  runAsUser int 0.. # User id.
  seLinuxChangePolicy string # How volumes are labelled.
  seLinuxOptions SELinuxOptions # SELinux context.
  seccompProfile SecurityProfile # Seccomp profile.
  supplementalGroups [int] # Further groups.
  supplementalGroupsPolicy string Merge|Strict # Whether the image's groups count.
  sysctls [Sysctl] # Kernel parameters.
  windowsOptions WindowsSecurityContextOptions # On Windows.
Sysctl: A kernel parameter.
  name! string # Its name.
  value! string # Its value.
"""

_SPEC: Final = """
PodTemplateSpec: What pods are made from.
  metadata metadata {} # Labels and annotations of the pods.
  spec PodSpec {} # How the pods should be.
PodSpec: How a pod should be.
  activeDeadlineSeconds int 1.. # Seconds it may run.
  affinity Affinity # Where it would rather run.
  automountServiceAccountToken bool # Whether the service account's token is mounted.
  containers! [Container] map(name) merge(name) unique # Its containers.
  dnsConfig PodDNSConfig # Resolver settings.
  dnsPolicy string ClusterFirst|ClusterFirstWithHostNet|Default|None =ClusterFirst # Where they come from.
  enableServiceLinks bool # Whether services appear as environment variables.
  ephemeralContainers [EphemeralContainer] map(name) merge(name) unique # Containers for debugging.
  hostAliases [HostAlias] map(ip) merge(ip) # Entries of the hosts file.
  hostIPC bool # Whether it shares the node's IPC.
  hostNetwork bool # Whether it shares the node's network.
  hostPID bool # Whether it shares the node's processes.
  hostUsers bool # Whether it shares the node's users.
  hostname string # Its host name.
  hostnameOverride string # Its whole host name.
  imagePullSecrets [LocalObjectReference] map(name) merge(name) # Secrets for pulling images.
  initContainers [Container] map(name) merge(name) unique # Run in order before the others start.
  nodeName string # The node it is on.
  nodeSelector {string} atomic # Labels its node must have.
  os PodOS # The operating system it needs.
  overhead {quantity} # What running it costs beyond its containers.
  preemptionPolicy string Never|PreemptLowerPriority # Whether it may push others out.
  priority int # Its priority.
  priorityClassName string # Name of its priority.
  readinessGates [PodReadinessGate] # Further conditions for being ready.
  resourceClaims [PodResourceClaim] map(name) merge(name) retain # Devices it claims.
  resources ResourceRequirements # What all containers need and may use together.
  restartPolicy string Always|OnFailure|Never =Always # Whether ended containers start again.
  runtimeClassName string # How its containers are run.
  schedulerName string =default-scheduler # Who finds a node for it.
  schedulingGates [PodSchedulingGate] map(name) merge(name) # What scheduling waits for.
  securityContext PodSecurityContext # What its containers are allowed to do.
  serviceAccount string # Older name of serviceAccountName.
  serviceAccountName string # Its identity.
  setHostnameAsFQDN bool # Whether its host name is its full name.
  shareProcessNamespace bool # Whether containers see each other's processes.
  subdomain string # Part of its full host name.
  terminationGracePeriodSeconds int 0.. =30 # Seconds to end in.
  tolerations [Toleration] # Taints that do not keep it away.
  topologySpreadConstraints [TopologySpreadConstraint] map(topologyKey,whenUnsatisfiable) merge(topologyKey) # Spread.
  volumes [Volume] map(name) merge(name) retain unique # Its volumes.
  workloadRef WorkloadReference # The workload it is scheduled with.
WorkloadReference: The workload a pod is scheduled with.
  name! string # Its name.
  podGroup! string # The group of pods.
  podGroupReplicaKey string # The replica of the group.
"""

_POD: Final = """
Pod: A group of containers that run together and share an address.
  spec PodSpec {} # How it should be.
  status PodStatus {} # How it is.
PodStatus: How a pod is.
  allocatedResources {quantity} # Resources it got.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  containerStatuses [ContainerStatus] # How its containers are.
  ephemeralContainerStatuses [ContainerStatus] # How its ephemeral containers are.
  hostIP string # Address of its node.
  hostIPs [HostIP] merge(ip) # Addresses of its node.
  initContainerStatuses [ContainerStatus] # How its init containers are.
  message string # Details, for people.
  nominatedNodeName string # The node it waits for.
  observedGeneration int # The generation it is about.
  phase string Failed|Pending|Running|Succeeded|Unknown # Where it is in its life.
  podIP string # Its address.
  podIPs [HostIP] map(ip) merge(ip) # Its addresses, one per IP family.
  qosClass string BestEffort|Burstable|Guaranteed # Who goes first when resources run out.
  reason string # Why, as one word for machines.
  resize string # State of a change of resources.
  resourceClaimStatuses [PodResourceClaimStatus] map(name) merge(name) retain # Its claims.
  resources ResourceRequirements # What it really has.
  startTime time # When it was first seen by its node.
HostIP: An address.
  ip! string # The address.
PodResourceClaimStatus: State of a claim.
  name! string # Its name in the pod.
  resourceClaimName string # The claim.
ContainerStatus: How a container is.
  allocatedResources {quantity} # Resources it got.
  containerID string # Its identity on the node.
  image string = # The image it runs.
  imageID string = # The exact image.
  lastState ContainerState {} # How it was before the last restart.
  name string # Its name.
  ready bool =false # Whether it is ready.
  resources ResourceRequirements # What it really has.
  restartCount int =0 # How often it was restarted.
  started bool # Whether it has started.
  state ContainerState {} # What it does.
  stopSignal string # The signal that ends it.
  user ContainerUser # Who it runs as.
  volumeMounts [VolumeMountStatus] map(mountPath) merge(mountPath) # Its mounts.
ContainerState: What a container does; one of these.
  running ContainerStateRunning # It runs.
  terminated ContainerStateTerminated # It ended.
  waiting ContainerStateWaiting # It waits.
ContainerStateRunning: A container that runs.
  startedAt time # Since when.
ContainerStateTerminated: A container that ended.
  containerID string # Its identity on the node.
  exitCode int =0 # Its exit code.
  finishedAt time # When.
  message string # Details, for people.
  reason string # Why.
  signal int # Which signal ended it.
  startedAt time # When it had started.
ContainerStateWaiting: A container that waits.
  message string # Details, for people.
  reason string # Why.
ContainerUser: Who a container runs as.
  linux LinuxContainerUser # On Linux.
LinuxContainerUser: Who a container runs as, on Linux.
  gid int =0 # Group id.
  supplementalGroups [int] # Further groups.
  uid int =0 # User id.
VolumeMountStatus: State of a mount.
  mountPath string # Where.
  name string # Which volume.
  readOnly bool # Whether it is read-only.
  recursiveReadOnly string # Whether mounts below are read-only too.
"""

POD_SPEC: Final = COMMON + CONTAINERS + VOLUMES + _SCHEDULING + _SPEC

SCHEMAS: Final[dict[str, JsonObject]] = kinds("/v1", ["Pod"], POD_SPEC, _POD)

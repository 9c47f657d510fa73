"""The kinds that make pods, and the budget for taking them away."""

from __future__ import annotations

from typing import Final

from meshfed_sandbox.apiserver.builtin_language import kinds
from meshfed_sandbox.apiserver.builtin_pods import POD_SPEC
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = ["SCHEMAS"]

_APPS: Final = """
Deployment: Pods of the same kind, replaced step by step when the template changes.
  spec DeploymentSpec {} # How it should be.
  status DeploymentStatus {} # How it is.
DeploymentSpec: How a deployment should be.
  minReadySeconds int 0.. # Seconds a pod must be ready to count.
  paused bool # Whether changes wait.
  progressDeadlineSeconds int 0.. =600 # Seconds without progress until it has failed.
  replicas int 0.. =1 # How many pods.
  revisionHistoryLimit int 0.. =10 # How many old versions are kept.
  selector! LabelSelector # Which pods are its own; never changes.
  strategy DeploymentStrategy retain {} # How pods are replaced.
  template! PodTemplateSpec {} # What its pods are made from.
DeploymentStrategy: How pods are replaced.
  rollingUpdate RollingUpdate # Details of a rolling update.
  type string Recreate|RollingUpdate =RollingUpdate # All at once or step by step.
RollingUpdate: Details of a rolling update.
  maxSurge intstr # How many more than wanted there may be.
  maxUnavailable intstr # How many fewer than wanted there may be.
DeploymentStatus: How a deployment is.
  availableReplicas int # Pods that have been ready long enough.
  collisionCount int # Counts name collisions.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  observedGeneration int # The generation it is about.
  readyReplicas int # Pods that are ready.
  replicas int # Pods there are.
  terminatingReplicas int # Pods that are going away.
  unavailableReplicas int # Pods that are missing.
  updatedReplicas int # Pods of the current template.
ReplicaSet: A number of pods of the same kind.
  spec ReplicaSetSpec {} # How it should be.
  status ReplicaSetStatus {} # How it is.
ReplicaSetSpec: How a replica set should be.
  minReadySeconds int 0.. # Seconds a pod must be ready to count.
  replicas int 0.. =1 # How many pods.
  selector! LabelSelector # Which pods are its own; never changes.
  template PodTemplateSpec {} # What its pods are made from.
ReplicaSetStatus: How a replica set is.
  availableReplicas int # Pods that have been ready long enough.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  fullyLabeledReplicas int # Pods with all labels of the template.
  observedGeneration int # The generation it is about.
  readyReplicas int # Pods that are ready.
  replicas int =0 # Pods there are.
  terminatingReplicas int # Pods that are going away.
DaemonSet: One pod on every node.
  spec DaemonSetSpec {} # How it should be.
  status DaemonSetStatus {} # How it is.
DaemonSetSpec: How a daemon set should be.
  minReadySeconds int 0.. # Seconds a pod must be ready to count.
  revisionHistoryLimit int 0.. =10 # How many old versions are kept.
  selector! LabelSelector # Which pods are its own; never changes.
  template! PodTemplateSpec {} # What its pods are made from.
  updateStrategy DaemonSetUpdateStrategy {} # How pods are replaced.
DaemonSetUpdateStrategy: How pods are replaced.
  rollingUpdate RollingUpdate # Details of a rolling update.
  type string OnDelete|RollingUpdate =RollingUpdate # By itself or when deleted.
DaemonSetStatus: How a daemon set is.
  collisionCount int # Counts name collisions.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  currentNumberScheduled int =0 # Nodes that run the pod and should.
  desiredNumberScheduled int =0 # Nodes that should run the pod.
  numberAvailable int # Nodes whose pod has been ready long enough.
  numberMisscheduled int =0 # Nodes that run the pod and should not.
  numberReady int =0 # Nodes whose pod is ready.
  numberUnavailable int # Nodes whose pod is missing.
  observedGeneration int # The generation it is about.
  updatedNumberScheduled int # Nodes with the current template.
StatefulSet: Pods with lasting names and storage.
  spec StatefulSetSpec {} # How it should be.
  status StatefulSetStatus {} # How it is.
StatefulSetSpec: How a stateful set should be.
  minReadySeconds int 0.. # Seconds a pod must be ready to count.
  ordinals StatefulSetOrdinals # How pods are numbered.
  persistentVolumeClaimRetentionPolicy RetentionPolicy # What becomes of the claims.
  podManagementPolicy string OrderedReady|Parallel =OrderedReady # One after the other or all at once.
  replicas int 0.. =1 # How many pods.
  revisionHistoryLimit int 0.. =10 # How many old versions are kept.
  selector! LabelSelector # Which pods are its own; never changes.
  serviceName string = # The service that gives the pods their names.
  template! PodTemplateSpec {} # What its pods are made from.
  updateStrategy StatefulSetUpdateStrategy {} # How pods are replaced.
  volumeClaimTemplates [PersistentVolumeClaim] # Claims each pod gets.
StatefulSetOrdinals: How pods are numbered.
  start int 0.. =0 # The first number.
RetentionPolicy: What becomes of volume claims.
  whenDeleted string =Retain # When the set is deleted.
  whenScaled string =Retain # When it is scaled down.
StatefulSetUpdateStrategy: How pods are replaced.
  rollingUpdate RollingUpdateStatefulSetStrategy # Details of a rolling update.
  type string OnDelete|RollingUpdate =RollingUpdate # By itself or when deleted.
RollingUpdateStatefulSetStrategy: Details of a rolling update.
  maxUnavailable intstr # How many fewer than wanted there may be.
  partition int 0.. # Pods below this number stay as they are.
PersistentVolumeClaim: A claim for storage.
  apiVersion string =v1 # v1 here.
  kind string =PersistentVolumeClaim # PersistentVolumeClaim here.
  metadata metadata {} # Its name and labels.
  spec PersistentVolumeClaimSpec {} # How it should be.
  status PersistentVolumeClaimStatus {} # How it is.
PersistentVolumeClaimStatus: How a claim is.
  accessModes [string] # How it may be mounted.
  capacity {quantity} # How much it has.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  phase string Bound|Lost|Pending =Pending # Whether it got a volume.
StatefulSetStatus: How a stateful set is.
  availableReplicas int =0 # Pods that have been ready long enough.
  collisionCount int # Counts name collisions.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  currentReplicas int # Pods of the current version.
  currentRevision string # The current version.
  observedGeneration int # The generation it is about.
  readyReplicas int # Pods that are ready.
  replicas int =0 # Pods there are.
  updateRevision string # The next version.
  updatedReplicas int # Pods of the next version.
"""

_BATCH: Final = """
Job: Pods that run to completion.
  spec JobSpec {} # How it should be.
  status JobStatus {} # How it is.
JobSpec: How a job should be.
  activeDeadlineSeconds int 0.. # Seconds it may run.
  backoffLimit int 0.. # Failures until it has failed.
  backoffLimitPerIndex int 0.. # Failures until one index has failed.
  completionMode string Indexed|NonIndexed =NonIndexed # Whether pods have numbers.
  completions int 0.. # How many pods must succeed.
  managedBy string # Which controller takes care of it.
  manualSelector bool # Whether the selector is given by hand.
  maxFailedIndexes int 0.. # Failed indexes until it has failed.
  parallelism int 0.. # How many pods run at once.
  podFailurePolicy PodFailurePolicy # What a failed pod means.
  podReplacementPolicy string Failed|TerminatingOrFailed # When a pod is replaced.
  selector LabelSelector # Which pods are its own; set by the server.
  successPolicy SuccessPolicy # When it has succeeded early.
  suspend bool # Whether it waits.
  template! PodTemplateSpec {} # What its pods are made from.
  ttlSecondsAfterFinished int 0.. # Seconds until it is deleted when done.
PodFailurePolicy: What a failed pod means.
  rules! [PodFailurePolicyRule] # The first that matches decides.
PodFailurePolicyRule: What some failures mean.
  action! string Count|FailIndex|FailJob|Ignore # What to do.
  onExitCodes PodFailurePolicyOnExitCodes # For these exit codes.
  onPodConditions [PodFailurePolicyOnPodCondition] # For these conditions.
PodFailurePolicyOnExitCodes: A set of exit codes.
  containerName string # Of which container; any where not given.
  operator! string In|NotIn # Whether the values are in or out.
  values! [int] set # The codes.
PodFailurePolicyOnPodCondition: A condition of a pod.
  status string =True # Its status.
  type! string # Its type.
SuccessPolicy: When a job has succeeded early.
  rules! [SuccessPolicyRule] # One must be met.
SuccessPolicyRule: Which indexes must succeed.
  succeededCount int # How many.
  succeededIndexes string # Which.
JobStatus: How a job is.
  active int # Pods that run.
  completedIndexes string # Indexes that succeeded.
  completionTime time # When it was done.
  conditions [StatusCondition] merge(type) # Details of its state.
  failed int # Pods that failed.
  failedIndexes string # Indexes that failed.
  ready int # Pods that are ready.
  startTime time # When it started.
  succeeded int # Pods that succeeded.
  terminating int # Pods that are going away.
  uncountedTerminatedPods UncountedTerminatedPods # Pods not yet counted.
UncountedTerminatedPods: Pods not yet counted.
  failed [string] set # Those that failed.
  succeeded [string] set # Those that succeeded.
"""

_POLICY: Final = """
PodDisruptionBudget: How many pods may be taken away at once.
  spec PodDisruptionBudgetSpec {} # How it should be.
  status PodDisruptionBudgetStatus {} # How it is.
PodDisruptionBudgetSpec: How many pods may be taken away at once.
  maxUnavailable intstr # So many may be missing.
  minAvailable intstr # So many must remain.
  selector LabelSelector replace # Which pods.
  unhealthyPodEvictionPolicy string AlwaysAllow|IfHealthyBudget # Whether unhealthy pods count.
PodDisruptionBudgetStatus: How a budget is.
  conditions [StatusCondition] map(type) merge(type) # Details of its state.
  currentHealthy int =0 # Pods that are healthy.
  desiredHealthy int =0 # Pods that must remain healthy.
  disruptedPods {time} # Pods about to go, and when that was decided.
  disruptionsAllowed int =0 # Pods that may go now.
  expectedPods int =0 # Pods that count.
  observedGeneration int # The generation it is about.
"""

SCHEMAS: Final[dict[str, JsonObject]] = {
    **kinds("apps/v1", ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"], POD_SPEC, _APPS),
    **kinds("batch/v1", ["Job"], POD_SPEC, _BATCH),
    **kinds("policy/v1", ["PodDisruptionBudget"], POD_SPEC, _POLICY),
}

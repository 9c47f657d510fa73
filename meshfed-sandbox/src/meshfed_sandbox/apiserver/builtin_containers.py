"""What pods are made of: containers and volumes."""

from __future__ import annotations

from typing import Final

__all__ = ["CONTAINERS", "VOLUMES"]

CONTAINERS: Final = """
Container: One program of a pod, run from an image.
  args [string] # Arguments of the command; the image's own where not given.
  command [string] # What to run; the image's entry point where not given.
  env [EnvVar] map(name) merge(name) # Environment variables.
  envFrom [EnvFromSource] # Where to take whole sets of environment variables from.
  image string # The image to run.
  imagePullPolicy string Always|IfNotPresent|Never # When to pull the image.
  lifecycle Lifecycle # What to do after the start and before the end.
  livenessProbe Probe # Restarts the container when it fails.
  name! string # Its name, unique in the pod.
  ports [ContainerPort] map(containerPort,protocol) merge(containerPort) # Ports it listens on; for information.
  readinessProbe Probe # Takes the pod out of its services while it fails.
  resizePolicy [ContainerResizePolicy] # Whether a change of resources restarts it.
  resources ResourceRequirements {} # What it needs and may use.
  restartPolicy string # Always makes an init container a sidecar.
  restartPolicyRules [ContainerRestartRule] # When to restart it, by exit code.
  securityContext SecurityContext # What it is allowed to do.
  startupProbe Probe # Holds the other probes back until it succeeds.
  stdin bool # Whether it has a standard input.
  stdinOnce bool # Whether that closes after the first client.
  terminationMessagePath string =/dev/termination-log # Where it may say why it ended.
  terminationMessagePolicy string FallbackToLogsOnError|File =File # Where that message comes from.
  tty bool # Whether it has a terminal.
  volumeDevices [VolumeDevice] map(devicePath) merge(devicePath) # Block devices it uses.
  volumeMounts [VolumeMount] map(mountPath) merge(mountPath) # Volumes in its file system.
  workingDir string # Where it starts.
EphemeralContainer: A container added to a running pod, for debugging.
  args [string] # Arguments of the command.
  command [string] # What to run.
  env [EnvVar] map(name) merge(name) # Environment variables.
  envFrom [EnvFromSource] # Where to take whole sets of environment variables from.
  image string # The image to run.
  imagePullPolicy string Always|IfNotPresent|Never # When to pull the image.
  name! string # Its name, unique in the pod.
  resources ResourceRequirements {} # Not allowed here.
  securityContext SecurityContext # What it is allowed to do.
  stdin bool # Whether it has a standard input.
  stdinOnce bool # Whether that closes after the first client.
  targetContainerName string # Whose processes it sees.
  terminationMessagePath string =/dev/termination-log # Where it may say why it ended.
  terminationMessagePolicy string FallbackToLogsOnError|File =File # Where that message comes from.
  tty bool # Whether it has a terminal.
  volumeDevices [VolumeDevice] map(devicePath) merge(devicePath) # Block devices it uses.
  volumeMounts [VolumeMount] map(mountPath) merge(mountPath) # Volumes in its file system.
  workingDir string # Where it starts.
EnvVar: An environment variable.
  name! string # Its name.
  value string # Its value.
  valueFrom EnvVarSource # Where its value comes from.
EnvVarSource: Where the value of an environment variable comes from.
  configMapKeyRef KeySelector # A key of a ConfigMap.
  fieldRef ObjectFieldSelector # A field of the pod.
  fileKeyRef FileKeySelector # A line of a file.
  resourceFieldRef ResourceFieldSelector # A resource of the container.
  secretKeyRef KeySelector # A key of a Secret.
KeySelector atomic: A key of a ConfigMap or Secret.
  key! string # The key.
  name string = # Name of the object.
  optional bool # Whether it may be missing.
ObjectFieldSelector atomic: A field of the pod.
  apiVersion string =v1 # Of the field path.
  fieldPath! string # Which field, such as metadata.name.
FileKeySelector atomic: A line of a file in a volume.
  key! string # The variable in the file.
  optional bool =false # Whether it may be missing.
  path! string # The file in the volume.
  volumeName! string # The volume.
ResourceFieldSelector atomic: A resource of a container.
  containerName string # Which container.
  divisor quantity =0 # The unit.
  resource! string # Which resource, such as limits.cpu.
EnvFromSource: Where a whole set of environment variables comes from.
  configMapRef OptionalReference # A ConfigMap.
  prefix string # Put before each name.
  secretRef OptionalReference # A Secret.
OptionalReference: An object that may be missing.
  name string = # Its name.
  optional bool # Whether it may be missing.
Lifecycle: What to do after the start and before the end of a container.
  postStart LifecycleHandler # After the start.
  preStop LifecycleHandler # Before the end.
  stopSignal string # The signal that ends it.
LifecycleHandler: Something to do.
  exec ExecAction # Run a command.
  httpGet HTTPGetAction # Send an HTTP request.
  sleep SleepAction # Wait.
  tcpSocket TCPSocketAction # Connect.
ExecAction: Run a command in the container.
  command [string] # The command and its arguments.
HTTPGetAction: Send an HTTP request.
  host string # To whom; the pod where not given.
  httpHeaders [HTTPHeader] # Headers to send.
  path string =/ # The path.
  port! intstr # Number or name of the port.
  scheme string HTTP|HTTPS =HTTP # The scheme.
HTTPHeader: A header.
  name! string # Its name.
  value string = # Its value.
SleepAction: Wait.
  seconds! int 0.. # How long.
TCPSocketAction: Connect.
  host string # To whom; the pod where not given.
  port! intstr # Number or name of the port.
GRPCAction: Ask a gRPC health service.
  port! int 1..65535 # The port.
  service string = # The service to ask for.
Probe: A check of a container's health.
  exec ExecAction # Run a command.
  failureThreshold int 1.. =3 # Failures in a row that count.
  grpc GRPCAction # Ask a gRPC health service.
  httpGet HTTPGetAction # Send an HTTP request.
  initialDelaySeconds int 0.. # Seconds before the first check.
  periodSeconds int 1.. =10 # Seconds between checks.
  successThreshold int 1.. =1 # Successes in a row that count.
  tcpSocket TCPSocketAction # Connect.
  terminationGracePeriodSeconds int 1.. # Seconds to end in, after a failure.
  timeoutSeconds int 1.. =1 # Seconds until a check has failed.
ContainerPort: A port a container listens on.
  containerPort int # The number.
  hostIP string # Address on the node.
  hostPort int 0..65535 # Number on the node.
  name string # Its name, for services.
  protocol string SCTP|TCP|UDP =TCP # Its transport protocol.
ContainerResizePolicy: Whether a change of a resource restarts the container.
  resourceName! string # Which resource.
  restartPolicy! string # NotRequired or RestartContainer.
ResourceRequirements: What is needed and may be used.
  claims [ResourceClaim] map(name) # Claims of the pod that are used.
  limits {quantity} # At most.
  requests {quantity} # At least.
ResourceClaim: A claim that is used.
  name! string # Its name in the pod.
  request string # A part of it.
ContainerRestartRule: When to restart a container.
  action! string # What to do.
  exitCodes ContainerRestartRuleOnExitCodes # For which exit codes.
ContainerRestartRuleOnExitCodes: A set of exit codes.
  operator! string # In or NotIn.
  values [int] set # The codes.
SecurityContext: What a container is allowed to do.
  allowPrivilegeEscalation bool # Whether a process may gain more than its parent has.
  appArmorProfile SecurityProfile # AppArmor profile.
  capabilities Capabilities # Linux capabilities.
  privileged bool # Whether it is root on the node.
  procMount string Default|Unmasked # How /proc is mounted.
  readOnlyRootFilesystem bool # Whether its own file system is read-only.
  runAsGroup int 0.. # Its group id.
  runAsNonRoot bool # Whether it must not be root.
  runAsUser int 0.. # Its user id.
  seLinuxOptions SELinuxOptions # SELinux context.
  seccompProfile SecurityProfile # Seccomp profile.
  windowsOptions WindowsSecurityContextOptions # On Windows.
SecurityProfile: A profile that limits system calls or access.
  localhostProfile string # A file on the node, for Localhost.
  type! string Localhost|RuntimeDefault|Unconfined # Which kind.
Capabilities: Linux capabilities.
  add [string] # Those added.
  drop [string] # Those taken away.
SELinuxOptions: SELinux context.
  level string # Level.
  role string # Role.
  type string # Type.
  user string # User.
WindowsSecurityContextOptions: Security on Windows.
  gmsaCredentialSpec string # Contents of the credential spec.
  gmsaCredentialSpecName string # Name of the credential spec.
  hostProcess bool # Whether it runs on the host.
  runAsUserName string # Its user.
VolumeDevice: A block device in a container.
  devicePath! string # Where.
  name! string # Which volume.
VolumeMount: A volume in a container's file system.
  mountPath! string # Where.
  mountPropagation string Bidirectional|HostToContainer|None # Whether mounts below are shared.
  name! string # Which volume.
  readOnly bool # Whether it is read-only.
  recursiveReadOnly string # Whether mounts below are read-only too.
  subPath string # A path inside the volume.
  subPathExpr string # A path inside the volume, with variables.
"""

VOLUMES: Final = """
Volume: A directory that containers of a pod can share.
  configMap ConfigMapVolumeSource # Files from a ConfigMap.
  csi CSIVolumeSource # From a CSI driver.
  downwardAPI DownwardAPIVolumeSource # Files about the pod itself.
  emptyDir EmptyDirVolumeSource # Empty at first, gone with the pod.
  ephemeral EphemeralVolumeSource # A volume claim that lives as long as the pod.
  hostPath HostPathVolumeSource # From the node's file system.
  image ImageVolumeSource # From an image.
  name! string # Its name, unique in the pod.
  nfs NFSVolumeSource # From an NFS server.
  persistentVolumeClaim PersistentVolumeClaimVolumeSource # From a volume claim.
  projected ProjectedVolumeSource # Several sources in one directory.
  secret SecretVolumeSource # Files from a Secret.
ConfigMapVolumeSource: Files from a ConfigMap.
  defaultMode int 0..511 =420 # Permission bits.
  items [KeyToPath] # Which keys; all where not given.
  name string = # Its name.
  optional bool # Whether it may be missing.
SecretVolumeSource: Files from a Secret.
  defaultMode int 0..511 =420 # Permission bits.
  items [KeyToPath] # Which keys; all where not given.
  optional bool # Whether it may be missing.
  secretName string # Its name.
KeyToPath: A key and the file it becomes.
  key! string # The key.
  mode int 0..511 # Permission bits.
  path! string # The file.
CSIVolumeSource: A volume from a CSI driver.
  driver! string # Which driver.
  fsType string # File system type.
  nodePublishSecretRef LocalObjectReference # Secret for the driver.
  readOnly bool # Whether it is read-only.
  volumeAttributes {string} # Settings for the driver.
DownwardAPIVolumeSource: Files about the pod itself.
  defaultMode int 0..511 =420 # Permission bits.
  items [DownwardAPIVolumeFile] # The files.
DownwardAPIVolumeFile: A file about the pod itself.
  fieldRef ObjectFieldSelector # A field of the pod.
  mode int 0..511 # Permission bits.
  path! string # The file.
  resourceFieldRef ResourceFieldSelector # A resource of a container.
EmptyDirVolumeSource: Empty at first, gone with the pod.
  medium string # Memory, or the node's default.
  sizeLimit quantity # How large it may get.
EphemeralVolumeSource: A volume claim that lives as long as the pod.
  volumeClaimTemplate PersistentVolumeClaimTemplate # What to claim.
PersistentVolumeClaimTemplate: What to claim.
  metadata metadata {} # Labels and annotations.
  spec PersistentVolumeClaimSpec {} # How it should be.
PersistentVolumeClaimSpec: How a claim for storage should be.
  accessModes [string] # How it may be mounted.
  dataSource TypedReference # What it is filled from.
  dataSourceRef TypedReference # What it is filled from, of any kind.
  resources ResourceAmounts {} # How much.
  selector LabelSelector # Which volumes come into question.
  storageClassName string # Which class of storage.
  volumeAttributesClassName string # Which class of attributes.
  volumeMode string Block|Filesystem =Filesystem # A device or a file system.
  volumeName string # The volume it got.
TypedReference atomic: Points at an object of any kind.
  apiGroup string # Its group.
  kind! string # Its kind.
  name! string # Its name.
  namespace string # Its namespace.
ResourceAmounts: What is needed and may be used.
  limits {quantity} # At most.
  requests {quantity} # At least.
HostPathVolumeSource: From the node's file system.
  path! string # The path.
  type string |BlockDevice|CharDevice|Directory|DirectoryOrCreate|File|FileOrCreate|Socket = # What must be there.
ImageVolumeSource: From an image.
  pullPolicy string Always|IfNotPresent|Never # When to pull it.
  reference string # The image.
NFSVolumeSource: From an NFS server.
  path! string # The export.
  readOnly bool # Whether it is read-only.
  server! string # The server.
PersistentVolumeClaimVolumeSource: From a volume claim.
  claimName! string # Its name.
  readOnly bool # Whether it is read-only.
ProjectedVolumeSource: Several sources in one directory.
  defaultMode int 0..511 =420 # Permission bits.
  sources [VolumeProjection] # The sources.
VolumeProjection: One source.
  clusterTrustBundle ClusterTrustBundleProjection # Trust anchors.
  configMap KeysProjection # Files from a ConfigMap.
  downwardAPI DownwardAPIProjection # Files about the pod itself.
  podCertificate PodCertificateProjection # A certificate for the pod.
  secret KeysProjection # Files from a Secret.
  serviceAccountToken ServiceAccountTokenProjection # A token.
KeysProjection: Files from a ConfigMap or Secret.
  items [KeyToPath] # Which keys; all where not given.
  name string = # Its name.
  optional bool # Whether it may be missing.
DownwardAPIProjection: Files about the pod itself.
  items [DownwardAPIVolumeFile] # The files.
ClusterTrustBundleProjection: Trust anchors.
  labelSelector LabelSelector # Which bundles.
  name string # One bundle.
  optional bool # Whether it may be missing.
  path! string # The file.
  signerName string # Bundles of this signer.
PodCertificateProjection: A certificate for the pod.
  certificateChainPath string # File for the chain.
  credentialBundlePath string # File for key and chain.
  keyPath string # File for the key.
  keyType! string # Which kind of key.
  maxExpirationSeconds int # How long it holds.
  signerName! string # Who signs it.
  userAnnotations {string} # Notes for the signer.
ServiceAccountTokenProjection: A token of the pod's service account.
  audience string # For whom; the API server where not given.
  expirationSeconds int 600.. =3600 # How long it holds.
  path! string # The file.
"""

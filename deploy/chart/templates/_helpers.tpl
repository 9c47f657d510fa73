{{/* What objects are named. */}}
{{- define "meshfed.fullname" -}}
{{- .Values.fullnameOverride | default .Values.nameOverride | default .Chart.Name | trunc 52 | regexFind "^.*[^-]" -}}
{{- end -}}

{{/* What objects of the whole cluster are named: another release has another namespace. */}}
{{- define "meshfed.clusterName" -}}
{{- printf "%s-%s" (include "meshfed.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* What roles of a hook are named: with a dot, which none of the above has, so that no hook deletes another release's. */}}
{{- define "meshfed.hookRole" -}}
{{- printf "%s.%s" (include "meshfed.fullname" .root) .hook -}}
{{- end -}}

{{- define "meshfed.hookClusterRole" -}}
{{- printf "%s.%s" (include "meshfed.clusterName" .root) .hook -}}
{{- end -}}

{{/* The labels that find the controller's pods. The first is what Meshfed's own policies select them by. */}}
{{- define "meshfed.selector" -}}
app.kubernetes.io/name: federation-controller
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "meshfed.commonLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: meshfed
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "meshfed.labels" -}}
app.kubernetes.io/name: federation-controller
{{ include "meshfed.commonLabels" . }}
{{- end -}}

{{/* A text in YAML's single quotes. */}}
{{- define "meshfed.quoted" -}}
{{- . | replace "'" "''" | squote -}}
{{- end -}}

{{/* The labels that have istiod inject a proxy, of the revision that is asked for. */}}
{{- define "meshfed.injected" -}}
sidecar.istio.io/inject: "true"
{{- with .Values.istio.revision }}
istio.io/rev: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The affinity of pods that are better on different nodes, by the labels that they have in common. */}}
{{- define "meshfed.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
  - weight: 100
    podAffinityTerm:
      topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- toYaml . | nindent 10 }}
{{- end -}}

{{/* By tag, or by digest where the tag is one. */}}
{{- define "meshfed.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- printf "%s%s%s" .Values.image.repository (ternary "@" ":" (hasPrefix "sha256:" $tag)) $tag -}}
{{- end -}}

{{/* "true" where the reference's flags describe the mesh; empty where objects do. */}}
{{- define "meshfed.flags" -}}
{{- if .Values.federation.meshPeers -}}true{{- end -}}
{{- end -}}

{{- define "meshfed.local" -}}
{{- (.Values.federation.meshPeers).local | default dict | toJson -}}
{{- end -}}

{{- define "meshfed.meshName" -}}
{{- $local := include "meshfed.local" . | fromJson -}}
{{- $local.name | default .Values.mesh.name | default .Release.Name -}}
{{- end -}}

{{- define "meshfed.istioNamespace" -}}
{{- $local := include "meshfed.local" . | fromJson -}}
{{- .Values.istio.namespace | default ($local.controlPlane).namespace | default (.Values.mesh.spec).controlPlaneNamespace | default "istio-system" -}}
{{- end -}}

{{/* Where istiod has its configuration of the mesh from. */}}
{{- define "meshfed.meshConfig" -}}
{{- $revision := .Values.istio.revision | default "default" -}}
{{- .Values.istio.meshConfig | default (eq $revision "default" | ternary "istio" (printf "istio-%s" $revision)) -}}
{{- end -}}

{{- define "meshfed.ingress" -}}
{{- $local := include "meshfed.local" . | fromJson -}}
{{- if include "meshfed.flags" . -}}
{{- $ingress := ($local.gateways).ingress | default dict -}}
{{- dict "type" ($local.ingressType | default "istio") "selector" $ingress.selector "port" ($ingress.port | default dict) | toJson -}}
{{- else -}}
{{- $ingress := (.Values.mesh.spec).ingress | default dict -}}
{{- $gateway := $ingress.gateway | default dict -}}
{{- dict "type" ($ingress.type | default "istio") "selector" $gateway.selector "port" ($gateway.portConfig | default dict) | toJson -}}
{{- end -}}
{{- end -}}

{{/* The labels of the federation gateway's pods, as JSON. */}}
{{- define "meshfed.gatewaySelector" -}}
{{- (include "meshfed.ingress" . | fromJson).selector | default (dict "app" "federation-ingress-gateway") | toJson -}}
{{- end -}}

{{/* "true" where Routes are served, or will be written. */}}
{{- define "meshfed.routes" -}}
{{- if or (.Capabilities.APIVersions.Has "route.openshift.io/v1") (eq (include "meshfed.ingress" . | fromJson).type "openshift-router") -}}true{{- end -}}
{{- end -}}

{{/* "true" where EnvoyFilters may be written: by flags, behind a router alone, since no rule of theirs is for ports. */}}
{{- define "meshfed.envoyFilters" -}}
{{- if or (include "meshfed.routes" .) (not (include "meshfed.flags" .)) -}}true{{- end -}}
{{- end -}}

{{/* "true" where ServiceExports may be in use. */}}
{{- define "meshfed.serviceExports" -}}
{{- if not (include "meshfed.flags" .) -}}
{{- if or (empty .Values.mesh.spec) ((.Values.mesh.spec).export).serviceExports -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where DestinationRules may be written: by flags, for remotes behind a router alone. */}}
{{- define "meshfed.destinationRules" -}}
{{- if include "meshfed.flags" . -}}
{{- range (.Values.federation.meshPeers).remotes -}}{{- if eq (.ingressType | default "istio") "openshift-router" -}}true{{- end -}}{{- end -}}
{{- else -}}true{{- end -}}
{{- end -}}

{{/* What cannot be meant, with what to do about it. */}}
{{- define "meshfed.check" -}}
{{- $objects := or .Values.mesh.spec .Values.remotes -}}
{{- if and (include "meshfed.flags" .) $objects -}}
{{- fail "federation.meshPeers and mesh.spec or remotes both describe the mesh: keep federation (flags, as the reference's chart) or mesh and remotes (objects), and remove the other" -}}
{{- end -}}
{{- if and (include "meshfed.flags" .) .Values.mesh.name -}}
{{- fail "federation.meshPeers and mesh.name both name the mesh: with federation, set federation.meshPeers.local.name and remove mesh.name" -}}
{{- end -}}
{{- if and (or .Values.federation.exportedServiceSet .Values.federation.importedServiceSet) (not (include "meshfed.flags" .)) -}}
{{- fail "federation.exportedServiceSet and federation.importedServiceSet need federation.meshPeers: add it, or say in mesh.spec.export what is exported" -}}
{{- end -}}
{{- if and .Values.remotes (not .Values.mesh.spec) -}}
{{- fail "remotes without mesh.spec: a mesh that is not described federates with nobody; set mesh.spec.network and mesh.spec.ingress" -}}
{{- end -}}
{{- if and (hasKey .Values "enabled") (not .Values.enabled) -}}
{{- fail "enabled=false: it is read by a parent chart, as the condition of a dependency, and by nobody else; leave it out, or leave out the release" -}}
{{- end -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" (include "meshfed.meshName" .)) -}}
{{- fail (printf "the mesh is named %q, and its Service cannot be, as only lower-case letters, digits and '-' may be in it: set mesh.name, or federation.meshPeers.local.name" (include "meshfed.meshName" .)) -}}
{{- end -}}
{{- if gt (len (include "meshfed.meshName" .)) 34 -}}
{{- fail (printf "the mesh is named %q, which is longer than the 34 characters that a mesh's name may have: set mesh.name, or federation.meshPeers.local.name" (include "meshfed.meshName" .)) -}}
{{- end -}}
{{- range .Values.controller.extraArgs -}}
{{- $flag := regexFind "^--[^=]*" . -}}
{{- with get (include "meshfed.ownFlags" $ | fromYaml) $flag -}}
{{- fail (printf "controller.extraArgs: %s is not for here: %s" $flag .) -}}
{{- end -}}
{{- end -}}
{{- range tuple "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- if hasKey ($.Values.controller.podLabels | default dict) . -}}
{{- fail (printf "controller.podLabels: %s is the chart's own, by which its Services and policies find the pods: leave it out" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.gateway.enabled (eq .Values.gateway.name (include "meshfed.fullname" .)) -}}
{{- fail (printf "gateway.name: the controller's Deployment is named %s already; give the gateway another name" .Values.gateway.name) -}}
{{- end -}}
{{- if and .Values.gateway.enabled (eq .Values.gateway.name "federation-controller") -}}
{{- fail "gateway.name: by the label federation-controller the mesh's policies find the controller's pods; give the gateway another name" -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not (include "meshfed.gatewayNetwork" .)) -}}
{{- fail "gateway.enabled without a network: set gateway.network to Istio's network name of this mesh" -}}
{{- end -}}
{{- end -}}

{{/* Whether ways are proven: with SPIRE's certificates the roots of istiod say nothing. */}}
{{- define "meshfed.probes" -}}
{{- $istiods := eq .Values.controller.probe.trustBundle "istio-ca-root-cert" -}}
{{- if and .Values.controller.probe.enabled (not (and .Values.istio.spire.enabled $istiods)) }}true{{ end -}}
{{- end -}}

{{/* The flags that other objects of the chart go by, or values of their own set, and what to do instead. */}}
{{- define "meshfed.ownFlags" -}}
{{- $port := "the chart's Service, probes, PodMonitor and NetworkPolicy go by its port, which nobody else has in the pod; leave it out" -}}
--discovery-bind-address: {{ $port }}
--health-probe-bind-address: {{ $port }}
--metrics-bind-address: {{ $port }}
--namespace: a controller is for the namespace of its release, where its permissions are; install the release there
--leader-elect: it is given always; leave it out
--no-leader-elect: without it two pods would write at once, in every rollout; leave it out
--read-pods: set controller.readPods
--no-read-pods: set controller.readPods=false
--probe: set controller.probe.enabled
--no-probe: set controller.probe.enabled=false
--trust-bundle: set controller.probe.trustBundle
--service-account: set serviceAccount.name, of which the pod's token tells
--mesh-config: set istio.meshConfig, or istio.revision
--dashboard-bind-address: set controller.dashboard.bindAddress
--dashboard-hosts: set controller.dashboard.hosts
--adopt-reference: set controller.adoptReference=true
--log-level: set controller.logLevel
--log-format: set controller.logFormat
--meshPeers: set federation.meshPeers
--exportedServiceSet: set federation.exportedServiceSet
--importedServiceSet: set federation.importedServiceSet
{{- end -}}

{{/* Flags in place of objects: Helm would delete the objects while the controller that goes by them still runs, and that
would remove every import. */}}
{{- define "meshfed.checkKept" -}}
{{- $api := "federation.openshift-service-mesh.io/v1alpha1" -}}
{{- if and (include "meshfed.flags" .) .Release.IsUpgrade (.Capabilities.APIVersions.Has $api) -}}
{{- range (lookup $api "MeshFederation" .Release.Namespace "").items -}}
{{- $ours := eq (dig "labels" "app.kubernetes.io/instance" "" .metadata) $.Release.Name -}}
{{- if and $ours (ne (dig "annotations" "helm.sh/resource-policy" "" .metadata) "keep") -}}
{{- fail (printf "federation.meshPeers in place of mesh and remotes: Helm would delete MeshFederation %s, and its controller with it all imports, before the next one runs. First: kubectl -n %s annotate meshfederations,remotemeshes --all helm.sh/resource-policy=keep; docs/install.md has what comes after" .metadata.name $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "meshfed.gatewayNetwork" -}}
{{- .Values.gateway.network | default (.Values.mesh.spec).network | default "" -}}
{{- end -}}

{{/* What each container is held to. */}}
{{- define "meshfed.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{- define "meshfed.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The pod of a hook's Job, from `root`, `account`, `labels`, `name` and `args`. It goes to the nodes that the controller may go to. */}}
{{- define "meshfed.hookPod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- .labels | nindent 4 }}
    sidecar.istio.io/inject: "false"
spec:
  restartPolicy: Never
  serviceAccountName: {{ .account | quote }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.controller.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.controller.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "meshfed.podSecurity" .root | nindent 4 }}
  containers:
  - name: {{ .name }}
    image: {{ include "meshfed.image" .root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: [meshfed]
    args:
    {{- toYaml .args | nindent 4 }}
    env:
    - name: POD_NAMESPACE
      valueFrom:
        fieldRef:
          fieldPath: metadata.namespace
    resources:
      {{- toYaml $values.controller.resources | nindent 6 }}
    securityContext:
      {{- include "meshfed.containerSecurity" .root | nindent 6 }}
{{- end -}}

{{/* The hook's own: its pods are none of the controller's. */}}
{{- define "meshfed.uninstallLabels" -}}
app.kubernetes.io/name: federation-controller-uninstall
{{ include "meshfed.commonLabels" . }}
{{- end -}}

{{- define "meshfed.uninstallHook" -}}
helm.sh/hook: {{ include "meshfed.uninstallWhen" . }}
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* A controller that objects describe does the work itself, so it has to be there still. One that flags describe would
put back what is removed, so it has to be gone. */}}
{{- define "meshfed.uninstallWhen" -}}
{{- if include "meshfed.flags" . }}post-delete{{ else }}pre-delete{{ end -}}
{{- end -}}

{{/* The definitions of the API's kinds, by name. */}}
{{- define "meshfed.crdNames" -}}
- federatedservices.federation.openshift-service-mesh.io
- meshfederations.federation.openshift-service-mesh.io
- remotemeshes.federation.openshift-service-mesh.io
{{- end -}}

{{/* "true" where the cluster has CRDs of these names that are not this chart's. What cannot be asked, as by `helm template`,
and what is not there, is left to whoever installs CRDs. */}}
{{- define "meshfed.crdsDiffer" -}}
{{- if .Values.crds.upgrade -}}
{{- range $path, $_ := .Files.Glob "crds/*.yaml" -}}
{{- $own := $.Files.Get $path | fromYaml -}}
{{- with lookup $own.apiVersion $own.kind "" $own.metadata.name -}}
{{- $mark := "federation.openshift-service-mesh.io/schema-digest" -}}
{{- $found := (.metadata.annotations | default dict) -}}
{{- if not (or (hasKey $found $mark) $.Values.controller.adoptReference) -}}
{{- fail (printf "the CRD %s in the cluster is not Meshfed's. Is it of the reference's controller: stop that, and set controller.adoptReference=true. Otherwise see what it is with `meshfed crds apply --dry-run`; crds.upgrade=false leaves it as it is" $own.metadata.name) -}}
{{- end -}}
{{- if ne (get $found $mark) (get $own.metadata.annotations $mark) -}}true{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "meshfed.crdsLabels" -}}
app.kubernetes.io/name: federation-controller-crds
{{ include "meshfed.commonLabels" . }}
{{- end -}}

{{- define "meshfed.crdsHook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

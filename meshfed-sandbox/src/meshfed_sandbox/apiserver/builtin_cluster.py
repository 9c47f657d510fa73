"""The kinds that govern a cluster: who may do what, who may talk to whom, and which kinds there are."""

from __future__ import annotations

from typing import Final

from meshfed_sandbox.apiserver.builtin_core import COMMON
from meshfed_sandbox.apiserver.builtin_language import kinds
from meshfed_sandbox.apiserver.schema_node import JsonObject

__all__ = ["SCHEMAS"]

_RBAC: Final = """
Role: Permissions in one namespace.
  rules [PolicyRule] # What it permits.
ClusterRole: Permissions in the whole cluster, or to be bound in any namespace.
  aggregationRule AggregationRule # Other roles it is made of.
  rules [PolicyRule] # What it permits.
AggregationRule: Roles that a role is made of.
  clusterRoleSelectors [LabelSelector] # Which.
PolicyRule: What may be done with what.
  apiGroups [string] # Groups; "" is the core group, * all.
  nonResourceURLs [string] # Paths that are no resources.
  resourceNames [string] # Names; all where not given.
  resources [string] # Resources; * all.
  verbs! [string] # What may be done; * all.
RoleBinding: Gives subjects the permissions of a role, in one namespace.
  roleRef RoleRef {} # Which role; never changes.
  subjects [Subject] # To whom.
ClusterRoleBinding: Gives subjects the permissions of a cluster role, everywhere.
  roleRef RoleRef {} # Which role; never changes.
  subjects [Subject] # To whom.
RoleRef atomic: Points at a role.
  apiGroup string =rbac.authorization.k8s.io # Its group.
  kind! string # Role or ClusterRole.
  name! string # Its name.
Subject atomic: A user, group or service account.
  apiGroup string # Its group.
  kind! string # User, Group or ServiceAccount.
  name! string # Its name.
  namespace string # Its namespace, for service accounts.
"""

_NETWORKING: Final = """
NetworkPolicy: Who may talk to some pods, and to whom these may talk.
  spec NetworkPolicySpec {} # The policy.
NetworkPolicySpec: Who may talk to whom.
  egress [NetworkPolicyEgressRule] # To whom the pods may talk.
  ingress [NetworkPolicyIngressRule] # Who may talk to the pods.
  podSelector LabelSelector {} # Which pods; empty: all of the namespace.
  policyTypes [string] # Ingress, Egress or both.
NetworkPolicyIngressRule: Who may talk to the pods.
  from [NetworkPolicyPeer] # Who; anyone where not given.
  ports [NetworkPolicyPort] # On which ports; all where not given.
NetworkPolicyEgressRule: To whom the pods may talk.
  ports [NetworkPolicyPort] # On which ports; all where not given.
  to [NetworkPolicyPeer] # To whom; anyone where not given.
NetworkPolicyPort: Ports.
  endPort int 1..65535 # The last of a range.
  port intstr # Number or name; all where not given.
  protocol string SCTP|TCP|UDP =TCP # The transport protocol.
NetworkPolicyPeer: Somebody to talk to.
  ipBlock IPBlock # Addresses.
  namespaceSelector LabelSelector # Pods of these namespaces.
  podSelector LabelSelector # These pods.
IPBlock: A range of addresses.
  cidr! string # The range.
  except [string] # Ranges inside it that are left out.
"""

_EXTENSIONS: Final = """
CustomResourceDefinition: A kind of object that the API server is to serve.
  spec CustomResourceDefinitionSpec {} # The kind.
  status CustomResourceDefinitionStatus # How it is.
CustomResourceDefinitionSpec: A kind of object.
  conversion CustomResourceConversion # How versions become each other.
  group! string # Its API group.
  names CustomResourceDefinitionNames {} # Its names.
  preserveUnknownFields bool # Must be false.
  scope! string Cluster|Namespaced # Whether its objects are in namespaces.
  versions! [CustomResourceDefinitionVersion] # Its versions.
CustomResourceConversion: How versions become each other.
  strategy! string None|Webhook # By changing apiVersion only, or by a webhook.
  webhook WebhookConversion # The webhook.
WebhookConversion: A webhook that converts.
  clientConfig WebhookClientConfig # Where it is.
  conversionReviewVersions! [string] # What it understands.
WebhookClientConfig: Where a webhook is.
  caBundle bytes # Its certificate authorities.
  service ServiceReference # A service.
  url string # A URL.
ServiceReference: A service.
  name! string # Its name.
  namespace! string # Its namespace.
  path string # The path.
  port int 1..65535 # The port.
CustomResourceDefinitionNames: Names of a kind.
  categories [string] # Groups of kinds it belongs to, such as all.
  kind! string # In CamelCase, singular.
  listKind string # Of its lists.
  plural! string # In URLs.
  shortNames [string] # Short forms for people.
  singular string # For people.
CustomResourceDefinitionVersion: One version of a kind.
  additionalPrinterColumns [CustomResourceColumnDefinition] # Columns of kubectl get.
  deprecated bool # Whether it should no longer be used.
  deprecationWarning string # What to say to those who do.
  name! string # Its name.
  schema CustomResourceValidation # What its objects look like.
  selectableFields [SelectableField] # Fields for field selectors.
  served bool =false # Whether it is served.
  storage bool =false # Whether objects are stored in it.
  subresources CustomResourceSubresources # Its subresources.
CustomResourceColumnDefinition: A column of kubectl get.
  description string # What it shows.
  format string # How it is formatted.
  jsonPath! string # Where the value is.
  name! string # Its heading.
  priority int 0.. # Above 0: only in wide output.
  type! string # Of its values.
CustomResourceValidation: What objects look like.
  openAPIV3Schema any # The schema.
SelectableField: A field for field selectors.
  jsonPath! string # Where it is.
CustomResourceSubresources: Subresources of a kind.
  scale CustomResourceSubresourceScale # For scaling.
  status any # For status.
CustomResourceSubresourceScale: Fields for scaling.
  labelSelectorPath string # The selector.
  specReplicasPath! string # How many are wanted.
  statusReplicasPath! string # How many there are.
CustomResourceDefinitionStatus: How a kind is.
  acceptedNames CustomResourceDefinitionStatusNames {} # The names it got.
  conditions [StatusCondition] map(type) # Details of its state.
  observedGeneration int # The generation it is about.
  storedVersions [string] # Versions objects may be stored in.
CustomResourceDefinitionStatusNames: Names a kind got.
  categories [string] # Groups of kinds it belongs to.
  kind string = # In CamelCase, singular.
  listKind string # Of its lists.
  plural string = # In URLs.
  shortNames [string] # Short forms for people.
  singular string # For people.
"""

SCHEMAS: Final[dict[str, JsonObject]] = {
    **kinds(
        "rbac.authorization.k8s.io/v1",
        ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"],
        COMMON,
        _RBAC,
    ),
    **kinds("networking.k8s.io/v1", ["NetworkPolicy"], COMMON, _NETWORKING),
    **kinds("apiextensions.k8s.io/v1", ["CustomResourceDefinition"], COMMON, _EXTENSIONS),
}

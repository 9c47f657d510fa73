"""``meshfed manifests``: what ``kubectl apply`` takes to run a controller, where Helm is not wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from meshfed.cli.exits import BadInput
from meshfed.model import installation

TEMPLATE: Final = Path(__file__).with_name("manifests.yaml")
"""The chart's defaults, rendered by tools/render_manifests.py, with these names in it:"""
MESH: Final = "the-mesh"
NAMESPACE: Final = "the-namespace"
ISTIO_NAMESPACE: Final = "the-istio-namespace"
ACCOUNT: Final = "the-account"
IMAGE: Final = "the-image:the-tag"

DEFAULT_ACCOUNT: Final = "federation-controller"
"""What remote meshes expect where nothing is said."""


def manifests(
    *,
    mesh: str,
    namespace: Annotated[str, Parameter(name=["--namespace", "-n"])] = installation.NAMESPACE,
    istio_namespace: str = installation.NAMESPACE,
    service_account: str = DEFAULT_ACCOUNT,
    image: str | None = None,
    crds: Annotated[bool, Parameter(negative="--no-crds")] = True,
) -> None:
    """Print what runs a controller, as YAML for `kubectl apply --server-side -f -`.

    These are the Helm chart's defaults: two replicas, a Service, a service account and its roles. The mesh itself is
    described by a MeshFederation and RemoteMeshes, applied besides.

    Parameters
    ----------
    mesh
        The name of this mesh, which its discovery service has in its name.
    namespace
        Where the controller runs, and its MeshFederation and RemoteMeshes are.
    istio_namespace
        Where istiod runs: the controlPlaneNamespace of the MeshFederation.
    service_account
        The controller's service account, by which other meshes know it; meshes of one trust domain need different ones.
    image
        The controller's image; without it, meshfed with this version as its tag.
    crds
        Begin with the CustomResourceDefinitions, as `meshfed crds` prints them.
    """
    from meshfed import __version__
    from meshfed.api.crds import crds_yaml
    from meshfed.cli.arguments import account
    from meshfed.model.names import MAX_MESH_NAME, is_dns_label

    for flag, value in (("--mesh", mesh), ("--namespace", namespace), ("--istio-namespace", istio_namespace)):
        if not is_dns_label(value):
            raise BadInput(f"{flag}: {value!r} is no DNS label: use lower-case letters, digits and '-', at most 63")
    account(service_account)
    if len(mesh) > MAX_MESH_NAME:
        raise BadInput(f"--mesh: {mesh!r} is longer than the {MAX_MESH_NAME} characters that a mesh's name may have")
    if crds:
        print(crds_yaml() + "---")
    image = image or f"meshfed:{__version__}"
    print(controller_yaml(mesh, namespace, istio_namespace, image, account=service_account), end="")


def controller_yaml(
    mesh: str, namespace: str, istio_namespace: str, image: str, *, account: str = DEFAULT_ACCOUNT
) -> str:
    """What runs the controller, as YAML documents."""
    text = TEMPLATE.read_text()
    values = {ISTIO_NAMESPACE: istio_namespace, NAMESPACE: namespace, MESH: mesh, ACCOUNT: account, IMAGE: image}
    for name, value in values.items():
        text = text.replace(name, value)
    return text

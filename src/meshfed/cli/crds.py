"""``meshfed crds``: what a cluster needs to know of Meshfed's kinds."""

from __future__ import annotations


def crds() -> None:
    """Print the CustomResourceDefinitions as YAML, for `kubectl apply --server-side -f -`."""
    from meshfed.api.crds import crds_yaml

    print(crds_yaml(), end="")

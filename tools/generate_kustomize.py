"""Write the kustomize base of `kubectl apply -k`: what `meshfed manifests` prints, for a mesh that an overlay names."""

from __future__ import annotations

import sys
from pathlib import Path

from meshfed import __version__
from meshfed.cli.manifests import controller_yaml

_HEADER = "# Generated from src/meshfed/cli/manifests.yaml by tools/generate_kustomize.py.\n"


def main(output: Path) -> None:
    """Write ``controller.yaml`` into ``output``."""
    text = controller_yaml("mesh", "istio-system", "istio-system", f"meshfed:{__version__}")
    (output / "controller.yaml").write_text(_HEADER + text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

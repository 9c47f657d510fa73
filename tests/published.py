"""Definitions that Istio and OpenShift publish, and an example of Istio's: not part of this repository.

`MESHFED_PUBLISHED_CRDS` names the folder that holds them, else they are in `shared/data` next to the repository. Where
they are not, tests that need them are skipped, and others use the sandbox's reduced CRDs.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(os.environ.get("MESHFED_PUBLISHED_CRDS") or Path(__file__).resolve().parents[2] / "shared" / "data")
FILES = tuple(FOLDER / name for name in ("istio-1.30-crds.yaml", "openshift-route-crd.yaml"))
BOOKINFO = FOLDER / "bookinfo.yaml"
MISSING = (
    ""
    if all(path.is_file() for path in FILES)
    else f"{' and '.join(path.name for path in FILES)} are not in {FOLDER}; MESHFED_PUBLISHED_CRDS names their folder"
)
"""Why there are none; empty where there are."""


@cache
def published_crds() -> tuple[dict[str, Any], ...]:
    """The CRDs; none where they are not here."""
    if MISSING:
        return ()
    return tuple(crd for path in FILES for crd in yaml.load_all(path.read_bytes(), yaml.CSafeLoader) if crd)

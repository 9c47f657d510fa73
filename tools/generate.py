"""Writes what is generated from the types: ``deploy/crds/*.yaml``, ``docs/api.md``, ``docs/reasons.md``.

Run it after a change of ``src/meshfed/api`` or ``src/meshfed/model/reasons.py``; a test holds the files to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from meshfed.api.crds import all_crds, crd_yaml

ROOT: Final = Path(__file__).resolve().parents[1]


def generated() -> dict[Path, str]:
    """What every generated file should hold, by its path from the project's root."""
    return {Path("deploy/crds", f"{crd['spec']['names']['plural']}.yaml"): crd_yaml(crd) for crd in all_crds()}


def main() -> None:
    """Write all of it, and say what changed."""
    for path, text in generated().items():
        target = ROOT / path
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()

"""Write every generated file of the repository, or check that each is what its generator would write.

A generator is a program in ``tools`` that takes an output directory and writes its files below it; the table says
which directory that is in the repository. ``--check`` lets it write somewhere else and compares, so that a generated
file that was edited by hand, or whose source was changed without it, is found before it misleads anyone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATORS = {
    "draw_architecture.py": "docs",
    "draw_guides.py": "docs/guides",
    "generate_api.py": ".",
    "generate_chart.py": "deploy/chart",
    "generate_checks.py": "docs",
    "generate_cli.py": "docs",
    "generate_kustomize.py": "deploy/kustomize",
    "generate_man.py": "docs/man",
    "generate_metrics.py": "docs",
    "generate_monitoring.py": "deploy",
    "generate_protos.py": "src",
    "generate_resource_examples.py": "docs",
    "generate_scale.py": "docs",
    "generate_troubleshooting.py": "docs",
    "generate_schemas.py": "docs",
}


def main() -> int:
    """Generate, or with ``--check`` compare; returns the exit code, 1 where something differs."""
    if sys.argv[1:] not in ([], ["--check"]):
        print("usage: python tools/generate.py [--check]", file=sys.stderr)
        return 2
    if not sys.argv[1:]:
        for generator, directory in GENERATORS.items():
            run(generator, ROOT / directory)
        return 0
    stale = [path for generator, directory in GENERATORS.items() for path in differing(generator, directory)]
    for path in stale:
        print(f"{path} is not what its generator writes: run make generate, and commit the result", file=sys.stderr)
    print(f"generated files: {len(GENERATORS)} generator(s) run, {len(stale)} file(s) differ")
    return 1 if stale else 0


def run(generator: str, output: Path) -> None:
    """Run one generator; raises ``CalledProcessError`` where it fails."""
    subprocess.run([sys.executable, str(ROOT / "tools" / generator), str(output)], check=True)


def differing(generator: str, directory: str) -> list[str]:
    """The files, relative to the repository, that are not what the generator writes."""
    with tempfile.TemporaryDirectory() as scratch:
        run(generator, Path(scratch))
        written = {path.relative_to(scratch): path.read_bytes() for path in Path(scratch).rglob("*") if path.is_file()}
    committed = {path: ROOT / directory / path for path in written}
    return [
        str(Path(directory, path))
        for path, content in sorted(written.items())
        if not committed[path].is_file() or committed[path].read_bytes() != content
    ]


if __name__ == "__main__":
    sys.exit(main())

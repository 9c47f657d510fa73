"""Generate ``src/meshfed/fds/pb`` from ``proto/``: the messages' code and their types.

Run it after a change of a ``.proto`` file: ``python tools/generate_protos.py [OUTPUT_DIRECTORY]``. A test holds the
committed code to what this generates.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # grpcio-tools ships no types

ROOT = Path(__file__).resolve().parent.parent


def generate(output: Path) -> None:
    """Write ``meshfed/fds/pb/*_pb2.py`` and ``*.pyi`` below ``output``; raises ``RuntimeError`` where protoc fails."""
    sources = sorted((ROOT / "proto").rglob("*.proto"))
    plugin = Path(sys.executable).parent / "protoc-gen-mypy"
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"--plugin=protoc-gen-mypy={plugin}",
        f"--proto_path={ROOT / 'proto'}",
        f"--proto_path={well_known}",
        f"--python_out={output}",
        f"--mypy_out={output}",
        *(str(source) for source in sources),
    ]
    if protoc.main(arguments):
        raise RuntimeError("protoc failed; what it wrote above says where")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "src")

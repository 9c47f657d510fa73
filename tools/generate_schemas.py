"""Write ``docs/cli.schema.json``, the JSON schema of what commands print with ``-o json`` and ``-o yaml``.

Usage: ``python tools/generate_schemas.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from meshfed.views.documents import schemas

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_schemas.py OUTPUT_DIRECTORY")
    text = json.dumps(schemas(), indent=2, ensure_ascii=False) + "\n"
    Path(sys.argv[1], "cli.schema.json").write_text(text, encoding="utf-8")

"""Put the table of metrics into the page on operations, from the metrics themselves.

The page is written by hand but for what stands between ``<!-- metrics -->`` and ``<!-- end -->``. Usage:
``python tools/generate_metrics.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from meshfed.telemetry.metrics import Metrics

PAGE = "monitoring.md"
SOURCE = Path(__file__).resolve().parent.parent / "docs" / PAGE


def table() -> Iterator[str]:
    """A line for every metric, under the name that Prometheus sees."""
    metrics = vars(Metrics())
    labels = {
        metric._name: metric._labelnames  # noqa: SLF001 - there is no other way to ask
        for metric in metrics.values()
        if hasattr(metric, "_labelnames")
    }
    yield "| Metric | Type | Labels | What it says |"
    yield "|---|---|---|---|"
    for family in sorted(metrics["registry"].collect(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown = ", ".join(f"`{label}`" for label in labels[family.name])
        yield f"| `{name}` | {family.type} | {shown} | {family.documentation} |"


def filled(page: str) -> str:
    """``page`` with the table in its place; raises ``ValueError`` where it has none."""
    text = "\n".join(["<!-- metrics -->", *table(), "<!-- end -->"])
    result, places = re.subn(r"<!-- metrics -->.*?<!-- end -->", lambda _: text, page, flags=re.DOTALL)
    if places != 1:
        raise ValueError(f"{PAGE} has {places} places for the table of metrics: it needs one")
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_metrics.py OUTPUT_DIRECTORY")
    Path(sys.argv[1], PAGE).write_text(filled(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")

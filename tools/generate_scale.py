"""Put what was measured into the page on scale, and draw it: from the documents in ``docs/measured``.

Those are what ``make bench ARGS='-o json'`` and ``make simulate ARGS='-o json'`` print. The page is written by hand but
for what stands between ``<!-- NAME -->`` and ``<!-- end -->``, where NAME is that of a document. Usage:
``python tools/generate_scale.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from meshfed.views.measurements import Measurement, amount, spread, times
from meshfed.views.plots import ratio_plot

PAGE: Final = "scale.md"
DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
MEASURED: Final = DOCS / "measured"
SERVERS: Final = {
    "sandbox": "on the sandbox's API servers",
    "kube-apiserver": "on kube-apiserver",
}
"""The documents of `make bench`, and where they were measured."""
_DRAWN: Final = ("cold import", "restart to ready", "one change", "processor, one change", "1000 changes at once")


def measured(name: str) -> list[Measurement]:
    """The measurements of a document."""
    found: Any = msgspec.json.decode((MEASURED / f"{name}.json").read_bytes())
    return msgspec.convert(found["items"], list[Measurement])


def bench_table(name: str) -> Iterator[str]:
    """A row for each measurement."""
    yield from (
        "| What | Services | Times its floor | Within | P99 | Measured | Floor |",
        "|---|---|---|---|---|---|---|",
    )
    for one in measured(name):
        ratio = one.ratio
        cells = (
            one.what,
            f"{one.services:,}",
            times(ratio.p50 if ratio else None),
            spread(ratio),
            times(ratio.p99 if ratio else None),
            amount(one.measured, one.unit),
            amount(one.floor, one.unit),
        )
        yield f"| {' | '.join(cells)} |"


def simulation_table() -> Iterator[str]:
    """A row for each phase of what was simulated."""
    phases: Any = msgspec.json.decode((MEASURED / "simulate.json").read_bytes())
    yield from (
        "| Meshes | Watched | Phase | Took, at the median and at most | In | Out | Writes |",
        "|---|---|---|---|---|---|---|",
    )
    most = max(one["meshes"] for one in phases)
    for one in phases:
        if one["topology"] == "spoke" and one["meshes"] < most:
            continue  # a spoke has one remote, however many others that has
        watched = "a mesh of a full mesh, or a hub" if one["topology"] == "mesh" else "a spoke"
        took = ", ".join(dict.fromkeys(f"{seconds:.3g} s" for seconds in one["took"])) or "-"
        sent = (f"{one[f'messages_{way}']:,} ({one[f'bytes_{way}'] / 1000:,.1f} KB)" for way in ("in", "out"))
        yield f"| {one['meshes']} | {watched} | {one['what']} | {took} | {' | '.join(sent)} | {one['writes']:,} |"


def filled(page: str) -> str:
    """``page`` with the tables in their places; raises ``ValueError`` where it has not one for each."""
    tables = {name: list(bench_table(name)) for name in SERVERS} | {"simulate": list(simulation_table())}
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed or begin in after:
            raise ValueError(f"{PAGE} needs one place for the table {name}, between {begin.strip()} and {end}")
        page = before + begin + "".join(f"{line}\n" for line in lines) + end + after
    return page


def picture() -> str:
    """The ratios of all servers, one below the other."""
    rows = [
        msgspec.structs.replace(one, what=f"{one.what}, {name}")
        for name in SERVERS
        for one in measured(name)
        if one.what in _DRAWN
    ]
    return ratio_plot(rows, "Times the floor: a bare loop with the same requests is 1")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_scale.py OUTPUT_DIRECTORY")
    output = Path(sys.argv[1])
    (output / PAGE).write_text(filled((DOCS / PAGE).read_text(encoding="utf-8")), encoding="utf-8")
    (output / "scale.svg").write_text(picture(), encoding="utf-8")

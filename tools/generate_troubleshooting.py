"""Put tables into the page on troubleshooting, from what `meshfed explain` goes by.

The page is written by hand but for what stands between ``<!-- NAME -->`` and ``<!-- end -->``. Usage:
``python tools/generate_troubleshooting.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from meshfed.views.explain.links import LINKS, STATES
from meshfed.views.symptoms import CALLERS, FLAGS, OTHERS

PAGE = "troubleshooting.md"
SOURCE = Path(__file__).resolve().parent.parent / "docs" / PAGE


def links() -> Iterator[str]:
    """A line for every link of a chain."""
    yield "| Link | Side | It holds where |"
    yield "|---|---|---|"
    for name, (whose, meaning) in LINKS.items():
        yield f"| `{name}` | {whose} | {meaning} |"


def states() -> Iterator[str]:
    """A line for every state of a link."""
    yield "| State | Means |"
    yield "|---|---|"
    for state, meaning in STATES.items():
        yield f"| `{state}` | {meaning} |"


def callers() -> Iterator[str]:
    """A line for everything that a caller gets."""
    yield "| The caller gets | Its access log has | It is |"
    yield "|---|---|---|"
    for one in CALLERS:
        yield f"| {one.gets} | {one.log} | {one.it_is} |"


def others() -> Iterator[str]:
    """A line for everything that tells something in whoever's log it is."""
    yield "| The access log of | has | It is |"
    yield "|---|---|---|"
    for one in OTHERS:
        yield f"| {one.at} | {one.log} | {one.it_is} |"


def flags() -> Iterator[str]:
    """A line for every other flag."""
    yield "| Flag | Says |"
    yield "|---|---|"
    for flag, meaning in FLAGS.items():
        yield f"| `{flag}` | {meaning} |"


TABLES = {table.__name__: table for table in (states, links, callers, others, flags)}


def filled(page: str) -> str:
    """``page`` with the tables in their places; raises ``ValueError`` where one has none."""
    for name, table in TABLES.items():
        marker = f"<!-- {name} -->\n"
        if page.count(marker) != 1:
            raise ValueError(f"{PAGE} has {page.count(marker)} places for the table of {name}: it needs one")
        before, _, rest = page.partition(marker)
        _, end, behind = rest.partition("<!-- end -->")
        page = "".join([before, marker, *(f"{line}\n" for line in table()), end, behind])
    return page


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_troubleshooting.py OUTPUT_DIRECTORY")
    Path(sys.argv[1], PAGE).write_text(filled(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")

"""Put the tables of checks, outcomes and evidence into the page on checks, from the checks themselves.

The page is written by hand but for what stands between ``<!-- checks -->`` and ``<!-- end -->``. Usage:
``python tools/generate_checks.py OUTPUT_DIRECTORY``; ``make generate`` runs it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from meshfed.views.checks import BEFORE, CHECKS, EVIDENCE, OUTCOMES

PAGE = "checks.md"
SOURCE = Path(__file__).resolve().parent.parent / "docs" / PAGE


def tables() -> Iterator[str]:
    """A line for every check, outcome and evidence."""
    yield from ("| Check | What it asks | Before | Read on |", "|---|---|---|---|")
    for one in dict.fromkeys((*CHECKS, *BEFORE)):
        page, _, anchor = one.docs.partition("#")
        words = anchor.replace("-", " ").capitalize()
        before = "yes" if one.before else ""
        yield f"| `{one.group}` `{one.name}` | {one.says} | {before} | [{words}]({page}#{anchor}) |"
    yield from ("", "### What comes of it", "", "| It is | when |", "|---|---|")
    yield from (f"| `{outcome}` | {says} |" for outcome, says in OUTCOMES.items())
    yield from ("", "### What it goes by", "", "| It goes by | which is |", "|---|---|")
    yield from (f"| {evidence} | {says} |" for evidence, says in EVIDENCE.items())


def filled(page: str) -> str:
    """``page`` with the tables in their place; raises ``ValueError`` where it has none."""
    text = "\n".join(["<!-- checks -->", *tables(), "<!-- end -->"])
    result, places = re.subn(r"<!-- checks -->.*?<!-- end -->", lambda _: text, page, flags=re.DOTALL)
    if places != 1:
        raise ValueError(f"{PAGE} has {places} places for the tables of checks: it needs one")
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/generate_checks.py OUTPUT_DIRECTORY")
    Path(sys.argv[1], PAGE).write_text(filled(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")

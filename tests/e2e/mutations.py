"""Tries every mutation of what controllers write, and says in a table who notices: ``make mutations``.

The table shows one mutation of each kind of leaf. ``test_mutations.py`` tries those, and holds that the table has a row
for every one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from meshfed_sandbox.dataplane.network import PodLoop
from tests.e2e.mutants import Mutation, equivalent, one_of_each
from tests.e2e.mutated import converged

TABLE: Final = Path(__file__).parents[2] / "docs" / "mutations.md"

_HEAD: Final = """\
# What notices a mistake

<!-- Written by `make mutations`. -->

Two meshes federate in [the sandbox](sandbox.md), with real Envoys, and a real HAProxy before west. Then every leaf of
every object that their controllers wrote is made wrong, removed, or renamed, one at a time, and probes are asked:
requests from either mesh that go where they should, and some that must be refused. The columns say what was changed to
what, and which probes noticed. *Refused* is what the API server's schema or the control plane did not take. What cannot
matter has its reason.

The table shows one mutation of each kind of leaf, on the first object that has it; `make mutations` tries those of all
objects, and `make test` these. `tests/e2e/mutants.py` works them out, `tests/e2e/mutated.py` has the meshes and the
probes.
"""


def heading(mutation: Mutation) -> str:
    """The heading of an object's table."""
    return f"## {mutation.mesh}: {mutation.kind} `{mutation.shown}`"


def row(mutation: Mutation) -> str:
    """A mutation's row, but for its last column."""
    change = f"{mutation.how}: `{mutation.change}`" if mutation.change else mutation.how
    return f"| `{mutation.field}` | {change} |"


def table(outcomes: Mapping[Mutation, str]) -> str:
    """The whole page: one mutation of each kind of leaf."""
    lines, last = [_HEAD.rstrip("\n")], ""
    for mutation in one_of_each(outcomes):
        if heading(mutation) != last:
            last = heading(mutation)
            lines += ["", last, "", "| Field | Change | Noticed by |", "|---|---|---|"]
        lines.append(f"{row(mutation)} {outcomes[mutation]} |")
    return "\n".join(lines) + "\n"


def complaint(mutation: Mutation, noticed: str) -> str:
    """What is wrong with who notices a mutation; empty where nothing is."""
    why = equivalent(mutation)
    if noticed and why:
        return f"{mutation.id}: it matters, though {why!r}: noticed by {noticed}"
    if not noticed and not why:
        return f"{mutation.id}: changed to {mutation.change or 'nothing'}, and nobody notices"
    return ""


async def try_all(chosen: Iterable[Mutation] | None = None) -> tuple[dict[Mutation, str], list[str]]:
    """Try every mutation; what each came to, as the table says it, and what is wrong with that."""
    outcomes: dict[Mutation, str] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        async with converged(Path(folder)) as mutated:
            for mutation in chosen or await mutated.mutations():
                noticed = await mutated.noticed(mutation)
                wrong += filter(None, [complaint(mutation, noticed)])
                outcomes[mutation] = noticed or f"*nobody*: {equivalent(mutation) or '**it should be noticed**'}"
                print(f"{mutation.id}: {outcomes[mutation]}", flush=True)
    return outcomes, wrong


def main() -> int:
    """Write the table. Exit codes: 0 all as it should be, 1 not."""
    with asyncio.Runner(loop_factory=PodLoop) as runner:
        outcomes, wrong = runner.run(try_all())
    TABLE.write_text(table(outcomes))
    print(f"{len(outcomes)} mutations: {TABLE}", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

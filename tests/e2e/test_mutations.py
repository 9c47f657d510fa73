"""A mistake in any SNI, port, network, identity or TLS setting of what is written makes a request fail, or is refused.

One mutation of each kind of leaf is tried here; ``make mutations`` tries them all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.mutants import EQUIVALENT, KINDS, Mutation, matches, one_of_each
from tests.e2e.mutated import Mutated, converged
from tests.e2e.mutations import TABLE, complaint, heading, row
from tests.e2e.support import needs_haproxy

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1200),  # more than a hundred mutations, each of which real proxies have to take and give back
    needs_haproxy,
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mutated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mutated]:
    async with converged(tmp_path_factory.mktemp("mutated")) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_mutations(mutated: Mutated) -> list[Mutation]:
    return await mutated.mutations()


async def test_every_kind_of_object_is_there(all_mutations: list[Mutation]) -> None:
    assert {mutation.kind for mutation in all_mutations} == set(KINDS)
    assert len({mutation.id for mutation in all_mutations}) == len(all_mutations)


async def test_whatever_cannot_matter_exists(all_mutations: list[Mutation]) -> None:
    unused = [pattern for pattern in EQUIVALENT if not any(matches(pattern, one) for one in all_mutations)]
    assert not unused, "no mutation is like these any more"


def in_table() -> list[tuple[str, str, str]]:
    """The rows of the table: the heading they are under, the row but for its last column, and that."""
    rows: list[tuple[str, str, str]] = []
    last = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            last = line
        elif line.startswith("| `"):
            _, field, change, who, _ = line.split("|")
            rows.append((last, f"|{field}|{change}|", who.strip()))
    return rows


async def test_the_table_has_every_kind_of_leaf(all_mutations: list[Mutation]) -> None:
    shown = [(under, which) for under, which, _ in in_table()]
    assert shown == [(heading(one), row(one)) for one in one_of_each(all_mutations)], "run `make mutations`"
    assert not [which for _, which, who in in_table() if "it should be noticed" in who]


async def test_one_mutation_of_each_kind_is_noticed(mutated: Mutated, all_mutations: list[Mutation]) -> None:
    """The first of those is asked who notice it in the table; where nobody does, all are."""
    expected = {(under, which): who for under, which, who in in_table()}
    wrong: list[str] = []
    for mutation in one_of_each(all_mutations):
        who = expected[heading(mutation), row(mutation)]
        first = "" if who.startswith("*nobody*") else who.partition("; ")[0]
        found = await mutated.noticed(mutation, expected=first)
        wrong += filter(None, [complaint(mutation, found)])
        if first and found and first not in found.split("; "):
            wrong.append(f"{mutation.id}: noticed by {found}, and not by {first} as in the table: run `make mutations`")
    assert not wrong, "\n".join(wrong)
    await mutated.well()

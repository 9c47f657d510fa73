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


async def test_the_table_has_every_kind_of_leaf(all_mutations: list[Mutation]) -> None:
    shown: list[tuple[str, str]] = []
    last = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            last = line
        elif line.startswith("| `"):
            shown.append((last, "|".join(line.split("|")[:3]) + "|"))
    assert shown == [(heading(one), row(one)) for one in one_of_each(all_mutations)], "run `make mutations`"
    assert "it should be noticed" not in TABLE.read_text()


async def test_one_mutation_of_each_kind_is_noticed(mutated: Mutated, all_mutations: list[Mutation]) -> None:
    wrong: list[str] = []
    for mutation in one_of_each(all_mutations):
        wrong += filter(None, [complaint(mutation, await mutated.noticed(mutation, by_all=False))])
    assert not wrong, "\n".join(wrong)
    await mutated.well()

"""``make bench`` in its smallest form: every measurement is there, and what has a floor is beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.fanout import Scale, fan_out
from tests.bench.run import Plan, bench
from tests.bench.stage import staged


@pytest.mark.timeout(300)
async def test_everything_is_measured(tmp_path: Path) -> None:
    async with staged("sandbox", tmp_path, None) as stage:
        found = await bench(stage, 5, Plan(changes=2, burst=5, rounds=1), burst=True)
    named = {one.what: one for one in found}
    assert list(named) == [
        "cold import",
        "importer's memory",
        "memory an import",
        "restart to ready",
        "restart to a new import",
        "rewritten by a restart",
        "one change",
        "processor, one change",
        "processor, idle",
        "5 changes at once",
    ]
    assert named["rewritten by a restart"].measured.most == 0
    for what in ("cold import", "one change", "5 changes at once", "restart to ready"):
        floor = named[what].floor
        assert floor is not None
        assert 0 < floor.least <= floor.most
    assert named["importer's memory"].measured.p50 > 20


def test_fan_out_is_measured_beside_as_many_bytes() -> None:
    first, change = fan_out(Scale(20, 3, changes=2), 1)
    assert (first.what, change.what) == ("processor, all to 3 subscribers", "processor, one change to 3 subscribers")
    assert first.floor is not None
    assert change.floor is not None

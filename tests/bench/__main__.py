"""``make bench``: see `docs/scale.md`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from meshfed.cli.bench import draw, show_measurements
from meshfed.cli.exits import BadInput, CommandError
from meshfed.cli.output import Format, How, say
from meshfed.views.measurements import Measurement
from tests.bench.fanout import Scale, fan_out
from tests.bench.run import Plan, bench
from tests.bench.stage import Servers, staged
from tests.real_server import assets


def main(
    *,
    sizes: str = "100,1000",
    changes: int = 100,
    burst: int = 1000,
    rounds: int = 2,
    subscribers: int = 100,
    servers: Servers = "sandbox",
    plot: Path | None = None,
    output: Annotated[Format, Parameter(name=["--output", "-o"])] = "table",
) -> None:
    """Measure two controllers on this machine, each beside its floor.

    Parameters
    ----------
    sizes
        The numbers of services to measure at, separated by commas; each in a federation of its own.
    changes
        Single changes to measure; of fewer than 100 there is no 99th percentile.
    burst
        Changes at once, which are measured at the last of the sizes alone.
    rounds
        How often cold imports and restarts are measured.
    subscribers
        How many follow one discovery service, at the last of the sizes; 0 measures no such thing.
    servers
        The sandbox's API servers, or real ones, whose binaries are in the folder that KUBEBUILDER_ASSETS names.
    plot
        Draw the ratios into this file, as SVG.
    output
        A table, with more columns if wide; a document; or the names of what was measured alone.
    """
    binaries = assets() if servers == "kube-apiserver" else None
    if servers == "kube-apiserver" and binaries is None:
        raise BadInput("--servers kube-apiserver: set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd")
    counts = [int(size) for size in sizes.split(",")]
    measured = asyncio.run(_all(servers, binaries, counts, Plan(changes=changes, burst=burst, rounds=rounds)))
    if subscribers:
        say(f"{subscribers} subscribers of {counts[-1]} services")
        measured += fan_out(Scale(counts[-1], subscribers, changes=5), 1)
    show_measurements(measured, How(output))
    if plot is not None:
        draw(measured, plot)


async def _all(servers: Servers, binaries: Path | None, sizes: list[int], plan: Plan) -> list[Measurement]:
    found: list[Measurement] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="meshfed-bench-") as directory:
            async with staged(servers, Path(directory), binaries) as stage:
                found += await bench(stage, size, plan, burst=size == sizes[-1])
    return sorted(found, key=lambda one: [other.what for other in found].index(one.what))


if __name__ == "__main__":
    os.environ.pop("KUBECONFIG", None)
    app = cyclopts.App(name="make bench", default_parameter=Parameter(negative=""))
    app.default(main)
    try:
        app()
    except* CommandError as errors:
        say(str(errors.exceptions[0]))
        sys.exit(1)

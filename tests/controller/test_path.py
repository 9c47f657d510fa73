"""How much of our code a change passes through: a label set on a Service in one mesh, and what both meshes make of it.

A stranger who follows a change has to open each of these files. So there may be no more of them than there are now.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import meshfed
from tests.builders import host, service
from tests.controller.meshes import Mesh, federated
from tests.waiting import eventually

MOST_FILES = 111
"""Of ours, in both meshes together. Where a change needs fewer now, this goes down with it; the goal is 45."""
OURS = f"{Path(meshfed.__file__).parent}/"
GENERATED = f"{OURS}fds/pb/"
SECONDS = 1.0
"""After which all the rest was done: Events, and the status of the mesh."""
NAMES = ("one", "two", "three")

Function = tuple[str, str]
"""The file that has a function, and its name there."""


@contextmanager
def calls() -> Iterator[Counter[Function]]:
    """Count the calls of our functions meanwhile; a coroutine that goes on counts as called again."""
    found: Counter[Function] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and not code.co_filename.startswith(GENERATED):
            found[code.co_filename.removeprefix(OURS), code.co_qualname] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def made_by(east: Mesh, west: Mesh, name: str) -> Counter[Function]:
    """Export a Service of west, until all that follows from it was done; returns what was called."""
    with calls() as found:
        await west.label(name, export_service="true")
        await eventually(lambda: east.condition("FederatedService", f"{host(name)}.west", "Applied")[0] == "True")
        await asyncio.sleep(SECONDS)
    assert host(name) in east.imported()
    return found


async def test_a_change_passes_through_few_files() -> None:
    services = {"west": [service(name) for name in ("first", *NAMES)]}
    async with federated("east", "west", services=services) as (east, west):
        await west.label("first", export_service="true")
        await eventually(lambda: len(east.imported()) == 1)
        await asyncio.sleep(SECONDS)
        with calls() as idle:
            await asyncio.sleep(SECONDS)
        found = [await made_by(east, west, name) for name in NAMES]
    # What comes by the clock comes in one of them, or in none.
    path = {
        function: min(one[function] for one in found)
        for function in found[0]
        if all(function in one for one in found) and function not in idle
    }
    files = Counter[str]()
    for (file, _), number in path.items():
        files[file] += number
    assert len(files) > 20, "this counts nothing"
    lines = [f"{file}: {sum(of == file for of, _ in path)} functions, {files[file]} calls" for file in sorted(files)]
    total = f"{len(files)} files, {len(path)} functions, {files.total()} calls"
    assert len(files) <= MOST_FILES, "\n".join([total, *lines])

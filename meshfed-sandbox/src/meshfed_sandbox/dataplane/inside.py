"""Runs ``meshfed`` as it is released, in a Pod: ``python -m meshfed_sandbox.dataplane.inside PLACE ARGUMENTS...``.

``PLACE`` is a ``Place`` as JSON; what follows are the arguments of ``meshfed``, such as ``controller --namespace=...``.
"""

from __future__ import annotations

import asyncio
import runpy
import sys

import msgspec

from meshfed_sandbox.dataplane.network import PLACE, Place, PodLoop


def command(place: Place, *arguments: str) -> list[str]:
    """The command line that runs ``meshfed`` with ``arguments`` in ``place``."""
    return [sys.executable, "-m", "meshfed_sandbox.dataplane.inside", msgspec.json.encode(place).decode(), *arguments]


def main() -> None:
    """Install the Pod's network, and become ``meshfed``."""
    PLACE.set(msgspec.json.decode(sys.argv[1], type=Place))
    # What asyncio.run makes its loop with, in every version since 3.11, where it is given no factory.
    asyncio.events.new_event_loop = PodLoop
    sys.argv[:] = ["meshfed", *sys.argv[2:]]
    runpy.run_module("meshfed", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

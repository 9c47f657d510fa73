"""``meshfed demo``: the main job on this machine, shown step by step and checked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit, OutOfReach


def demo(
    *,
    keep: Annotated[bool, Parameter(show_default=False)] = False,
    directory: Annotated[Path | None, Parameter(name="--dir")] = None,
) -> int:
    """Federate two meshes on this machine and show what appears where; exit 0 only if every step held.

    Parameters
    ----------
    keep
        Leave everything up at the end, for exploring with kubectl, until SIGINT or SIGTERM.
    directory
        Where kubeconfigs, manifests and the controllers' logs are written; a temporary folder where none is named.
    """
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshfed-demo-")))
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--dir {directory}: {error.strerror}") from error
        return asyncio.run(_interruptible(directory, keep=keep))


async def _interruptible(directory: Path, *, keep: bool) -> int:
    """Run the demo; a signal ends it in an orderly way, controllers and all."""
    loop = asyncio.get_running_loop()
    running = loop.create_task(_run(directory, keep=keep))
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await running
    except asyncio.CancelledError:
        if not stopped:
            raise
        return Exit.OK if keep else Exit.NOT_HELD


async def _run(directory: Path, *, keep: bool) -> int:
    from rich.console import Console

    from meshfed.api.crds import all_crds
    from meshfed.sandbox import Sandbox
    from meshfed.sandbox.demo.play import Play
    from meshfed.sandbox.demo.screen import Screen
    from meshfed.sandbox.demo.stage import StepFailed, staged

    screen = Screen(Console())
    try:
        async with (
            Sandbox(("east", "west"), directory=directory, crds=all_crds()) as box,
            staged(directory, box.kubeconfigs) as stage,
        ):
            try:
                await Play(stage, screen).perform()
            except StepFailed as error:
                screen.failed(str(error))
                screen.logs({name: actor.controller.last_words() for name, actor in stage.actors.items()})
                print("demo: failed", flush=True)
                return Exit.NOT_HELD
            if keep:
                screen.explore({name: actor.kubeconfig for name, actor in stage.actors.items()})
            print("demo: ok", flush=True)
            if keep:
                await asyncio.Event().wait()
    except OSError as error:
        raise OutOfReach(str(error)) from error
    return Exit.OK

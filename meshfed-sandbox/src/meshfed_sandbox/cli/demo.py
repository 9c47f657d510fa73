"""``meshfed demo``: the main job on this machine, shown step by step and checked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit, OutOfReach

if TYPE_CHECKING:
    from meshfed_sandbox.demo.screen import Screen
    from meshfed_sandbox.demo.stage import Stage

Hints = Sequence[tuple[str, Sequence[str]]]

_PICTURE: Final = "meshfed-demo.svg"


def demo(
    *,
    keep: Annotated[bool, Parameter(show_default=False)] = False,
    control_plane_only: Annotated[bool, Parameter(show_default=False)] = False,
    directory: Annotated[Path | None, Parameter(name="--dir")] = None,
) -> int:
    """Federate two meshes on this machine, send requests through them, and show what came of it.

    Exit code 0 only if every step held. A picture of the requests is left in `meshfed-demo.svg`.

    Parameters
    ----------
    keep
        Leave everything up at the end, for exploring with a browser and kubectl, until SIGINT or SIGTERM.
    control_plane_only
        Run no Pods and send no requests: Kubernetes APIs and controllers alone, which needs no Envoy.
    directory
        Where kubeconfigs, manifests and logs are written; a temporary folder where none is named.
    """
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshfed-demo-")))
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--dir {directory}: {error.strerror}") from error
        if control_plane_only:
            return asyncio.run(_interruptible(directory, keep=keep, requests=False))
        from meshfed_sandbox.dataplane.network import PodLoop
        from meshfed_sandbox.dataplane.proxy import envoy_path

        try:
            envoy_path()
        except FileNotFoundError as error:
            raise OutOfReach(f"{error}, or go without requests: meshfed demo --control-plane-only") from error
        with asyncio.Runner(loop_factory=PodLoop) as runner:
            return runner.run(_interruptible(directory, keep=keep, requests=True))


async def _interruptible(directory: Path, *, keep: bool, requests: bool) -> int:
    """Run the demo; a signal ends it in an orderly way, controllers and all."""
    loop = asyncio.get_running_loop()
    running = loop.create_task(_run(directory, keep=keep, requests=requests))
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


async def _run(directory: Path, *, keep: bool, requests: bool) -> int:
    from rich.console import Console

    from meshfed.api.crds import all_crds
    from meshfed_sandbox import Sandbox
    from meshfed_sandbox.demo.controllers import StepFailed
    from meshfed_sandbox.demo.screen import Screen
    from meshfed_sandbox.demo.stage import staged

    screen = Screen(Console())
    options = None
    if requests:
        from meshfed_sandbox.dataplane.plane import Options

        options = Options()
    try:
        async with (
            Sandbox(("east", "west"), directory=directory, crds=all_crds(), data_plane=options) as box,
            staged(directory, box.kubeconfigs, box.data_plane if requests else None) as stage,
            contextlib.AsyncExitStack() as stack,
        ):
            try:
                hints = await (_with_requests(stage, screen, stack) if requests else _without(stage, screen))
            except StepFailed as error:
                screen.failed(str(error))
                screen.logs({name: actor.controller.last_words() for name, actor in stage.actors.items()})
                print("demo: failed", flush=True)
                return Exit.NOT_HELD
            if keep:
                screen.explore(hints)
            print("demo: ok", flush=True)
            if keep:
                await asyncio.Event().wait()
    except OSError as error:
        raise OutOfReach(str(error)) from error
    return Exit.OK


async def _without(stage: Stage, screen: Screen) -> Hints:
    """Play without requests; returns what to try afterwards."""
    from meshfed_sandbox.demo.play import Play

    await Play(stage, screen).perform()
    return [
        _dashboard(stage),
        ("What each mesh has:", [_look(actor.kubeconfig) for actor in stage.actors.values()]),
    ]


async def _with_requests(stage: Stage, screen: Screen, stack: contextlib.AsyncExitStack) -> Hints:
    """Play with requests, and show them; returns what to try afterwards. ``stack`` keeps the front door open."""
    from meshfed_sandbox import picture
    from meshfed_sandbox.demo.requests import PlayWithRequests

    if stage.plane is not None:
        stage.plane.heard = lambda problem: screen.line(f"problem: {problem}")
    play = PlayWithRequests(stage, screen)
    door = await stack.enter_async_context(play.traffic.door)
    await play.perform()
    screen.picture(play.picture)
    screen.line(_written(picture.svg(play.picture)))
    east, west = (f"kubectl --kubeconfig {stage.actors[mesh].kubeconfig}" for mesh in ("east", "west"))
    return [
        (f"The product page, which says who answered for what:  {door.url}/productpage", []),
        _dashboard(stage),
        (
            "West takes ratings back; with =true instead of the dash they are there again:",
            [f"{west} label service ratings export-service-"],
        ),
        (
            "Productpage may not ask ratings, until west's AuthorizationPolicy is gone:",
            [f"curl {door.url}/api/v1/products/0/ratings", f"{west} delete -f {play.policy_file}"],
        ),
        (
            "East's reviews are gone, and west's answer:",
            [f"""{east} patch deployment reviews --patch '{{"spec": {{"replicas": 0}}}}'"""],
        ),
        (
            "What each mesh has, and what its Pods log:",
            [*(_look(actor.kubeconfig) for actor in stage.actors.values()), f"ls {stage.directory}/*/*"],
        ),
    ]


def _written(svg: str) -> str:
    """Write the picture into the working folder; returns what to say of it."""
    try:
        Path(_PICTURE).write_text(svg, encoding="utf-8")
    except OSError as error:
        return f"the same as a picture is not in {_PICTURE}, which cannot be written here: {error.strerror}"
    return f"the same as a picture: {_PICTURE}"


def _dashboard(stage: Stage) -> tuple[str, list[str]]:
    kubeconfigs = ":".join(str(actor.kubeconfig) for actor in stage.actors.values())
    contexts = " ".join(f"--context {mesh}" for mesh in stage.actors)
    return "Both meshes as a web page, which follows what is done below:", [
        f"KUBECONFIG={kubeconfigs} meshfed dashboard {contexts}"
    ]


def _look(kubeconfig: Path) -> str:
    return f"kubectl --kubeconfig {kubeconfig} get federation,gateways,serviceentries,workloadentries -A"

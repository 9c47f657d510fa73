"""``meshfed bench``: how long a change takes between two meshes, beside the least that their API servers allow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from meshfed.cli.clusters import InClusters, clusters, look_at
from meshfed.cli.exits import BadInput, CommandError, Exit, NotHeld, OutOfReach
from meshfed.cli.kinds import OURS
from meshfed.cli.output import Format, How, Listing, TableColumn, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfed.cli.bench_pair import BenchPair
    from meshfed.kube import ClusterConfig
    from meshfed.views.measurable import BenchCourse
    from meshfed.views.measurements import Measurement

_MOST: Final = 2000
"""Of Services: up to 3,000 changes of a remote within a minute are followed at once, others at 50 a second."""


@Parameter(name="*")
@dataclass(frozen=True)
class BenchClusters:
    """Which two clusters: first the one that exports, then the one that imports."""

    kubeconfig: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = ()
    """The kubeconfig file; given twice, the second is of the cluster that imports. Without it: $KUBECONFIG, then
    ~/.kube/config.
    """
    context: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = ()
    """The kubeconfig's context; given twice, the second is of the cluster that imports."""
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None
    """The controllers' namespace, in both. Without it, in each the one that has a MeshFederation."""
    request_timeout: str = "20s"
    """How long a cluster has to answer, such as 5s or 1m."""


def bench(
    *,
    services: int = 100,
    changes: int = 100,
    label: str = "export-service=true",
    timeout: str = "60s",
    plot: Path | None = None,
    output: Annotated[Format, Parameter(name=["--output", "-o"])] = "table",
    where: BenchClusters = BenchClusters(),
) -> int:
    """Measure how long a change takes from one mesh to another, beside the least that their APIs allow.

    In a namespace `meshfed-bench`, in both clusters, Services without pods are made and labelled, and the time is taken
    until the other mesh has a ServiceEntry for each. In turn with that, a bare loop makes the same requests by the same
    client, and decides nothing: the floor. FLOOR of 1 x would be a controller that takes no time. However it ends, what
    it made is removed; a withdrawal that is held for it is let through.

    Exit codes: 0 measured, 1 the two meshes do not federate what would be measured, or something did not arrive in
    time, 2 bad usage, 3 a cluster cannot be reached.

    Parameters
    ----------
    services
        How many Services are labelled at once, and in place while single changes are measured.
    changes
        How many single changes to measure; of fewer than 100 there is no 99th percentile.
    label
        KEY=VALUE by which the first mesh exports a Service.
    timeout
        How long to wait for what does not come.
    plot
        Draw the ratios into this file, as SVG.
    output
        A table, with more columns if wide; a document; or the names of what was measured alone.
    """
    import asyncio

    from meshfed.cli.arguments import duration

    if not 1 <= services <= _MOST or not 1 <= changes <= _MOST:
        raise BadInput(f"--services {services} --changes {changes}: each is from 1 to {_MOST}")
    key, equals, value = label.partition("=")
    if not key or not equals:
        raise BadInput(f"--label {label}: write it as KEY=VALUE")
    found = _two(where)
    asked = _Asked(services, changes, (key, value), duration("--timeout", timeout))
    try:
        measured = asyncio.run(_interruptible(found, where, asked))
    except* CommandError as errors:
        raise _first(errors) from None
    show_measurements(measured, How(output))
    if plot is not None:
        draw(measured, plot)
    return Exit.OK


@dataclass(frozen=True)
class _Asked:
    services: int
    changes: int
    label: tuple[str, str]
    patience: float


def show_measurements(measured: Sequence[Measurement], how: How) -> None:
    """Print what was measured: ratios first, since they hold on other machines too."""
    from meshfed.views.measurements import amount, spread, times

    columns = [
        TableColumn[Any]("WHAT", lambda one: one.what),
        TableColumn[Any]("SERVICES", lambda one: str(one.services)),
        TableColumn[Any]("TIMES FLOOR", lambda one: times(one.ratio.p50 if one.ratio else None)),
        TableColumn[Any]("WITHIN", lambda one: spread(one.ratio)),
        TableColumn[Any]("P99", lambda one: times(one.ratio.p99 if one.ratio else None)),
        TableColumn[Any]("MEASURED", lambda one: amount(one.measured, one.unit)),
        TableColumn[Any]("FLOOR", lambda one: amount(one.floor, one.unit)),
        TableColumn[Any]("ROUNDS", lambda one: str(one.measured.samples)),
    ]
    show(Listing("MeasurementList", columns, measured, lambda one: one.what), how)


def draw(measured: Sequence[Measurement], plot: Path) -> None:
    """Draw the ratios; raises ``BadInput`` where the file cannot be written."""
    from meshfed.views.plots import ratio_plot

    try:
        plot.write_text(ratio_plot(measured), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--plot {plot}: {error.strerror}") from error


def _two(where: BenchClusters) -> tuple[tuple[str, ClusterConfig], ...]:
    """The two clusters; raises ``BadInput``."""
    files, contexts = where.kubeconfig, where.context
    if max(len(files), len(contexts)) != 2 or not {len(files), len(contexts)} <= {0, 1, 2}:
        raise BadInput(
            "name two clusters: the one that exports, then the one that imports, each by --context or --kubeconfig"
        )
    if len(contexts) == 1:
        contexts *= 2
    if len(files) < 2:
        (file,) = files or (None,)
        return clusters(InClusters(kubeconfig=file, context=contexts))
    return tuple(
        clusters(InClusters(kubeconfig=file, context=contexts[number : number + 1]))[0]
        for number, file in enumerate(files)
    )


async def _interruptible(
    found: Sequence[tuple[str, ClusterConfig]], where: BenchClusters, asked: _Asked
) -> tuple[Measurement, ...]:
    """Measure; SIGTERM ends it as SIGINT does, in an orderly way."""
    import asyncio
    import contextlib
    import signal

    running = asyncio.current_task()
    if running is not None:
        with contextlib.suppress(RuntimeError):  # outside of the main thread there are no signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        return await _measure(found, where, asked)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _measure(
    found: Sequence[tuple[str, ClusterConfig]], where: BenchClusters, asked: _Asked
) -> tuple[Measurement, ...]:
    from meshfed.cli.bench_pair import BenchPair, find_kinds, meanwhile
    from meshfed.kube import Client, KubeError

    course = await find_course(found, where, asked.label)
    if course.room < asked.services + asked.changes + 3:
        raise NotHeld(
            f"{course.importer} takes {course.room} more hosts from {course.exporter}, fewer than are measured with: "
            f"give fewer --services or --changes, or raise `import.limit` of RemoteMesh {course.exporter}"
        )
    (_, exporting), (_, importing) = found
    try:
        async with Client(exporting) as exporter, Client(importing) as importer:
            kinds = await find_kinds(exporter, importer)
            pair = BenchPair(exporter, importer, kinds, course, label=asked.label, patience=asked.patience)
            await pair.begin()
            async with meanwhile(pair.entries.run()):
                try:
                    return await rounds(pair, asked.services, asked.changes)
                finally:
                    say("cleaning up")
                    await pair.clean_up()
    except* KubeError as errors:
        raise OutOfReach(str(_first(errors))) from None


async def rounds(pair: BenchPair, services: int, changes: int) -> tuple[Measurement, ...]:
    """Label ``services`` at once and then ``changes`` one by one, each beside its floor."""
    from meshfed.views.measurements import measurement

    say(f"making {services + changes + 3} Services in {pair.course.exporter}, and as many for the floor")
    await pair.make(services + changes + 3)
    async with pair.beside_floor():
        say(f"labelling {services} at once")
        floor = await pair.floor_of_changes(range(services))
        at_once = await pair.label(pair.names[:services], what=f"{services} changes at once")
        measured = [measurement("changes at once", services, "s", [at_once], [floor])]
        say(f"labelling {changes}, one by one")
        took, floors = await one_by_one(pair, range(services, services + changes))
        measured.append(measurement("one change", services, "ms", took, floors))
    return tuple(measured)


async def one_by_one(pair: BenchPair, numbers: range) -> tuple[list[float], list[float]]:
    """Return the milliseconds of single changes, and of as many of the bare loop, in turns.

    Who comes first changes each time, and they do not follow each other in step with any clock of a controller.
    """
    import asyncio
    import random

    rng = random.Random(0)  # noqa: S311 - it keeps no secret
    took: list[float] = []
    floors: list[float] = []
    for done, number in enumerate(numbers):
        for turn in (0, 1):
            await asyncio.sleep(rng.uniform(0.03, 0.09))
            if (done + turn) % 2:
                took.append(1000 * await pair.change())
            else:
                floors.append(1000 * await pair.floor_of_change(number))
        if done % 50 == 49:
            say(f"{done + 1} of {len(numbers)}")
    return took, floors


async def find_course(
    found: Sequence[tuple[str, ClusterConfig]], where: BenchClusters, label: tuple[str, str]
) -> BenchCourse:
    """Return the way of the bench's Services; raises ``NotHeld`` where there is none, and ``OutOfReach``."""
    from meshfed.cli.bench_pair import namespace, service
    from meshfed.views.measurable import SAMPLE, NotMeasurable, course

    asked = InClusters(namespace=where.namespace, request_timeout=where.request_timeout)
    seen, unreached = await look_at(found, asked, OURS)
    if unreached:
        raise OutOfReach("; ".join(f"{one.source}: not reached: {one.why}" for one in unreached))
    for snapshot in seen:
        if snapshot.unread:
            raise NotHeld(f"{snapshot.source}: {next(iter(snapshot.unread.values()))}")
    exporter, importer = seen
    try:
        return course(exporter, importer, namespace(), service(SAMPLE, {}), service(SAMPLE, dict([label])))
    except NotMeasurable as error:
        raise NotHeld(str(error)) from error


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first error of a group, however deep; the others follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

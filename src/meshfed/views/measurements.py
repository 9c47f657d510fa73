"""What was measured beside its floor: what of many rounds a person is told, and whether it can be relied on.

A round is a pair: something is done by the controllers, and the same requests are made by a bare loop, one right after
the other. So what else the machine does falls on both, and the ratio says more than the times.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

TAIL: Final = 100
"""The samples that it takes to speak of a 99th percentile: of fewer, it would be the worst by another name."""
_BLOCKS: Final = 5


class Summary(msgspec.Struct, frozen=True):
    """What samples come to, in the unit of the measurement.

    ``p99`` is ``None`` of fewer than `TAIL` samples. Percentiles are samples themselves, by nearest rank.
    """

    samples: int
    p50: float
    p99: float | None
    least: float
    most: float


class Ratio(msgspec.Struct, frozen=True):
    """How many times the floor it is, by the median and by the 99th percentile.

    ``low`` and ``high``: of the rounds in order, cut into up to five blocks, the block with the lowest and that with
    the highest ratio of medians. Where the two are far apart, measure again on a quieter machine.
    """

    p50: float
    p99: float | None
    low: float
    high: float


class Measurement(msgspec.Struct, frozen=True):
    """One quantity, at one number of services: ``measured`` on the controllers, and its ``floor`` where it has one.

    ``unit`` is ms, s, MB, KB or %, a percentage that of one core, or empty for counts. ``ratio`` is ``None`` where the
    floor is nothing.
    """

    what: str
    services: int
    unit: str
    measured: Summary
    floor: Summary | None = None
    ratio: Ratio | None = None


def measurement(
    what: str, services: int, unit: str, measured: Sequence[float], floor: Sequence[float] = ()
) -> Measurement:
    """Return what the samples come to; ``floor`` has one for each of ``measured``, or none.

    Raises ``ValueError`` where there is no sample, or not one of each in every round.
    """
    if not measured or (floor and len(floor) != len(measured)):
        raise ValueError(f"{what}: {len(measured)} samples, and {len(floor)} of its floor")
    return Measurement(
        what=what,
        services=services,
        unit=unit,
        measured=_summary(measured),
        floor=_summary(floor) if floor else None,
        ratio=_ratio(measured, floor) if floor and min(floor) > 0 else None,
    )


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the least sample that ``percent`` of all are not above; there has to be one."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _summary(samples: Sequence[float]) -> Summary:
    return Summary(
        samples=len(samples),
        p50=percentile(samples, 50),
        p99=percentile(samples, 99) if len(samples) >= TAIL else None,
        least=min(samples),
        most=max(samples),
    )


def _ratio(measured: Sequence[float], floor: Sequence[float]) -> Ratio:
    blocks = min(_BLOCKS, len(measured))
    edges = [len(measured) * number // blocks for number in range(blocks + 1)]
    ratios = [
        percentile(measured[begin:end], 50) / percentile(floor[begin:end], 50)
        for begin, end in itertools.pairwise(edges)
    ]
    return Ratio(
        p50=percentile(measured, 50) / percentile(floor, 50),
        p99=percentile(measured, 99) / percentile(floor, 99) if len(measured) >= TAIL else None,
        low=min(ratios),
        high=max(ratios),
    )


def times(ratio: float | None) -> str:
    """Return a ratio as people read it, ``5.5 x``; a dash where there is none."""
    return "-" if ratio is None else f"{ratio:.3g} x" if ratio < 100 else f"{ratio:.0f} x"


def spread(ratio: Ratio | None) -> str:
    """Return how far the blocks of a ratio lie apart, ``5.3-5.8``."""
    return "-" if ratio is None else f"{ratio.low:.3g}-{ratio.high:.3g}"


def amount(summary: Summary | None, unit: str) -> str:
    """Return what samples come to, ``68 ms (p99 75)``, of few samples with the worst in place of the percentile."""
    if summary is None:
        return "-"
    middle = f"{_number(summary.p50)} {unit}".rstrip()
    if summary.samples == 1:
        return middle
    tail = f"worst {_number(summary.most)}" if summary.p99 is None else f"p99 {_number(summary.p99)}"
    return f"{middle} ({tail})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

"""What of samples is told: percentiles that are samples, ratios that say how far to rely on them, and a picture."""

from __future__ import annotations

import random
from xml.etree import ElementTree

import pytest

from meshfed.views.measurements import amount, measurement, percentile, spread, times
from meshfed.views.plots import ratio_plot


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 102)], 99, 100.0),
        ([float(n) for n in range(1, 1001)], 99, 990.0),
        ([1.0, 2.0], 0, 1.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_a_percentile_is_the_sample_that_so_many_are_not_above(
    samples: list[float], percent: int, expected: float
) -> None:
    random.Random(1).shuffle(samples)
    assert percentile(samples, percent) == expected


def test_few_samples_have_no_99th_percentile() -> None:
    few, many = ([float(number + 1) for number in range(count)] for count in (99, 100))
    found = measurement("w", 1, "ms", few, few)
    assert (found.measured.p99, found.ratio.p99 if found.ratio else 0) == (None, None)
    assert amount(found.measured, "ms") == "50 ms (worst 99)"
    found = measurement("w", 1, "ms", many, many)
    assert (found.measured.p99, found.ratio.p99 if found.ratio else 0) == (99.0, 1.0)
    assert amount(found.measured, "ms") == "50 ms (p99 99)"


def test_a_machine_that_is_busy_for_a_while_is_seen_in_the_spread() -> None:
    measured = [10.0] * 80 + [40.0] * 20
    found = measurement("w", 1, "ms", measured, [5.0] * 100).ratio
    assert found is not None
    assert (found.p50, found.low, found.high) == (2.0, 2.0, 8.0)
    assert spread(found) == "2-8"


def test_what_slows_both_down_changes_no_ratio() -> None:
    slow = [1.0] * 50 + [7.0] * 50
    found = measurement("w", 1, "ms", [3.0 * one for one in slow], slow).ratio
    assert found is not None
    assert (found.p50, found.low, found.high) == (3.0, 3.0, 3.0)


def test_nothing_is_compared_with_nothing() -> None:
    assert measurement("w", 1, "%", [3.0], [0.0]).ratio is None
    assert measurement("w", 1, "", [0.0]).floor is None
    assert (times(None), spread(None), amount(None, "ms")) == ("-", "-", "-")


@pytest.mark.parametrize("floor", [[1.0], [1.0, 2.0, 3.0]], ids=["fewer", "more"])
def test_rounds_are_pairs(floor: list[float]) -> None:
    with pytest.raises(ValueError, match="2 samples, and"):
        measurement("w", 1, "ms", [1.0, 2.0], floor)


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, "1 x"), (5.456, "5.46 x"), (12.34, "12.3 x"), (345.6, "346 x")])
def test_ratios_are_short(ratio: float, expected: str) -> None:
    assert times(ratio) == expected


def test_a_picture_has_what_has_a_ratio_in_its_place() -> None:
    rows = [
        measurement("faster <than> it", 10, "ms", [1.0], [2.0]),
        measurement("as fast", 1000, "ms", [2.0], [2.0]),
        measurement("slower", 10000, "ms", [16.0], [2.0]),
        measurement("counted", 10, "", [3.0]),
    ]
    root = ElementTree.fromstring(ratio_plot(rows))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text and text.endswith("services")] == [
        "faster <than> it, 10 services",
        "as fast, 1,000 services",
        "slower, 10,000 services",
    ]
    dots = [float(dot.attrib["cx"]) for dot in root.iter("{http://www.w3.org/2000/svg}circle")]
    half, one, eight = dots
    assert one - half == pytest.approx((eight - one) / 3, abs=0.2)
    bold = next(line for line in root.iter("{http://www.w3.org/2000/svg}line") if line.attrib["stroke"] == "#1c2330")
    assert float(bold.attrib["x1"]) == one, "the bold line is the floor"

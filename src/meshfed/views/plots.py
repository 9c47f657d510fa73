"""The ratios of measurements as a picture: how many times its floor each takes, on a scale of doublings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from meshfed.paint import Look, attributes, style
from meshfed.views.measurements import Measurement, amount, spread, times

_LEFT, _WIDTH, _RIGHT, _ROW, _TOP = 230, 330, 250, 30, 58
_LOOKS: Final[dict[str, Look]] = {
    "paper": {"fill": ("#ffffff", "#12161d")},
    "title": {"fill": ("#1c2330", "#e4e8ee"), "font-weight": "600"},
    "words": {"fill": ("#1c2330", "#e4e8ee")},
    "faint": {"fill": ("#505b6b", "#9aa5b5")},
    "floor": {"stroke": ("#1c2330", "#e4e8ee")},
    "scale": {"stroke": ("#d5dbe3", "#2c3542")},
    "dot": {"fill": ("#2f62c9", "#7aa2f0")},
    "span": {
        "stroke": ("#2f62c9", "#7aa2f0"),
        "stroke-width": "4",
        "stroke-linecap": "round",
        "stroke-opacity": "0.35",
    },
}
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def ratio_plot(measured: Sequence[Measurement], title: str = "Times the floor") -> str:
    """Return the SVG: a row for each measurement that has a ratio, a dot at it, and a bar over what its blocks span."""
    rows = [one for one in measured if one.ratio is not None]
    most = max((one.ratio.high for one in rows if one.ratio is not None), default=1.0)
    least = min((one.ratio.low for one in rows if one.ratio is not None), default=1.0)
    low, high = math.floor(math.log2(min(1.0, least))), max(1, math.ceil(math.log2(max(2.0, most))))
    height = _TOP + _ROW * len(rows) + 24
    width = _LEFT + _WIDTH + _RIGHT

    def x(ratio: float) -> float:
        return round(_LEFT + _WIDTH * (math.log2(ratio) - low) / (high - low), 1)

    size = f'viewBox="0 0 {width} {height}" font-family="{_FONT}" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        style(_LOOKS),
        f'<rect {_look("paper")} width="{width}" height="{height}" rx="12"/>',
        _text(16, 24, title, "title"),
    ]
    for power in range(low, high + 1):
        at, kind = x(2.0**power), "scale" if power else "floor"
        parts.append(f'<line {_look(kind)} x1="{at}" x2="{at}" y1="{_TOP - 10}" y2="{height - 16}"/>')
        parts.append(_text(at, _TOP - 16, times(2.0**power), "faint", anchor="middle"))
    for number, one in enumerate(rows):
        if one.ratio is None:
            continue
        y, within = _TOP + _ROW * number + _ROW // 2, f"<title>{spread(one.ratio)}</title>"
        parts += [
            _text(16, y + 4, f"{one.what}, {one.services:,} services"),
            f'<line {_look("span")} x1="{x(one.ratio.low)}" x2="{x(one.ratio.high)}" y1="{y}" y2="{y}"/>',
            f'<circle {_look("dot")} cx="{x(one.ratio.p50)}" cy="{y}" r="5">{within}</circle>',
            _text(_LEFT + _WIDTH + 16, y + 4, f"{times(one.ratio.p50)}: {amount(one.measured, one.unit)}", "faint"),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "words", *, anchor: str = "start") -> str:
    return f'<text {_look(kind)} x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _look(kind: str) -> str:
    return attributes(_LOOKS, kind)

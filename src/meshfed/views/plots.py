"""The ratios of measurements as a picture: how many times its floor each takes, on a scale of doublings.

It is SVG with plain attributes alone, which every program that shows SVG paints as meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from meshfed.views.measurements import Measurement, amount, spread, times

_LEFT, _WIDTH, _RIGHT, _ROW, _TOP = 230, 330, 250, 30, 58
_INK: Final = "#1c2330"
_FAINT: Final = "#505b6b"
_LINE: Final = "#d5dbe3"
_DOT: Final = "#2f62c9"
_SPAN: Final = f'stroke="{_DOT}" stroke-width="4" stroke-linecap="round" stroke-opacity="0.35"'
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
        f'<rect fill="#ffffff" width="{width}" height="{height}" rx="12"/>',
        _text(16, 24, title, weight="600"),
    ]
    for power in range(low, high + 1):
        at, bold = x(2.0**power), power == 0
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="{_TOP - 10}" y2="{height - 16}" stroke="{_INK if bold else _LINE}"/>'
        )
        parts.append(_text(at, _TOP - 16, times(2.0**power), anchor="middle", fill=_FAINT))
    for number, one in enumerate(rows):
        if one.ratio is None:
            continue
        y = _TOP + _ROW * number + _ROW // 2
        parts += [
            _text(16, y + 4, f"{one.what}, {one.services:,} services"),
            f'<line x1="{x(one.ratio.low)}" x2="{x(one.ratio.high)}" y1="{y}" y2="{y}" {_SPAN}/>',
            f'<circle cx="{x(one.ratio.p50)}" cy="{y}" r="5" fill="{_DOT}"><title>{spread(one.ratio)}</title></circle>',
            _text(
                _LEFT + _WIDTH + 16,
                y + 4,
                f"{times(one.ratio.p50)}: {amount(one.measured, one.unit)}",
                fill=_FAINT,
            ),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400", fill: str = _INK) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">{escape(text)}</text>'

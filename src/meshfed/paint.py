"""How pictures are coloured: as attributes for light surroundings, and in a style sheet for dark ones.

Attributes are what every program that shows SVG knows. Many know no style sheets, or no variables in them, and paint
whatever has no colour black.
"""

from __future__ import annotations

from collections.abc import Mapping
from colorsys import hls_to_rgb
from typing import Final

MONOSPACE: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
Colour = tuple[str, str]
"""A colour in light surroundings, and in dark ones."""
Look = dict[str, str | Colour]
"""Presentation attributes of SVG, by their name; each kind of element has one look."""


def shade(hue: int, saturation: int, lightness: int) -> str:
    """A colour by its hue in degrees, and by its saturation and lightness in percent."""
    parts = hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def attributes(looks: Mapping[str, Look], kind: str) -> str:
    """An element's kind, as its class, and its look in light surroundings."""
    plain = {name: value if isinstance(value, str) else value[0] for name, value in looks[kind].items()}
    return " ".join(f'{name}="{value}"' for name, value in {"class": kind, **plain}.items())


def style(looks: Mapping[str, Look]) -> str:
    """The style sheet, for dark surroundings, of all kinds of elements."""
    rules = []
    for kind, look in looks.items():
        dark = " ".join(f"{name}: {value[1]};" for name, value in look.items() if not isinstance(value, str))
        rules.append(f".{kind} {{ {dark} }}\n" if dark else "")
    return (
        "<style>\nsvg { color-scheme: light dark; }\n"
        f"@media (prefers-color-scheme: dark) {{\n{''.join(rules)}}}\n</style>"
    )

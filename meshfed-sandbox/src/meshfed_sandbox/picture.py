"""Pictures of what flows between meshes: as SVG for a page, as text for a terminal.

Both are drawn as sequences. Each service and gateway has a line, in the band of its mesh, and each flow is a row: an
arrow from line to line, through the gateways on its way, under what is known of it. However many flows there are,
nothing is drawn over anything else.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from meshfed.paint import MONOSPACE, Look, attributes, shade, style

MAX_MESHES: Final = 4


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """A mesh: its name, its services, and its gateways."""

    name: str
    services: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ("gateway",)


class Stop(msgspec.Struct, frozen=True):
    """A service or a gateway of a mesh, by name."""

    mesh: str
    name: str

    def __str__(self) -> str:
        return f"{self.mesh}/{self.name}"


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A request's way: where it starts, the gateways it passes, where it ends, and what is known of it.

    ``identity`` is the caller's, ``sni`` the server name it was sent under, ``status`` what came of it in a few words.
    A ``denied`` one was refused at its last stop.
    """

    path: tuple[Stop, ...]
    identity: str = ""
    sni: str = ""
    status: str = ""
    denied: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """What is written above its arrow."""
        way = f"{self.path[0]} → {self.path[-1]}"
        first = f"{way}: {self.status}" if self.status else way
        return (first, *(f"{word} {text}" for word, text in (("as", self.identity), ("SNI", self.sni)) if text))


class Picture(msgspec.Struct, frozen=True):
    """What is drawn: up to four meshes, and the flows in the order in which they are to be read.

    Raises:
        ValueError: there are too many meshes or none, two of a name, or a flow that leads where nothing is.
    """

    meshes: tuple[Mesh, ...]
    flows: tuple[Flow, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.meshes) <= MAX_MESHES:
            raise ValueError(f"a picture has 1 to {MAX_MESHES} meshes, not {len(self.meshes)}")
        stops = [stop for mesh in self.meshes for stop in stops_of(mesh)]
        names = [mesh.name for mesh in self.meshes]
        for what in (names, stops):
            twice = next((str(one) for index, one in enumerate(what) if one in what[:index]), None)
            if twice is not None:
                raise ValueError(f"{twice} is there twice: give each a name of its own")
        for flow in self.flows:
            missing = next((stop for stop in flow.path if stop not in stops), None)
            if missing is not None:
                raise ValueError(f"a flow leads over {missing}, which is in no mesh of the picture")
            if len(flow.path) < 2 or any(a == b for a, b in itertools.pairwise(flow.path)):
                raise ValueError("a flow leads from one stop to another, and never to where it is")


def runs(positions: Sequence[float]) -> list[list[float]]:
    """A way along a row, cut where it turns back: each part is drawn in a row of its own, below the one before."""
    found = [[positions[0]]]
    for position in positions[1:]:
        last = found[-1]
        if len(last) > 1 and (position > last[-1]) != (last[-1] > last[-2]):
            found.append([last[-1]])
        found[-1].append(position)
    return found


def stops_of(mesh: Mesh, *, first: bool = False) -> list[Stop]:
    """The lines of a mesh from left to right: gateways on the side where the others are (``first``: the right)."""
    services = [Stop(mesh.name, name) for name in mesh.services]
    gateways = [Stop(mesh.name, name) for name in mesh.gateways]
    return services + gateways if first else gateways + services


# --- as SVG

_CHAR: Final = 7.3  # of the fixed-width font at 12 px, with some room for fonts that are wider
_LINE: Final = 17.0
_MARGIN: Final = 20.0
_PAD: Final = 14.0
_BOX: Final = 34.0
_TOP: Final = 46.0
_TURN: Final = 16.0
_HUES: Final = (215, 152, 28, 285)


def _looks() -> dict[str, Look]:
    """All there is in a picture; what belongs to a mesh has the hue of that."""
    paper = ("#ffffff", "#14161a")
    looks: dict[str, Look] = {
        "paper": {"fill": paper},
        "label": {"fill": paper, "fill-opacity": ".86"},
        "ink": {"fill": ("#1f2430", "#e6e8ec")},
        "faint": {"fill": ("#687082", "#98a1b0")},
    }
    for kind, color, dashes in (("ok", ("#1c7c4a", "#5fd394"), "none"), ("bad", ("#c0322b", "#ff8a80"), "6 4")):
        looks[kind] = {"stroke": color, "stroke-width": "1.9", "fill": "none"}
        looks[f"{kind}-way"] = looks[kind] | {"stroke-dasharray": dashes}
        looks[f"{kind}-fill"] = {"fill": color}
    looks["cross"] = looks["bad"] | {"stroke-linecap": "round"}
    for index, hue in enumerate(_HUES):
        edge, deep = (shade(hue, 45, 74), shade(hue, 45, 32)), (shade(hue, 60, 32), shade(hue, 60, 78))
        looks |= {
            f"mesh-{index}": {"fill": (shade(hue, 60, 94), shade(hue, 32, 14)), "stroke": edge},
            f"name-{index}": {"fill": deep, "font-weight": "700", "font-size": "14"},
            f"stop-{index}": {"fill": paper, "stroke": edge, "stroke-width": "1.3"},
            f"gateway-{index}": {"fill": paper, "stroke": deep, "stroke-width": "1.8"},
            f"life-{index}": {"stroke": (shade(hue, 30, 74), shade(hue, 30, 32)), "stroke-dasharray": "2 5"},
        }
    return looks


_LOOKS: Final = _looks()


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A rectangle of the layout, in pixels."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two have an area in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything of a picture is: bands of meshes, boxes of stops, and for each flow its label and arrow's y."""

    width: float
    height: float
    bands: tuple[Box, ...]
    stops: dict[Stop, Box]
    labels: tuple[Box, ...]
    arrows: tuple[float, ...]

    def line(self, stop: Stop) -> float:
        """The x of a stop's line."""
        box = self.stops[stop]
        return box.x + box.width / 2


def layout(picture: Picture) -> Layout:
    """Place everything: columns as wide as their names, and wider where a label needs the room."""
    labels = [(max(map(len, flow.lines)) * _CHAR + 12, len(flow.lines) * _LINE + 4) for flow in picture.flows]
    order = [stop for index, mesh in enumerate(picture.meshes) for stop in stops_of(mesh, first=index == 0)]
    turns = [len(runs([order.index(stop) for stop in flow.path])) - 1 for flow in picture.flows]
    columns: list[list[tuple[Stop, float]]] = []
    natural = _MARGIN * (len(picture.meshes) + 1)
    for index, mesh in enumerate(picture.meshes):
        names = stops_of(mesh, first=index == 0)
        own = sum(len(stop.name) * _CHAR + 28 + _PAD for stop in names) + _PAD
        title = len(mesh.name) * 9 + 2 * _PAD
        wider = max(0.0, title - own) / max(1, len(names))
        columns.append([(stop, len(stop.name) * _CHAR + 28 + wider) for stop in names])
        natural += max(own, title)
    missing = max(0.0, max((width for width, _ in labels), default=0.0) + 2 * (_MARGIN + _PAD) - natural)
    extra = missing / max(1, sum(len(column) for column in columns))
    height = _TOP + _MARGIN + _BOX + 18 + sum(tall + 36 for _, tall in labels) + sum(turns) * _TURN + _PAD
    x = _MARGIN
    bands: list[Box] = []
    stops: dict[Stop, Box] = {}
    for mesh, column in zip(picture.meshes, columns, strict=True):
        start, x = x, x + _PAD
        for stop, wide in column:
            stops[stop] = Box(x=x + extra / 2, y=_MARGIN + _TOP - 8, width=wide, height=_BOX)
            x += wide + extra + _PAD
        x = max(x, start + len(mesh.name) * 9 + 2 * _PAD)
        bands.append(Box(x=start, y=_MARGIN, width=x - start, height=height - _MARGIN))
        x += _MARGIN
    y = _TOP + _MARGIN + _BOX + 18
    placed: list[Box] = []
    arrows: list[float] = []
    for flow, (wide, tall), back in zip(picture.flows, labels, turns, strict=True):
        left = min(stops[stop].x + stops[stop].width / 2 for stop in flow.path) + 8
        placed.append(Box(x=max(_MARGIN + 4, min(left, x - _MARGIN - 4 - wide)), y=y, width=wide, height=tall))
        arrows.append(y + tall + 12)
        y += tall + 36 + back * _TURN
    return Layout(
        width=x,
        height=height + _MARGIN,
        bands=tuple(bands),
        stops=stops,
        labels=tuple(placed),
        arrows=tuple(arrows),
    )


def svg(picture: Picture) -> str:
    """The picture as an SVG document, for light and dark surroundings alike."""
    found = layout(picture)
    parts = [_rect(Box(x=0, y=0, width=found.width, height=found.height), "paper", 10)]
    for index, (mesh, band) in enumerate(zip(picture.meshes, found.bands, strict=True)):
        parts += [
            _rect(band, f"mesh-{index}", 12),
            _text(band.x + _PAD, band.y + 25, mesh.name, f"name-{index}"),
        ]
        for stop in stops_of(mesh, first=index == 0):
            box, line = found.stops[stop], found.line(stop)
            gateway = stop.name in mesh.gateways
            bottom = band.y + band.height - 8
            parts += [
                _path(f"life-{index}", f"M{line:g} {box.y + box.height:g}V{bottom:g}"),
                _rect(box, f"gateway-{index}" if gateway else f"stop-{index}", 17 if gateway else 6),
                _text(line, box.y + 21.5, stop.name, "ink", middle=True),
            ]
    for flow, label, y in zip(picture.flows, found.labels, found.arrows, strict=True):
        parts += _flow(flow, label, [found.line(stop) for stop in flow.path], y)
    title = f"{', '.join(mesh.name for mesh in picture.meshes)}: {len(picture.flows)} flows"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {found.width:g} {found.height:g}" '
        f'width="{found.width:g}" height="{found.height:g}" font-family="{MONOSPACE}" font-size="12" role="img">\n'
        f"<title>{escape(title)}</title>\n{style(_LOOKS)}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _flow(flow: Flow, label: Box, lines: Sequence[float], y: float) -> list[str]:
    kind = "bad" if flow.denied else "ok"
    parts = [_rect(label, "label", 4)]
    for index, text in enumerate(flow.lines):
        look = f"{kind}-fill" if index == 0 else "faint"
        parts.append(_text(label.x + 6, label.y + 14 + index * _LINE, text, look))
    parts.append(f'<circle {attributes(_LOOKS, f"{kind}-fill")} cx="{lines[0]:g}" cy="{y:g}" r="4"/>')
    parts_of_way = runs(lines)
    for number, run in enumerate(parts_of_way):
        if number:
            parts.append(_path(f"{kind}-way", f"M{run[0]:g} {y + 5:g}v{_TURN - 5:g}"))
            y += _TURN
        last = number == len(parts_of_way) - 1
        for start, end in itertools.pairwise(run):
            parts += _leg(start, end, y, kind, refused=flow.denied and last and end == run[-1])
    return parts


def _leg(start: float, end: float, y: float, kind: str, *, refused: bool) -> list[str]:
    """From one line to another, with a head; or with a cross, where it was refused."""
    way = 1 if end > start else -1
    tip = end - way * (12 if refused else 5)
    leg = _path(f"{kind}-way", f"M{start:g} {y:g}H{tip:g}")
    if refused:
        return [leg, _path("cross", f"M{end - 6:g} {y - 6:g}l12 12m0 -12l-12 12")]
    return [leg, _path(f"{kind}-fill", f"M{end:g} {y:g}l{-9 * way} -5v10z")]


def _path(kind: str, steps: str) -> str:
    return f'<path {attributes(_LOOKS, kind)} d="{steps}"/>'


def _rect(box: Box, kind: str, radius: float) -> str:
    return (
        f'<rect {attributes(_LOOKS, kind)} x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{radius:g}"/>'
    )


def _text(x: float, y: float, text: str, kind: str, *, middle: bool = False) -> str:
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text {attributes(_LOOKS, kind)} x="{x:g}" y="{y:g}"{anchor}>{escape(text)}</text>'


# --- as text

_UNICODE: Final = {
    "across": "─",
    "down right": "╰",
    "down left": "╯",
    "right": "▶",
    "left": "◀",
    "start": "●",
    "denied": "✗",
    "life": "┊",
}
_ASCII: Final = {
    "across": "-",
    "down right": "+",
    "down left": "+",
    "right": ">",
    "left": "<",
    "start": "o",
    "denied": "x",
    "life": ":",
}


def text(picture: Picture, *, width: int = 100, ascii_only: bool = False) -> str:
    """The picture in lines of at most ``width`` characters; a gateway stands in parentheses.

    Where the lines of all services do not fit side by side, the flows are listed one below the other instead.
    """
    signs = _ASCII if ascii_only else _UNICODE
    arrow = "->" if ascii_only else "→"
    groups = [
        [
            (stop, f"({stop.name})" if stop.name in mesh.gateways else stop.name)
            for stop in stops_of(mesh, first=not index)
        ]
        for index, mesh in enumerate(picture.meshes)
    ]
    wide = [
        max(sum(len(name) + 3 for _, name in group) + 1, len(mesh.name) + 6)
        for mesh, group in zip(picture.meshes, groups, strict=True)
    ]
    wide[-1] -= 1  # nothing stands to the right of it
    if sum(wide) + len(wide) - 1 > width:
        return _listed(picture, width, signs, arrow)
    heads, names, lives, columns, at = "", "", "", dict[Stop, int](), 0
    for mesh, group, size in zip(picture.meshes, groups, wide, strict=True):
        heads += f"{signs['across'] * 2} {mesh.name} ".ljust(size, signs["across"]) + " "
        row, life = " ", [" "] * size
        for stop, name in group:
            middle = len(row) + 1 + len(name) // 2
            columns[stop] = at + middle
            life[middle] = signs["life"]
            row += f" {name}  "
        names += row.ljust(size)[:size] + " "
        lives += "".join(life) + " "
        at += size + 1
    found = [heads, names]
    for flow in picture.flows:
        found.append(lives)
        for line in flow.lines:
            found += _wrap(line.replace("→", arrow), width, " ", "   ")
        found += _arrows(lives, flow, [columns[stop] for stop in flow.path], signs)
    return "".join(f"{line.rstrip()}\n" for line in found)


def _arrows(lives: str, flow: Flow, columns: Sequence[int], signs: dict[str, str]) -> list[str]:
    """The rows of a flow's arrow: one, and one more for each time that it turns back."""
    found: list[list[str]] = []
    for run in runs(columns):
        row = list(lives)
        for start, end in itertools.pairwise(map(int, run)):
            way = 1 if end > start else -1
            row[start + way : end : way] = signs["across"] * (abs(end - start) - 1)
            row[end] = signs["right" if way > 0 else "left"]
        row[int(run[0])] = signs["down right" if run[-1] > run[0] else "down left"]
        found.append(row)
    found[0][columns[0]] = signs["start"]
    if flow.denied:
        found[-1][columns[-1]] = signs["denied"]
    return ["".join(row) for row in found]


def _listed(picture: Picture, width: int, signs: dict[str, str], arrow: str) -> str:
    found: list[str] = []
    for mesh in picture.meshes:
        listed = ", ".join([*mesh.services, *(f"({name})" for name in mesh.gateways)])
        found += _wrap(f"{mesh.name}: {listed}", width, "", "  ")
    for flow in picture.flows:
        stops = [str(stop) for stop in flow.path]
        sign = signs["denied"] if flow.denied else signs["start"]
        way, status = f" {arrow} ".join(stops), f": {flow.status}" if flow.status else ""
        found += ["", *_wrap(f"{sign} {way}{status}", width, "", "    ")]
        for line in flow.lines[1:]:
            found += _wrap(line, width, "  ", "    ")
    return "".join(f"{line}\n" for line in found)


def _wrap(line: str, width: int, first: str, rest: str) -> list[str]:
    """``line`` in pieces that fit, broken at spaces; inside a word only where it is longer than a whole line."""
    return textwrap.wrap(line, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)

"""Draw ``docs/architecture.svg``: two meshes, what runs in each, and what goes between them.

A picture that is drawn by hand is not updated, because whoever changes the code has no program for it. This one is a
description of boxes and arrows, at the top of this file; what is below turns it into SVG. The right mesh is the left
one mirrored, since neither is special.

Run by ``tools/generate.py``: ``python tools/draw_architecture.py OUTPUT_DIRECTORY``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

from meshfed.paint import Look, attributes, style

WIDTH, HEIGHT = 1080, 600
MESH_WIDTH = 440
MARGIN = 16


@dataclass(frozen=True)
class Box:
    """A component: its place in pixels, a title, lines below the title, and a kind, which has a look."""

    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()
    kind: str = "plain"


@dataclass(frozen=True)
class Arrow:
    """A line through points, pointing at the last one (``both``: at the first one too)."""

    points: tuple[tuple[int, int], ...]
    kind: str
    both: bool = False


@dataclass(frozen=True)
class Label:
    """Text beside an arrow; ``anchor`` is SVG's: start, middle or end of the text is at x."""

    x: int
    y: int
    text: str
    anchor: str = "middle"
    kind: str = "label"


# One mesh, with the other one to its right.
KUBERNETES = Box(40, 84, 160, 74, "Kubernetes API", ("of this mesh only",))
CONTROLLER = Box(300, 84, 132, 74, "meshfed", ("controller",), "ours")
ISTIOD = Box(40, 226, 160, 54, "istiod")
MESH_ARROWS = (
    Arrow(((200, 108), (300, 108)), "control"),
    Arrow(((300, 136), (200, 136)), "control"),
    Arrow(((120, 158), (120, 226)), "control"),
    Arrow(((120, 280), (120, 330)), "control"),
)
MESH_LABELS = (
    Label(250, 100, "watch"),
    Label(250, 152, "write"),
    Label(130, 187, "ServiceEntry, WorkloadEntry,", "start"),
    Label(130, 203, "Gateway, ...", "start"),
    Label(130, 310, "proxy configuration", "start"),
)
# The two ways a call goes: out of a sidecar to the other mesh's gateway, and in through this mesh's gateway.
CALLER_ROW, CALLED_ROW = 338, 450
POD_HEIGHT = 74


def pod(row: int, name: str) -> tuple[Box, ...]:
    """A workload and its sidecar, in the mesh on the left."""
    return (
        Box(40, row, 222, POD_HEIGHT, "", kind="pod"),
        Box(50, row + 12, 96, POD_HEIGHT - 24, name, kind="plain"),
        Box(168, row + 12, 84, POD_HEIGHT - 24, "sidecar", kind="proxy"),
    )


def gateway(row: int) -> Box:
    """The federation ingress gateway, in the mesh on the left."""
    return Box(330, row, 102, POD_HEIGHT, "ingress", ("gateway", ":15443"), "proxy")


LEFT = (KUBERNETES, CONTROLLER, ISTIOD, *pod(CALLER_ROW, "reviews"), *pod(CALLED_ROW, "details"), gateway(CALLED_ROW))
RIGHT = (
    KUBERNETES,
    CONTROLLER,
    ISTIOD,
    *pod(CALLER_ROW, "ratings"),
    *pod(CALLED_ROW, "productpage"),
    gateway(CALLER_ROW),
)


def call(row: int) -> tuple[Arrow, ...]:
    """A call from the left mesh into the right one: app, sidecar, remote gateway, sidecar, app."""
    y = row + POD_HEIGHT // 2
    return (
        Arrow(((146, y), (168, y)), "plaintext"),
        Arrow(((252, y), (WIDTH - 432, y)), "mtls"),
        Arrow(((WIDTH - 330, y), (WIDTH - 252, y)), "mtls"),
        Arrow(((WIDTH - 168, y), (WIDTH - 146, y)), "plaintext"),
    )


BETWEEN = (Arrow(((432, 121), (WIDTH - 432, 121)), "discovery", both=True),)
BETWEEN_LABELS = (
    Label(WIDTH // 2, 98, "discovery (FDS)", kind="strong"),
    Label(WIDTH // 2, 147, "what each exports"),
    Label(WIDTH // 2, 164, "to the other; goes"),
    Label(WIDTH // 2, 181, "through the gateways"),
    Label(WIDTH // 2, CALLER_ROW + 24, "mTLS", kind="strong"),
    Label(WIDTH // 2, CALLED_ROW + 24, "mTLS", kind="strong"),
    Label(
        WIDTH // 2,
        CALLED_ROW + POD_HEIGHT + 42,
        "mTLS is end to end, sidecar to sidecar: a gateway passes the connection on by its SNI and cannot read it",
    ),
)

FONT = """font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13\""""
INK, FAINT, LINE = ("#1c2330", "#e8edf4"), ("#505b6b", "#a9b4c4"), ("#8a94a3", "#76839a")
OURS, PROXY = ("#2f62c9", "#7ea6ff"), ("#2d7d46", "#6cc487")
ARROWS = {
    "control": (FAINT, "1.6"),
    "discovery": (OURS, "2.6"),
    "mtls": (PROXY, "2.6"),
    "plaintext": (FAINT, "1.6"),
}
LOOKS: dict[str, Look] = {
    "page": {"fill": ("#ffffff", "#0f141b")},
    "mesh": {"fill": ("#f4f6f9", "#171e28"), "stroke": LINE},
    "plain": {"fill": ("#ffffff", "#202936"), "stroke": LINE},
    "pod": {"fill": "none", "stroke": LINE, "stroke-dasharray": "4 4"},
    "ours": {"fill": ("#dbe7ff", "#1d3566"), "stroke": OURS, "stroke-width": "2"},
    "proxy": {"fill": ("#e2f3e6", "#173a24"), "stroke": PROXY},
    "name": {"fill": INK, "font-weight": "600", "font-size": "16"},
    "strong": {"fill": INK, "font-weight": "600"},
    "small": {"fill": INK},
    "label": {"fill": FAINT},
}
for _kind, (_colour, _width) in ARROWS.items():
    LOOKS[f"arrow-{_kind}"] = {"fill": "none", "stroke": _colour, "stroke-width": _width}
    LOOKS[f"head-{_kind}"] = {"fill": _colour}


def mirror_box(box: Box) -> Box:
    """The same box in the mesh on the right."""
    return Box(WIDTH - box.x - box.width, box.y, box.width, box.height, box.title, box.lines, box.kind)


def mirror_arrow(arrow: Arrow) -> Arrow:
    """The same arrow in the mesh on the right."""
    return Arrow(tuple((WIDTH - x, y) for x, y in arrow.points), arrow.kind, arrow.both)


def mirror_label(label: Label) -> Label:
    """The same label in the mesh on the right."""
    anchor = {"start": "end", "end": "start"}.get(label.anchor, label.anchor)
    return Label(WIDTH - label.x, label.y, label.text, anchor, label.kind)


def draw_box(box: Box) -> list[str]:
    """A rounded rectangle with its lines of text in the middle."""
    look, size = attributes(LOOKS, box.kind), f'width="{box.width}" height="{box.height}"'
    parts = [f'<rect {look} x="{box.x}" y="{box.y}" {size} rx="6"/>']
    texts = [text for text in (box.title, *box.lines) if text]
    first = box.y + box.height // 2 + 5 - 9 * (len(texts) - 1)
    for number, text in enumerate(texts):
        emphasis = "strong" if box.kind == "ours" and not number else "small"
        parts.append(draw_label(Label(box.x + box.width // 2, first + 18 * number, text, kind=emphasis)))
    return parts


def draw_arrow(arrow: Arrow) -> str:
    """A line with a head at its end, or at both."""
    points = " ".join(f"{x},{y}" for x, y in arrow.points)
    start = f' marker-start="url(#{arrow.kind})"' if arrow.both else ""
    look = attributes(LOOKS, f"arrow-{arrow.kind}")
    return f'<polyline {look} points="{points}" marker-end="url(#{arrow.kind})"{start}/>'


def draw_label(label: Label) -> str:
    """A line of text."""
    anchor = "" if label.anchor == "start" else f' text-anchor="{label.anchor}"'
    return f'<text {attributes(LOOKS, label.kind)} x="{label.x}" y="{label.y}"{anchor}>{escape(label.text)}</text>'


def draw_mesh(x: int, name: str) -> list[str]:
    """The ground that a mesh stands on."""
    height = CALLED_ROW + POD_HEIGHT + 20 - MARGIN
    return [
        f'<rect {attributes(LOOKS, "mesh")} x="{x}" y="{MARGIN}" width="{MESH_WIDTH}" height="{height}" rx="12"/>',
        draw_label(Label(x + MESH_WIDTH // 2, MARGIN + 32, name, kind="name")),
    ]


def draw_heads() -> list[str]:
    """The heads of the arrows, one for each kind, since a head does not take its line's colour everywhere."""
    return [
        f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="11" markerHeight="11" '
        f'markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        f'<path {attributes(LOOKS, f"head-{kind}")} d="M0,0 L10,5 L0,10 z"/></marker>'
        for kind in ARROWS
    ]


def draw() -> str:
    """The whole picture, as the text of an SVG file."""
    boxes = [*LEFT, *(mirror_box(box) for box in RIGHT)]
    arrows = [
        *MESH_ARROWS,
        *(mirror_arrow(arrow) for arrow in MESH_ARROWS),
        *BETWEEN,
        *call(CALLER_ROW),
        *(mirror_arrow(arrow) for arrow in call(CALLED_ROW)),
    ]
    labels = [*MESH_LABELS, *(mirror_label(label) for label in MESH_LABELS), *BETWEEN_LABELS]
    body = [
        f'<rect {attributes(LOOKS, "page")} width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
        *draw_mesh(MARGIN, "mesh east"),
        *draw_mesh(WIDTH - MARGIN - MESH_WIDTH, "mesh west"),
        *(part for box in boxes for part in draw_box(box)),
        *(draw_arrow(arrow) for arrow in arrows),
        *(draw_label(label) for label in labels),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT} role="img">',
            "<!-- Generated by tools/draw_architecture.py: change that, then run make generate. -->",
            "<title>Two Istio meshes, federated by a Meshfed controller in each</title>",
            style(LOOKS),
            "<defs>",
            *draw_heads(),
            "</defs>",
            *body,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    (Path(sys.argv[1]) / "architecture.svg").write_text(draw(), encoding="utf-8")

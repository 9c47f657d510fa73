"""Pictures: the text to the letter, the SVG by its geometry."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfed_sandbox.picture import Box, Flow, Mesh, Picture, Stop, layout, runs, svg, text

SVG = "{http://www.w3.org/2000/svg}"
EAST = Mesh(name="east", services=("productpage", "reviews"))
WEST = Mesh(name="west", services=("ratings",))


def stop(name: str) -> Stop:
    mesh, _, service = name.partition("/")
    return Stop(mesh, service)


def flow(*path: str, identity: str = "", sni: str = "", status: str = "", denied: bool = False) -> Flow:
    return Flow(path=tuple(map(stop, path)), identity=identity, sni=sni, status=status, denied=denied)


TWO = Picture(
    (EAST, WEST),
    (
        flow(
            "east/reviews",
            "west/gateway",
            "west/ratings",
            identity="spiffe://east.local/ns/bookinfo/sa/reviews",
            sni="outbound_.9080_._.ratings.bookinfo.svc.cluster.local",
            status="200",
        ),
        flow("west/ratings", "east/gateway", "east/productpage", status="403 RBAC: access denied", denied=True),
        flow("east/productpage", "east/gateway", "east/reviews"),
    ),
)


def test_text() -> None:
    assert text(TWO, width=61) == (
        "── east ───────────────────────────── ── west ──────────────\n"
        "  productpage   reviews   (gateway)     (gateway)   ratings\n"
        "       ┊           ┊          ┊             ┊          ┊\n"
        " east/reviews → west/ratings: 200\n"
        " as spiffe://east.local/ns/bookinfo/sa/reviews\n"
        " SNI outbound_.9080_._.ratings.bookinfo.svc.cluster.local\n"
        "       ┊           ●────────────────────────▶──────────▶\n"
        "       ┊           ┊          ┊             ┊          ┊\n"
        " west/ratings → east/productpage: 403 RBAC: access denied\n"
        "       ✗──────────────────────◀────────────────────────●\n"
        "       ┊           ┊          ┊             ┊          ┊\n"
        " east/productpage → east/reviews\n"
        "       ●──────────────────────▶             ┊          ┊\n"
        "       ┊           ◀──────────╯             ┊          ┊\n"
    )


def test_text_where_only_ascii_is_shown() -> None:
    shown = text(TWO, width=61, ascii_only=True)
    assert shown.isascii()
    assert shown.splitlines()[-5:] == [
        "       x----------------------<------------------------o",
        "       :           :          :             :          :",
        " east/productpage -> east/reviews",
        "       o---------------------->             :          :",
        "       :           <----------+             :          :",
    ]


def test_text_where_there_is_little_room() -> None:
    assert text(TWO, width=40) == (
        "east: productpage, reviews, (gateway)\n"
        "west: ratings, (gateway)\n"
        "\n"
        "● east/reviews → west/gateway →\n"
        "    west/ratings: 200\n"
        "  as spiffe://east.local/ns/bookinfo/sa/\n"
        "    reviews\n"
        "  SNI outbound_.9080_._.ratings.bookinfo\n"
        "    .svc.cluster.local\n"
        "\n"
        "✗ west/ratings → east/gateway →\n"
        "    east/productpage: 403 RBAC: access\n"
        "    denied\n"
        "\n"
        "● east/productpage → east/gateway →\n"
        "    east/reviews\n"
    )


@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ([1, 2, 3], [[1, 2, 3]]),
        ([3, 1], [[3, 1]]),
        ([4, 3, 1, 2], [[4, 3, 1], [1, 2]]),
        ([1, 2, 1, 2], [[1, 2], [2, 1], [1, 2]]),
    ],
)
def test_a_way_that_turns_back_takes_another_row(way: list[float], parts: list[list[float]]) -> None:
    assert runs(way) == parts


def inside(inner: Box, outer: Box) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


NAMES = st.text("abcdefghij-", min_size=1, max_size=24)
LONG = st.text("abcdefgh:/._<&>\"' ", max_size=120)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    meshes = [
        Mesh(name=name, services=tuple(draw(st.lists(NAMES.map("s{}".format), max_size=5, unique=True))))
        for name in names
    ]
    stops = [Stop(mesh.name, name) for mesh in meshes for name in (*mesh.services, *mesh.gateways)]
    flows = []
    if len(stops) > 1:
        for _ in range(draw(st.integers(0, 5))):
            path = [draw(st.sampled_from(stops))]
            for _ in range(draw(st.integers(1, 3))):
                path.append(draw(st.sampled_from([stop for stop in stops if stop != path[-1]])))
            flows.append(
                Flow(
                    path=tuple(path), identity=draw(LONG), sni=draw(LONG), status=draw(LONG), denied=draw(st.booleans())
                )
            )
    return Picture(tuple(meshes), tuple(flows))


@given(pictures())
def test_nothing_lies_on_anything_else(picture: Picture) -> None:
    found = layout(picture)
    whole = Box(x=0, y=0, width=found.width, height=found.height)
    apart: list[list[Box]] = [list(found.bands), [*found.stops.values(), *found.labels]]
    for boxes in apart:
        assert all(inside(box, whole) for box in boxes)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    bands = dict(zip((mesh.name for mesh in picture.meshes), found.bands, strict=True))
    assert all(inside(box, bands[stop.mesh]) for stop, box in found.stops.items())
    bottom = max((band.y + band.height for band in found.bands), default=0)
    for flow, label, y in zip(picture.flows, found.labels, found.arrows, strict=True):
        turns = len(runs([found.line(stop) for stop in flow.path])) - 1
        last = y + 16 * turns
        band = Box(x=0, y=y - 7, width=found.width, height=last - y + 14)
        assert not any(band.overlaps(other) for other in [*found.stops.values(), *found.labels])
        assert last + 7 < bottom
        assert label.y + label.height < y


@given(pictures())
def test_the_svg_is_well_formed_and_says_everything(picture: Picture) -> None:
    root = ET.fromstring(svg(picture))
    shown = [element.text or "" for element in root.iter(f"{SVG}text")]
    for mesh in picture.meshes:
        assert all(name in shown for name in (mesh.name, *mesh.services, *mesh.gateways))
    assert [line for line in shown if " → " in line] == [
        line for flow in picture.flows for line in flow.lines if " → " in line
    ]
    crosses = [path for path in root.iter(f"{SVG}path") if path.get("stroke-linecap") == "round"]
    assert len(crosses) == sum(flow.denied for flow in picture.flows)


DRAWN = {path.name: path for path in (Path(__file__).parents[2] / "docs").rglob("*.svg")}


@pytest.mark.parametrize("name", ["now", *sorted(DRAWN)])
def test_who_knows_no_style_sheet_sees_all_colours_and_in_the_dark_there_are_others(name: str) -> None:
    drawn = svg(TWO) if name == "now" else DRAWN[name].read_text()
    assert "var(" not in drawn
    root = ET.fromstring(drawn)
    sheet = "".join(element.text or "" for element in root.iter(f"{SVG}style"))
    painted = [
        each for each in root.iter() if each.tag.removeprefix(SVG) in {"rect", "circle", "path", "polyline", "text"}
    ]
    assert len(painted) > 10
    for each in painted:
        filled, stroked = each.get("fill"), each.get("stroke")
        # What is not filled in any colour is black, unless it is a line.
        assert filled or (stroked and each.tag == f"{SVG}path" and len(re.findall("[A-Za-z]", each.get("d", ""))) == 2)
        for what, colour in (("fill", filled), ("stroke", stroked)):
            if colour not in {None, "none"}:
                assert re.fullmatch("#[0-9a-f]{6}", str(colour))
                assert re.search(rf"^\.{each.get('class')} {{.* {what}: (?!{colour})#", sheet, re.MULTILINE)


@given(pictures(), st.integers(20, 160), st.booleans())
def test_text_keeps_to_its_width(picture: Picture, width: int, ascii_only: bool) -> None:
    lines = text(picture, width=width, ascii_only=ascii_only).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("meshes", "flows", "says"),
    [
        ((), (), "a picture has 1 to 4 meshes, not 0"),
        (tuple(Mesh(name=name) for name in "abcde"), (), "a picture has 1 to 4 meshes, not 5"),
        ((EAST, EAST), (), "east is there twice"),
        ((Mesh(name="east", services=("a", "a")),), (), "east/a is there twice"),
        ((EAST,), (flow("east/reviews", "west/ratings"),), "leads over west/ratings, which is in no mesh"),
        ((EAST,), (flow("east/reviews"),), "a flow leads from one stop to another"),
        ((EAST,), (flow("east/reviews", "east/reviews"),), "a flow leads from one stop to another"),
    ],
)
def test_what_cannot_be_drawn(meshes: tuple[Mesh, ...], flows: tuple[Flow, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Picture(meshes, flows)

"""Draw the pictures of the guides: who calls whom across the meshes, on which way and as whom.

They are what the guides' own tests see happen. Run by ``tools/generate.py``: ``python tools/draw_guides.py
OUTPUT_DIRECTORY``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from meshfed_sandbox.picture import Flow, Mesh, Picture, Stop, svg

_GATEWAY = "gateway"
_RATINGS_SNI = "outbound_.9080_._.ratings.bookinfo.svc.cluster.local"


def _way(*stops: str) -> tuple[Stop, ...]:
    """Stops, each written ``mesh/name``."""
    return tuple(Stop(*stop.split("/")) for stop in stops)


BOOKINFO = Picture(
    meshes=(
        Mesh(name="east", services=("curl", "productpage", "reviews")),
        Mesh(name="west", services=("reviews", "ratings")),
    ),
    flows=(
        Flow(path=_way("east/productpage", "east/reviews"), status="some requests"),
        Flow(path=_way("east/productpage", "west/gateway", "west/reviews"), status="the others"),
        Flow(
            path=_way("east/reviews", "west/gateway", "west/ratings"),
            identity="cluster.local/ns/bookinfo/sa/bookinfo-reviews",
            sni=_RATINGS_SNI,
            status="200",
        ),
        Flow(
            path=_way("east/curl", "west/gateway", "west/ratings"),
            identity="cluster.local/ns/bookinfo/sa/curl",
            sni=_RATINGS_SNI,
            status="403",
            denied=True,
        ),
    ),
)
OPENSHIFT = Picture(
    meshes=(
        Mesh(name="east", services=("curl",), gateways=("router", _GATEWAY)),
        Mesh(name="west", services=("ratings",), gateways=("router", _GATEWAY)),
    ),
    flows=(
        Flow(
            path=_way("east/curl", "west/router", "west/gateway", "west/ratings"),
            sni="ratings-9080.bookinfo.svc.cluster.local",
            status="200",
        ),
    ),
)
SPIRE = Picture(
    meshes=(Mesh(name="east", services=("curl",)), Mesh(name="west", services=("curl", "httpbin"))),
    flows=(
        Flow(
            path=_way("east/curl", "west/gateway", "west/httpbin"),
            identity="east.local/ns/sample/sa/curl",
            status="200",
        ),
        Flow(
            path=_way("west/curl", "west/httpbin"), identity="west.local/ns/sample/sa/curl", status="403", denied=True
        ),
    ),
)
THREE_MESHES = Picture(
    meshes=(
        Mesh(name="east", services=("curl",)),
        Mesh(name="west", services=("reviews",)),
        Mesh(name="central", services=("reviews",)),
    ),
    flows=(
        Flow(path=_way("east/curl", "west/gateway", "west/reviews"), status="while west's answer, which are nearer"),
        Flow(path=_way("east/curl", "central/gateway", "central/reviews"), status="when they do not"),
    ),
)
PICTURES = {
    "bookinfo.svg": BOOKINFO,
    "openshift.svg": OPENSHIFT,
    "spire.svg": SPIRE,
    "three-meshes.svg": THREE_MESHES,
}


if __name__ == "__main__":
    for name, picture in PICTURES.items():
        (Path(sys.argv[1]) / name).write_text(svg(picture), encoding="utf-8")

"""Draw the pictures of the guides: who calls whom across the meshes, on which way and as whom.

They are what the guides' own tests see happen. Run by ``tools/generate.py``: ``python tools/draw_guides.py
OUTPUT_DIRECTORY``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from meshfed.sandbox.picture import Flow, Mesh, Picture, Stop, svg

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
PICTURES = {"bookinfo.svg": BOOKINFO}


if __name__ == "__main__":
    for name, picture in PICTURES.items():
        (Path(sys.argv[1]) / name).write_text(svg(picture), encoding="utf-8")

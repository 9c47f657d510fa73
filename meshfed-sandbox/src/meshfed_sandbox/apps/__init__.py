"""Applications that the sandbox's Pods run: what the images that meshes are tried with do, in asyncio instead."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from meshfed_sandbox.apps import bookinfo, client, echo, httpbin
from meshfed_sandbox.apps.client import Outcome, call
from meshfed_sandbox.apps.context import Application, ContainerPort, PodContext
from meshfed_sandbox.apps.curl import Ran, curl

IMAGES: Final[Mapping[str, Application]] = {**bookinfo.IMAGES, **echo.IMAGES, **client.IMAGES, **httpbin.IMAGES}
"""What runs for an image, by its name without registry, path, tag and digest."""

WITH_CURL: Final = frozenset(client.IMAGES)
"""The images that have a curl to be run in them."""


class UnknownImage(Exception):
    """The sandbox has no application for an image; the message names those that there are."""


def image_name(image: str) -> str:
    """The name of ``image`` alone: ``reviews`` of ``example.com:5000/team/reviews:1.2@sha256:...``."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def serve(image: str, context: PodContext) -> AbstractAsyncContextManager[None]:
    """The application for ``image``, as a context: entered, it listens; left, it has closed everything.

    Raises:
        UnknownImage: there is none.
        OSError: on entering, a port cannot be listened on.
        ValueError: on entering, the environment or a port asks for what the application does not know.
    """
    application = IMAGES.get(image_name(image))
    if application is None:
        raise UnknownImage(f"the sandbox runs no image {image!r}; those it knows: {', '.join(sorted(IMAGES))}")
    return application(context)


__all__ = [
    "IMAGES",
    "WITH_CURL",
    "Application",
    "ContainerPort",
    "Outcome",
    "PodContext",
    "Ran",
    "UnknownImage",
    "call",
    "curl",
    "image_name",
    "serve",
]

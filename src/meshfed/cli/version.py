"""``meshfed version``: which Meshfed this is, and which Python runs it."""

from __future__ import annotations

import json
import platform
from typing import Annotated, Literal

from cyclopts import Parameter

from meshfed import __version__


def version(
    *,
    output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
) -> None:
    """Print the version of Meshfed and of Python.

    Parameters
    ----------
    output
        One line for people, or a JSON object with the members `meshfed` and `python`.
    """
    python = platform.python_version()
    if output == "json":
        print(json.dumps({"meshfed": __version__, "python": python}))
    else:
        print(f"meshfed {__version__} (Python {python})")

"""What is translated is what the documentation lists."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import msgspec

from meshfed.sandbox.dataplane.translate import reading, schema

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sandbox-dataplane.md"


def rows() -> list[str]:
    found = []
    for kind, spec in sorted(reading.SPECS.items()):
        if not issubclass(spec, schema.Spec):
            continue
        cells = [_cell(field) for field in sorted(msgspec.structs.fields(spec), key=lambda each: each.encode_name)]
        found.append(f"| {kind} | {', '.join(cells)} |")
    return found


def _cell(field: Any) -> str:
    values = typing.get_args(field.type) if typing.get_origin(field.type) is typing.Literal else ()
    named = ", ".join(f"`{value}`" for value in sorted(values))
    return f"`{field.encode_name}`" + (f" ({named})" if named else "")


def test_the_documentation_lists_the_fields_that_are_translated() -> None:
    match = re.search(r"<!-- fields -->\n.*?\|---\|---\|\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert match is not None
    assert match.group(1).splitlines() == rows()

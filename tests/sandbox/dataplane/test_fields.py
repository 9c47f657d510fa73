"""What is translated is what the documentation lists."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path

import msgspec

from meshfed_sandbox.dataplane.translate import reading, schema

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sandbox-dataplane.md"


def rows() -> list[str]:
    """A row for each part of a kind's ``spec`` that has fields of its own."""
    kinds = [(kind, spec) for kind, spec in sorted(reading.SPECS.items()) if issubclass(spec, schema.Spec)]
    return [row for kind, spec in kinds for row in _rows(spec, kind, "")]


def _rows(struct: type[msgspec.Struct], kind: str, path: str) -> list[str]:
    cells, below = [], []
    for field in sorted(msgspec.structs.fields(struct), key=lambda each: each.encode_name):
        type_, several = field.type, ""
        if typing.get_origin(type_) in {types.UnionType, typing.Union}:
            [type_] = [each for each in typing.get_args(type_) if each is not type(None)]
        if typing.get_origin(type_) is list and issubclass(typing.get_args(type_)[0], msgspec.Struct):
            [type_], several = typing.get_args(type_), "[]"
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            below += _rows(type_, kind, f"{path}.{field.encode_name}{several}")
            continue
        values = typing.get_args(type_) if typing.get_origin(type_) is typing.Literal else ()
        cells.append(f"`{field.encode_name}`" + (f" ({', '.join(sorted(values))})" if values else ""))
    return [*([f"| {kind} | `spec{path}` | {', '.join(cells)} |"] if cells else []), *below]


def test_the_documentation_lists_the_fields_that_are_translated() -> None:
    match = re.search(r"<!-- fields -->\n.*?\|---\|---\|---\|\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert match is not None
    assert match.group(1).splitlines() == rows()

"""Writes what is generated from the types: ``deploy/crds/*.yaml``, ``docs/api.md``, ``docs/reasons.md``.

``make generate`` runs it, into the repository; a test holds the files to it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshfed.api.crds import KINDS, Kind, all_crds, crd_yaml
from meshfed.api.v1alpha1 import API_VERSION
from meshfed.model.reasons import CONDITIONS, EVENTS, REASONS, SEEN


def generated() -> dict[Path, str]:
    """What every generated file should hold, by its path from the project's root."""
    crds = {Path("deploy/crds", f"{crd['spec']['names']['plural']}.yaml"): crd_yaml(crd) for crd in all_crds()}
    return crds | {Path("docs/api.md"): _api(), Path("docs/reasons.md"): _reasons()}


def _reasons() -> str:
    return "\n".join(
        [
            "# Conditions, reasons and Events",
            "",
            "<!-- Generated from src/meshfed/model/reasons.py by tools/generate_api.py. -->",
            "",
            (
                "Every condition that Meshfed writes has one of these types and one of these reasons. The message says "
                "the rest: which field, which value, what to do."
            ),
            "",
            "## Condition types",
            "",
            *_table(("Type", "What it says", "What was seen where it is True"), CONDITIONS, SEEN),
            "",
            "## Reasons",
            "",
            *_table(("Reason", "What it means"), REASONS),
            "",
            "## Events",
            "",
            (
                "`kubectl describe` shows what happened to an object and when. There is one Event for an object and a "
                "reason; what happens again counts up in it. They are a help and no record: the API server drops "
                "them after an hour, and where too much happens at once, not all are written."
            ),
            "",
            *_table(("Reason", "What it tells"), EVENTS),
            "",
        ]
    )


def _table(head: tuple[str, ...], *columns: Mapping[Any, str]) -> Iterator[str]:
    """The names, and beside each what every one of ``columns`` says of it."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for name in columns[0]:
        yield f"| `{name}` | {' | '.join(_cell(column[name]) for column in columns)} |"


def _api() -> str:
    lines = [
        "# API reference",
        "",
        "<!-- Generated from the types in src/meshfed/api/v1alpha1.py by tools/generate_api.py. -->",
        "",
        (
            f"Everything is in `{API_VERSION}` and namespaced. `kubectl get federation` shows all kinds, "
            "`kubectl explain <kind>.spec` what stands here. A field with neither default nor *required* may be left "
            "out, and its description says what that means. Unknown fields are refused."
        ),
        "",
    ]
    for kind in KINDS:
        lines += _kind(kind)
    return "\n".join(lines)


def _kind(kind: Kind) -> Iterator[str]:
    names = ", ".join(f"`{name}`" for name in (kind.plural, *kind.short_names))
    yield from (f"## {kind.name}", "", kind.schema["description"], "", f"Names for kubectl: {names}.", "")
    for rule in kind.schema.get("x-kubernetes-validations", ()):
        yield from (f"`{rule.get('fieldPath', '').lstrip('.')}`: {rule['message']}.", "")
    for part in ("spec", "status"):
        yield from _section(part, kind.schema["properties"][part])


def _section(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### `{path}`", "", schema["description"], "")
    yield from ("| Field | Type | Default | Description |", "|---|---|---|---|")
    inner: list[tuple[str, Mapping[str, Any]]] = []
    for name, field in schema["properties"].items():
        default = "*required*" if name in schema.get("required", ()) else _default(field)
        remarks = [field["description"], *(f"Rule: {message}." for message in _messages(field))]
        yield f"| `{name}` | {_cell(_type(field))} | {default} | {_cell(' '.join(remarks))} |"
        deeper = field.get("items", field)
        if "properties" in deeper:
            inner.append((f"{path}.{name}{'[]' if deeper is not field else ''}", deeper))
    yield ""
    for message in _messages(schema):
        yield from (f"Rule: {message}.", "")
    for inner_path, inner_schema in inner:
        yield from _section(inner_path, inner_schema)


def _messages(schema: Mapping[str, Any]) -> Iterator[str]:
    """The messages of the rules of a field and of a list's plain items; those of objects stand in their sections."""
    for node in (schema, schema.get("items", {})):
        if "properties" not in node or node is schema:
            for rule in node.get("x-kubernetes-validations", ()):
                yield rule["message"]


def _default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    return f"`{json.dumps(default)}`" if default is not None and default != {} else ""


def _type(schema: Mapping[str, Any]) -> str:
    bounds = ""
    if "minimum" in schema or "maximum" in schema:
        bounds = f", {schema.get('minimum', '')} to {schema.get('maximum', '')}"
    match schema:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of: {_type(items)}"
        case {"additionalProperties": values}:
            return f"map to: {_type(values)}"
        case {"title": title}:
            return f"{title}{bounds}"
        case {"format": "date-time"}:
            return "time"
        case {"type": kind}:
            return f"{kind}{bounds}"
        case _:
            raise TypeError(f"no words for the type of {schema}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write all of it below the directory named on the command line."""
    output = Path(sys.argv[1])
    for path, text in generated().items():
        target = output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

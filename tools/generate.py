"""Writes what is generated from the types: ``deploy/crds/*.yaml``, ``docs/api.md``, ``docs/reasons.md``.

Run it after a change of ``src/meshfed/api`` or ``src/meshfed/model/reasons.py``; a test holds the files to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from meshfed.api.crds import KINDS, Kind, all_crds, crd_yaml
from meshfed.api.v1alpha1 import API_VERSION
from meshfed.model.reasons import CONDITIONS, REASONS

ROOT: Final = Path(__file__).resolve().parents[1]


def generated() -> dict[Path, str]:
    """What every generated file should hold, by its path from the project's root."""
    crds = {Path("deploy/crds", f"{crd['spec']['names']['plural']}.yaml"): crd_yaml(crd) for crd in all_crds()}
    return crds | {Path("docs/api.md"): _api(), Path("docs/reasons.md"): _reasons()}


def _reasons() -> str:
    return "\n".join(
        [
            "# Conditions and reasons",
            "",
            "<!-- Generated from src/meshfed/model/reasons.py by tools/generate.py. -->",
            "",
            "Every condition that Meshfed writes has one of these types and reasons; its message says which",
            "field, which value, and what to do.",
            "",
            "## Condition types",
            "",
            *_table(("Type", "What it says"), CONDITIONS),
            "",
            "## Reasons",
            "",
            *_table(("Reason", "What it means"), REASONS),
            "",
        ]
    )


def _table(head: tuple[str, str], rows: Mapping[Any, str]) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |"
    yield "|---|---|"
    for name, sentence in rows.items():
        yield f"| `{name}` | {_cell(sentence)} |"


def _api() -> str:
    lines = [
        "# API reference",
        "",
        "<!-- Generated from the types in src/meshfed/api/v1alpha1.py by tools/generate.py. -->",
        "",
        f"Everything is in `{API_VERSION}` and namespaced. `kubectl get federation` shows all kinds,",
        "`kubectl explain <kind>.spec` what stands here. A field with neither default nor *required* may be left out,",
        "and its description says what that means. Unknown fields are refused.",
        "",
    ]
    shown: dict[str, str] = {}
    for kind in KINDS:
        lines += _kind(kind, shown)
    return "\n".join(lines)


def _kind(kind: Kind, shown: dict[str, str]) -> Iterator[str]:
    names = ", ".join(f"`{name}`" for name in (kind.plural, *kind.short_names))
    yield from (f"## {kind.name}", "", kind.schema["description"], "", f"Names for kubectl: {names}.", "")
    for rule in kind.schema.get("x-kubernetes-validations", ()):
        yield from (f"`{rule.get('fieldPath', '').lstrip('.')}`: {rule['message']}.", "")
    for part in ("spec", "status"):
        yield from _section(f"{kind.name}.{part}", kind.schema["properties"][part], shown)


def _section(path: str, schema: Mapping[str, Any], shown: dict[str, str]) -> Iterator[str]:
    """The fields of an object and, after it, of the objects in it; what ``shown`` has already is only referred to."""
    yield from (f"### `{path}`", "", schema["description"], "")
    yield from ("| Field | Type | Default | Description |", "|---|---|---|---|")
    inner: dict[str, Mapping[str, Any]] = {}
    for name, field in schema["properties"].items():
        element = field.get("items", field)
        text, kind = field["description"], _type(field)
        if "properties" in element:
            fingerprint = json.dumps(element["properties"])
            if fingerprint not in shown:
                shown[fingerprint] = f"{path}.{name}"
                inner[f"{path}.{name}"] = element
            kind += f": [`{shown[fingerprint]}`](#{_anchor(shown[fingerprint])})"
        else:  # an object's rules stand below its own table
            text = " ".join([text, *_rules(field), *(_rules(element) if element is not field else ())])
        default = "*required*" if name in schema.get("required", ()) else _default(field)
        yield f"| `{name}` | {_cell(kind)} | {default} | {_cell(text)} |"
    yield ""
    for rule in _rules(schema):
        yield from (rule, "")
    for inner_path, inner_schema in inner.items():
        yield from _section(inner_path, inner_schema, shown)


def _rules(schema: Mapping[str, Any]) -> list[str]:
    return [f"Rule: {rule['message']}." for rule in schema.get("x-kubernetes-validations", ())]


def _anchor(heading: str) -> str:
    """The anchor that Markdown renderers give to a heading."""
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_")


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
    """Write all of it, and say what changed."""
    for path, text in generated().items():
        target = ROOT / path
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()

"""The files of the page: as a server hands them out, and all in one that needs none."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any, Final

import msgspec

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}
_APP: Final = '<div id="app"></div>'
_FIRST: Final = "main.js"
_IMPORT: Final = re.compile(r"^import (?:(\w+)|\{([^}]*)\}) from '([^']+)';$", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_DEFAULT: Final = re.compile(r"\bexport default (?=function)")
_LIST: Final = re.compile(r"\bexport ?\{([^}]*)\};?$", re.MULTILINE)
_SOURCE_MAP: Final = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)
_LEFT: Final = re.compile(r"^(?:import|export)\b|\bexport[ {]", re.MULTILINE)


def files() -> dict[str, tuple[str, bytes]]:
    """Return the files of the page: by path the content type and the bytes."""
    found: dict[str, tuple[str, bytes]] = {}
    top = resources.files("meshfed.dashboard") / "page"
    for place, prefix in ((top, ""), (top / "vendor", "vendor/")):
        for one in place.iterdir():
            suffix = one.name[one.name.rfind(".") :]
            if one.is_file() and suffix in _TYPES:
                found[prefix + one.name] = _TYPES[suffix], one.read_bytes()
    return found


def index(asks: Iterable[str], still: str = "") -> str:
    """Return the page itself. ``asks`` are the questions that it may post, ``still`` of when it is if that stays."""
    shell = files()["index.html"][1].decode()
    given = {"asks": " ".join(asks), "still": still}
    words = "".join(f' data-{name}="{html.escape(value)}"' for name, value in given.items())
    return shell.replace(_APP, f'<div id="app"{words}></div>')


def whole(documents: Mapping[str, Any], still: str) -> bytes:
    """Return the page as one file with what it shows, which asks nobody for anything; ``still`` is of when that is.

    Only the script and the style that are in it may run, and it may load nothing.
    """
    found = files()
    style, script = found["style.css"][1].decode(), _script(found)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    icon = base64.b64encode(found["icon.svg"][1]).decode()
    held = msgspec.json.encode(documents, order="deterministic").decode().replace("<", "\\u003c")
    head = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy, quote=False)}">'
    page = index((), still)
    for old, new in (
        ('<meta charset="utf-8">', f'<meta charset="utf-8">\n{head}'),
        ("/page/icon.svg", f"data:image/svg+xml;base64,{icon}"),
        ('<link rel="stylesheet" href="/page/style.css">', f"<style>{style}</style>"),
        ('<script type="module" src="/page/main.js"></script>\n', ""),
        (
            "</body>",
            "\n".join(
                (
                    f'<script type="application/json" id="documents">{held}</script>',
                    f'<script type="text/plain">{"".join(_licences())}</script>',
                    f'<script type="module">{script}</script>',
                    "</body>",
                )
            ),
        ),
    ):
        if page.count(old) != 1:
            raise ValueError(f"index.html: {old} has to be in it once")
        page = page.replace(old, new)
    return page.encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _licences() -> Iterator[str]:
    """Yield what others ask of who passes their code on."""
    place = resources.files("meshfed.dashboard") / "page" / "vendor"
    for one in sorted(place.iterdir(), key=lambda one: one.name):
        if one.name.endswith(".LICENSE"):
            yield f"{one.name}\n\n{one.read_text(encoding='utf-8')}\n"


def _script(found: Mapping[str, tuple[str, bytes]]) -> str:
    """Return all modules as one script: of a page that is a file, a browser loads no module from another."""
    modules: dict[str, str] = {}

    def add(path: str) -> None:
        if path in modules:
            return
        text = _SOURCE_MAP.sub("", found[path][1].decode())
        for one in _IMPORT.finditer(text):
            add(one[3].removeprefix("./"))
        modules[path] = _scoped(path, text)

    add(_FIRST)
    return "const modules = {};\n" + "".join(modules.values())


def _scoped(path: str, text: str) -> str:
    """Return a module as a function that is called once; raises ``ValueError`` where it is written in another way."""
    exported: dict[str, str] = {}

    def bound(one: re.Match[str]) -> str:
        names = f"default: {one[1]}" if one[1] else one[2].replace(" as ", ": ")
        return f"const {{ {names.strip()} }} = modules['{one[3].removeprefix('./')}'];"

    def listed(one: re.Match[str]) -> str:
        for name in one[1].split(","):
            own, _, other = name.strip().partition(" as ")
            exported[other or own] = own
        return ""

    for one in _EXPORT.finditer(text):
        exported[one[1]] = one[1]
    text = _EXPORT.sub("", _IMPORT.sub(bound, text))
    if _DEFAULT.search(text):
        exported["default"] = "default_"
        text = _DEFAULT.sub("const default_ = ", text)
    text = _LIST.sub(listed, text)
    if _LEFT.search(text) or re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError(f"{path}: it has an import, an export or a tag that cannot be in a page of one file")
    names = ", ".join(f"{other}: {own}" for other, own in exported.items())
    return f"modules['{path}'] = (() => {{\n{text}\nreturn {{ {names} }};\n}})();\n"

"""Make the documentation site, and check it; ``make docs`` runs it.

The site is made of the pages that ``docs/README.md`` lists, by Sphinx, as ``docs/site/conf.py`` says. Every version has
a folder of its own below the one that is published, so that versions stand side by side. A version is put there only
when every link of it leads to a page, a section or a file that is there, and when it loads nothing from elsewhere.

Sphinx is no dependency of development: it is installed into ``.tools`` the first time, against
``requirements-docs.lock``.
"""

from __future__ import annotations

import argparse
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

from fetched import Unavailable, fetched
from packaging.version import Version

from meshfed import __version__

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / "docs" / "README.md"
LOCK = ROOT / "requirements-docs.lock"
PUBLISHED = ROOT / "build" / "docs"
VERSIONS = "versions.js"
SHIPPED = ("furo", "sphinx", "sphinx_basic_ng", "snowballstemmer")
"""The packages whose scripts and styles are in the site, with their licences."""


class DocsError(Exception):
    """The site cannot be made, or something in it does not hold; the message says what."""


class GeneratorUnavailable(Exception):
    """Sphinx cannot be installed; the message says why."""


def main() -> int:
    """Make the site, check it and put it into its place; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make docs", description="Make the documentation site, and check it.")
    parser.add_argument("--into", type=Path, default=PUBLISHED, help="where versions stand side by side (build/docs)")
    parser.add_argument(
        "--repository", default="", help="the URL that links to folders begin with; without, they are text"
    )
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="meshfed-docs-") as scratch:
            site = Path(scratch, __version__)
            build(site, arguments.repository)
            publish(site, arguments.into)
    except (DocsError, GeneratorUnavailable, OSError) as error:
        print(f"docs: failed: {error}", file=sys.stderr)
        return 1
    pages = len(navigated()) + 2
    print(f"docs: {pages} pages, every link and section is there: {arguments.into / __version__ / 'index.html'}")
    return 0


# --- what the pages are ---------------------------------------------------------------------------


def navigation(index: Path = INDEX) -> dict[str, dict[str, str]]:
    """The pages that the index lists: for each of its sections the title of each page, by the page's path.

    Paths are relative to the repository.
    """
    sections: dict[str, dict[str, str]] = {}
    for section in re.split(r"^## ", index.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        links = re.findall(r"\[([^\]]+)\]\(([^)#]+\.md)\)", body)
        folder = index.parent.relative_to(ROOT)
        sections[heading] = {os.path.normpath(folder / page): title for title, page in links}
    return sections


def navigated() -> list[str]:
    """The pages of all sections, in order."""
    return [page for pages in navigation().values() for page in pages]


# --- making it ------------------------------------------------------------------------------------


def generator() -> Path:
    """The folder that Sphinx is in, fetched if it is not there yet.

    Raises:
        GeneratorUnavailable: it cannot be had.
    """
    try:
        return fetched("docs", LOCK.read_text(encoding="utf-8"))
    except Unavailable as error:
        raise GeneratorUnavailable(f"Sphinx, which makes the site, cannot be installed: {error}") from error


def build(site: Path, repository: str = "", source: Path = ROOT) -> None:
    """Make the site of one version in ``site``, and check it; raises ``DocsError`` where something does not hold."""
    place = generator()
    environment = os.environ | {"PYTHONPATH": str(place)}
    sphinx = [sys.executable, "-m", "sphinx", "--builder", "html", "--quiet", "--fail-on-warning", "--keep-going"]
    places = ["--conf-dir", str(source / "docs" / "site"), "--doctree-dir", str(site.with_name("doctrees"))]
    command = [*sphinx, *places, "--define", f"repository={repository.rstrip('/')}", str(source), str(site)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DocsError(f"Sphinx found faults:\n{done.stderr.strip()}")
    for page in list(site.rglob("README.html")):
        shutil.copy(page, page.with_name("index.html"))  # a folder opens with its README, as it does in the repository
    (site / ".buildinfo").unlink()
    for package in SHIPPED:
        (licence,) = (path for path in place.glob(f"{package}-*.dist-info/**/*") if path.stem in {"LICENSE", "COPYING"})
        (site / "_static" / "licences").mkdir(exist_ok=True)
        shutil.copy(licence, site / "_static" / "licences" / f"{package}.txt")
    if faults := broken(site):
        raise DocsError("\n".join(["links of the site lead nowhere:", *faults]))


def publish(site: Path, published: Path) -> None:
    """Put a version beside the others that are in ``published``, and say there which these are and what each has."""
    place = published / site.name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(site, place)
    versions = sorted((path.parent for path in published.glob("*/searchindex.js")), key=lambda one: Version(one.name))
    pages = {
        one.name: sorted(path.relative_to(one).with_suffix("").as_posix() for path in one.rglob("*.html"))
        for one in reversed(versions)
    }
    (published / VERSIONS).write_text(f"window.PUBLISHED_VERSIONS = {json.dumps(pages, indent=1)};\n")
    newest = versions[-1].name
    (published / "index.html").write_text(
        f'<!doctype html>\n<meta charset="utf-8">\n<title>Meshfed</title>\n'
        f'<meta http-equiv="refresh" content="0; url={newest}/index.html">\n'
        f'<a href="{newest}/index.html">Meshfed {newest}</a>\n'
    )


# --- checking it ----------------------------------------------------------------------------------


class PageLinks(html.parser.HTMLParser):
    """What a page has and wants: its anchors, where its links lead, and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        for name, value in attrs:
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")
            elif name in {"src", "href", "data", "srcset"}:
                self.loads.append(value or "")


def broken(site: Path) -> list[str]:
    """What a site has that leads nowhere or loads from elsewhere: a sentence each. ``versions.js`` may be missing."""
    pages = {path.resolve(): PageLinks(path) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for target in page.links + page.loads:
            place = urllib.parse.urlsplit(target)
            if place.scheme or place.netloc:
                if target in page.loads and place.scheme != "data":
                    faults.append(f"{name} loads {target} from elsewhere")
                continue
            file = (path.parent / urllib.parse.unquote(place.path)).resolve() if place.path else path
            if file == site.resolve().with_name(VERSIONS):
                continue
            if not file.is_file():
                faults.append(f"{name} leads to {target}: there is no such file")
            elif file in pages and urllib.parse.unquote(place.fragment) not in pages[file].anchors:
                faults.append(f"{name} leads to {target}: that page has no such section")
    for path in sorted(site.rglob("*.css")):
        outside = re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", path.read_text(encoding="utf-8"))
        faults += [f"{path.relative_to(site)} loads {found} from elsewhere" for found in outside]
    return faults


if __name__ == "__main__":
    sys.exit(main())

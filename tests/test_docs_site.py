"""The documentation site: every page is in it, under the anchors that it has in the repository, and all links hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bootstrap
import docs_site
import pytest

from meshfed import __version__
from tests.test_docs import anchors

ROOT = docs_site.ROOT
pytestmark = pytest.mark.timeout(300)  # a build takes seconds of a processor, of which other tests have their share
FOLDERS = ("docs/site", "tools/docs_site.py", "tools/fetched.py", "tools/bootstrap.py")
"""What makes a site, beside pages."""


# --- what the navigation names


def test_the_navigation_names_every_page_once() -> None:
    named = docs_site.navigated()
    pages = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    beside = ["CHANGELOG.md", "SECURITY.md", "deploy/chart/README.md", "meshfed-sandbox/README.md"]
    assert sorted(["docs/README.md", *named]) == sorted(pages + beside)


def test_the_navigation_has_the_sections_and_titles_of_the_index() -> None:
    navigation = docs_site.navigation()
    assert list(navigation) == ["Start", "Guides", "Operate", "Reference", "Internals"]
    assert list(navigation["Start"].items())[1] == ("docs/guide.md", "Getting started")
    assert all(navigation.values())


# --- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout, which is made only where all of its links hold."""
    return made(ROOT, tmp_path_factory.mktemp("site") / __version__)


def made(source: Path, site: Path, repository: str = "") -> Path:
    """The site of a source; its tests are skipped where Sphinx cannot be had."""
    try:
        docs_site.build(site, repository, source)
    except docs_site.GeneratorUnavailable as error:
        pytest.skip(str(error))
    return site


def test_every_page_has_the_sidebar_the_version_and_the_anchors_of_the_repository(site: Path) -> None:
    listed = ["docs/README.md", *docs_site.navigated()]
    for page in ["README.md", *listed]:
        text = (site / page).with_suffix(".html").read_text()
        sidebar = re.findall(r'<li class="toctree-l1.*?href="([^"]+)"', text)
        leads = [((site / page).parent / link).resolve() if link != "#" else None for link in sidebar]
        assert leads == [(site / other).with_suffix(".html") if other != page else None for other in listed]
        assert f"Version {__version__}\n" in text
        found = set(re.findall(r' id="([^"]+)"', text))
        assert anchors(ROOT / page) - found == set(), page


def test_the_search_knows_the_headings_by_name(site: Path) -> None:
    """It is loaded as a script, so that it also works where a browser opens files."""
    text = (site / "searchindex.js").read_text()
    index: dict[str, Any] = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    alerts = [place[1] for title, places in index["alltitles"].items() if title == "MeshfedFault" for place in places]
    assert alerts == ["meshfedfault"]
    assert {"withdraw", "openshift", "spire"} <= set(index["terms"]) | set(index["titleterms"])


def test_links_to_files_lead_to_copies_and_those_to_folders_are_text(site: Path) -> None:
    index = (site / "docs" / "README.html").read_text()
    assert "deploy/examples</span>" in index
    assert 'href="../deploy/examples' not in index
    copies = {path.name for path in (site / "_downloads").rglob("*") if path.is_file()}
    assert {"cli.schema.json", "LICENSE", "reader.yaml", "discovery.proto"} <= copies
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


# --- in a browser, which opens files

CHROMIUM = shutil.which("chromium")


def shown(address: str, profile: Path) -> str:
    """What a page comes to once its scripts have run."""
    assert CHROMIUM is not None
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    machine = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", f"--user-data-dir={profile}"]
    command = [CHROMIUM, *machine, *quiet, "--virtual-time-budget=5000", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_what_is_looked_for_is_found_without_a_server(site: Path, tmp_path: Path) -> None:
    page = shown((site / "search.html").as_uri() + "?q=MeshfedFault", tmp_path)
    assert re.findall(r'<li class="kind-\w+"><a href="(.+?)"', page) == [
        "docs/monitoring.html",
        "docs/monitoring.html#meshfedfault",
    ]
    page = shown((site / "search.html").as_uri() + "?q=SelectorShared", tmp_path)
    found = re.findall(r'<li class="kind-\w+"><a href="(.+?)"', page)
    assert "docs/reasons.html" in found
    assert found[-1] == "CHANGELOG.html"  # it mentions everything


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_page_leads_to_the_versions_that_are_published_beside_it(site: Path, tmp_path: Path) -> None:
    docs_site.publish(site, tmp_path / "published")
    alone = shown((tmp_path / "published" / site.name / "docs" / "guide.html").as_uri(), tmp_path / "profile")
    assert "<select>" not in alone
    docs_site.publish(small_site(tmp_path / "999.0.0", ["README", "docs/guide"]), tmp_path / "published")
    page = shown((tmp_path / "published" / site.name / "docs" / "guide.html").as_uri(), tmp_path / "profile")
    assert re.findall(r"<option value=.*?>(.+?)</option>", page) == ["999.0.0", site.name]
    assert 'href="../../999.0.0/docs/guide.html">The newest is 999.0.0</a>' in page


# --- what is found


def small_source(folder: Path, page: str) -> Path:
    """A repository with an index and one page."""
    for name in FOLDERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "README.md").write_text("# All of it\n")
    (folder / "docs" / "README.md").write_text("# Index\n\n## Start\n\n| [One](one.md) |\n|---|\n")
    (folder / "docs" / "one.md").write_text(page)
    return folder


GOOD = """# One

[itself](#one), [the folder](site), [a file](site/conf.py), [up](../README.md#all-of-it).

## Two `words`

[here](#two-words) "quoted" -- as it is
"""
BAD = """# One

[a](nothing.md) [b](../README.md#nothing) [c](#nothing) [d](nothing.yaml) ![e](nothing.svg)
"""


def test_a_link_to_a_folder_leads_to_the_repository_where_one_is_named(tmp_path: Path) -> None:
    site = made(small_source(tmp_path / "source", GOOD), tmp_path / "site", "https://git.example.org/meshfed/")
    text = (site / "docs" / "one.html").read_text()
    assert f'href="https://git.example.org/meshfed/tree/v{__version__}/docs/site"' in text
    assert '"quoted" -- as it is' in text.replace("&quot;", '"')


def test_links_that_lead_nowhere_fail_it_and_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(docs_site.DocsError) as caught:
        made(small_source(tmp_path / "source", BAD), tmp_path / "site")
    named = re.findall(r"one\.md:3: WARNING: .*?(nothing\S*?)['\" \n]", str(caught.value))
    assert sorted(name.strip("'\"") for name in named) == [
        "nothing",
        "nothing",
        "nothing.md",
        "nothing.svg",
        "nothing.yaml",
    ]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="b.html">b</a>', "a.html leads to b.html: there is no such file"),
        ('<a href="#x">x</a>', "a.html leads to #x: that page has no such section"),
        ('<img src="b.png">', "a.html leads to b.png: there is no such file"),
        ('<script src="https://cdn.example/x.js">', "a.html loads https://cdn.example/x.js from elsewhere"),
        ('<link href="//fonts.example/x.css">', "a.html loads //fonts.example/x.css from elsewhere"),
        ('<a href="https://example.org/">a page to go to</a>', None),
        ('<p id="x"><a href="a.html#x">x</a><script src="../versions.js">', None),
    ],
    ids=["file", "section", "picture", "script", "font", "elsewhere", "itself"],
)
def test_what_leads_nowhere_or_comes_from_elsewhere_is_found(tmp_path: Path, body: str, fault: str | None) -> None:
    (tmp_path / "1.0.0").mkdir()
    (tmp_path / "1.0.0" / "a.html").write_text(body)
    assert docs_site.broken(tmp_path / "1.0.0") == ([fault] if fault else [])


def test_a_style_that_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("p { background: url(b.png) } @import 'https://fonts.example/x.css';")
    assert docs_site.broken(tmp_path) == ["a.css loads @import 'https://fonts.example/x.css from elsewhere"]


# --- versions


def test_versions_stand_side_by_side_the_newest_first(tmp_path: Path) -> None:
    published = tmp_path / "published"
    for version, pages in {
        "0.9.0": ["README"],
        "0.10.0": ["README", "docs/new"],
        "0.2.0": ["README", "docs/old"],
    }.items():
        docs_site.publish(small_site(tmp_path / version, pages), published)
    docs_site.publish(small_site(tmp_path / "again" / "0.9.0", ["README", "docs/late"]), published)
    text = (published / "versions.js").read_text()
    versions = json.loads(text.removeprefix("window.PUBLISHED_VERSIONS = ").removesuffix(";\n"))
    assert list(versions.items()) == [
        ("0.10.0", ["README", "docs/new"]),
        ("0.9.0", ["README", "docs/late"]),
        ("0.2.0", ["README", "docs/old"]),
    ]
    assert "url=0.10.0/index.html" in (published / "index.html").read_text()
    assert sorted(path.name for path in published.iterdir()) == [
        "0.10.0",
        "0.2.0",
        "0.9.0",
        "index.html",
        "versions.js",
    ]


def small_site(folder: Path, pages: list[str]) -> Path:
    """A site with these pages, as a build leaves it."""
    for page in pages:
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).with_suffix(".html").write_text("")
    (folder / "searchindex.js").write_text("")
    return folder


# --- where Sphinx comes from


def test_sphinx_is_installed_once_for_each_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tools(tmp_path, monkeypatch, "mkdir -p $place && echo . >> $place/count")
    assert [docs_site.generator(), docs_site.generator()] == [installed] * 2
    assert (installed / "count").read_text() == ".\n"
    docs_site.LOCK.write_text("sphinx==9\n")
    docs_site.generator()
    assert (installed / "count").read_text() == ".\n"  # in a folder that is made anew


def test_where_sphinx_cannot_be_had_the_last_words_of_pip_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(tmp_path, monkeypatch, "echo nobody answers >&2; exit 1")
    with pytest.raises(docs_site.GeneratorUnavailable, match="cannot be installed: nobody answers"):
        docs_site.generator()


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A machine with nothing fetched yet, on which ``script`` is what pip does; returns where Sphinx will be."""
    pip = folder / "pip"
    pip.write_text(
        f'#!/bin/sh\nfor one; do case $one in --target=*) place="${{one#--target=}}";; esac; done\n{script}\n'
    )
    pip.chmod(0o755)
    (folder / "lock").write_text("sphinx==8\n")
    monkeypatch.setattr(bootstrap, "TOOLS", folder)
    monkeypatch.setattr(bootstrap, "find_pip", lambda _: [str(pip)])
    monkeypatch.setattr(docs_site, "LOCK", folder / "lock")
    return folder / "docs"

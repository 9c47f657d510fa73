"""How Sphinx makes a site of the pages, which are written as GitHub reads them; ``tools/docs_site.py`` runs it.

The repository is the source, so that links from page to page, and to files, are those of the repository. Which pages
there are, and in what order, the index says (``docs/README.md``): it is the navigation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes

from meshfed import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import docs_site  # noqa: E402 - tools are on no path here

NAVIGATION = docs_site.navigation()

project = "Meshfed"
version = release = __version__
root_doc = "README"
include_patterns = ["README.md", "docs/README.md", *(page for pages in NAVIGATION.values() for page in pages)]
exclude_patterns = [".*", "build", "dist"]
extensions = ["myst_parser"]
nitpicky = True

# As GitHub reads them: its anchors, its links, and what is typed stays as it is typed.
myst_heading_anchors = 6
myst_enable_extensions = ["gfm_autolink", "strikethrough"]
smartquotes = False
highlight_language = "text"

html_theme = "furo"
html_title = f"Meshfed {version}"
html_static_path = ["static"]
templates_path = ["templates"]
html_css_files = ["site.css"]
html_search_scorer = str(ROOT / "docs" / "site" / "scorer.js")
html_js_files = [("site.js", {"defer": "defer"})]
html_sidebars = {
    "**": [
        "brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_show_copyright = False
html_use_index = False
html_copy_source = False
html_permalinks_icon = "#"


def setup(app: Sphinx) -> None:
    """Take part where pages are read."""
    app.add_config_value("repository", "", "env", str)
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", lead_folders_somewhere)
    app.connect("doctree-read", keep_words_whole)


def add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add to the front page what the index says, where only the sidebar shows it."""
    if page != root_doc:
        return
    trees = {"": {"docs/README.md": "All pages"}, **NAVIGATION}
    for caption, pages in trees.items():
        entries = [f"{title} <{path.removesuffix('.md')}>" for path, title in pages.items()]
        heading = [f":caption: {caption}"] if caption else []
        source[0] += "\n" + "\n".join(["```{toctree}", ":hidden:", *heading, "", *entries, "```"]) + "\n"


def lead_folders_somewhere(app: Sphinx, document: nodes.document) -> None:
    """Lead links to folders, which no site shows, to the repository where one is named; else there is only their text.

    Links to files need nothing: a copy of each is in the site.
    """
    for link in list(document.findall(addnodes.pending_xref)):
        folder = (ROOT / app.env.docname).parent / link["reftarget"]
        if link["reftype"] != "myst" or link["refdomain"] == "doc" or not folder.is_dir():
            continue
        text = link.children[0].deepcopy()
        if app.config.repository:
            place = f"{app.config.repository}/tree/v{version}/{folder.resolve().relative_to(ROOT)}"
            text = nodes.reference("", "", text, refuri=place, internal=False)
        link.replace_self(text)


def keep_words_whole(_app: Sphinx, document: nodes.document) -> None:
    """Mark short pieces of code, such as ``--leader-elect``, so that no line ends within one."""
    for code in document.findall(nodes.literal):
        if len(code.astext()) <= 30:  # which is less than the narrowest screens are wide
            code["classes"].append("whole")

"""bookinfo's product page as a person sees it: the book, and beside each part who answered it, or why nobody did."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final
from zlib import crc32

import msgspec

JSONObject = dict[str, Any]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What a service answered: an ``answer`` with status 200, or another ``status`` and an ``error`` that says why."""

    service: str
    status: int
    answer: JSONObject = {}
    error: str = ""


_STYLE: Final = """
:root { color-scheme: light dark; --paper: #faf9f7; --card: #fff; --ink: #1d2129; --faint: #667085; --line: #e4e4e0;
  --bad: #b3261e; --bad-paper: #fdf0ee; --star: #c98a04; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1c1f25; --ink: #e8e9ec; --faint: #98a1b0;
  --line: #2e333c; --bad: #ff9a8f; --bad-paper: #33201f; --star: #f2b93b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
header { margin-bottom: 2rem; }
h1 { font: 600 2.4rem/1.15 Georgia, serif; letter-spacing: -.01em; margin: 0 0 .6rem; }
header p { max-width: 44rem; margin: 0; color: var(--faint); font-size: 1.05rem; }
h2 { font-size: 1.05rem; margin: 0; }
.parts { display: grid; grid-template-columns: 1fr 1.4fr; gap: 1.25rem; align-items: start; }
@media (max-width: 46rem) { .parts { grid-template-columns: 1fr; } }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.25rem 1.4rem; }
section.failed { border-color: var(--bad); }
.head { display: flex; flex-wrap: wrap; gap: .5rem; justify-content: space-between; align-items: center;
  margin-bottom: .9rem; }
.who { display: inline-flex; align-items: center; gap: .45rem; font-size: .8rem; color: var(--faint);
  overflow-wrap: anywhere; }
.mesh { font-weight: 600; padding: .1rem .6rem; border-radius: 99px; color: hsl(var(--hue) 70% 28%);
  background: hsl(var(--hue) 75% 92%); }
@media (prefers-color-scheme: dark) { .mesh { color: hsl(var(--hue) 80% 82%); background: hsl(var(--hue) 40% 24%); } }
dl { display: grid; grid-template-columns: auto 1fr; gap: .3rem 1.2rem; margin: 0; }
dt { color: var(--faint); } dd { margin: 0; }
blockquote { margin: 0 0 1rem; padding: 0 0 1rem; border-bottom: 1px solid var(--line); }
blockquote p { margin: 0 0 .3rem; font: 1.05rem/1.5 Georgia, serif; }
cite { color: var(--faint); font-style: normal; font-size: .9rem; }
.stars { letter-spacing: .1em; margin-left: .5rem; color: var(--star); } .stars.red { color: var(--bad); }
.error { color: var(--bad); background: var(--bad-paper); border-radius: 8px; padding: .7rem .9rem; margin: 0;
  font-size: .92rem; overflow-wrap: anywhere; }
.error b { display: block; }
.below { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; font-size: .9rem; }
footer { margin-top: 1.5rem; color: var(--faint); font-size: .85rem; display: flex; flex-wrap: wrap; gap: .6rem; }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
"""

_LABELS: Final = {
    "author": "Author",
    "year": "Year",
    "type": "Binding",
    "pages": "Pages",
    "publisher": "Publisher",
    "language": "Language",
    "ISBN-10": "ISBN-10",
    "ISBN-13": "ISBN-13",
}


def page(product: Mapping[str, Any], own: Mapping[str, Any], details: Part, reviews: Part) -> str:
    """The whole HTML document. Nothing in it is believed: what the services said is text, never markup.

    ``own`` is who renders this: ``mesh``, ``pod``, ``version`` and perhaps ``caller``.
    """
    caller = f"<span>called as <code>{_text(own['caller'])}</code></span>" if own.get("caller") else ""
    title = _text(product["title"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head>
<body><main>
<header><h1>{title}</h1><p>{_text(product["description"])}</p></header>
<div class="parts">
{_section("Details", details, _details(details.answer))}
{_section("Reviews", reviews, _reviews(reviews.answer))}
</div>
<footer><span>This page comes from</span>{_who(own)}{caller}</footer>
</main></body>
</html>
"""


def _text(value: object) -> str:
    return escape(str(value))


def _who(answer: Mapping[str, Any]) -> str:
    """The mesh, coloured by its name so that another one meets the eye, then the Pod and its version."""
    mesh = str(answer.get("mesh", "?"))
    rest = " · ".join(_text(answer[key]) for key in ("pod", "version") if answer.get(key))
    hue = crc32(mesh.encode()) * 137 % 360
    return f'<span class="who"><span class="mesh" style="--hue: {hue}">{_text(mesh)}</span>{rest}</span>'


def _section(title: str, part: Part, content: str) -> str:
    if part.error:
        content = f'<p class="error"><b>There are no {title.lower()} just now.</b>{_text(part.error)}</p>'
    who = "" if part.error else _who(part.answer)
    failed = ' class="failed"' if part.error else ""
    return f'<section{failed}><div class="head"><h2>{title}</h2>{who}</div>{content}</section>'


def _details(answer: Mapping[str, Any]) -> str:
    rows = (f"<dt>{label}</dt><dd>{_text(answer[key])}</dd>" for key, label in _LABELS.items() if key in answer)
    return f"<dl>{''.join(rows)}</dl>"


def _reviews(answer: Mapping[str, Any]) -> str:
    found = answer.get("reviews")
    quotes = "".join(_quote(review) for review in found if isinstance(review, dict)) if isinstance(found, list) else ""
    ratings = answer.get("ratings")
    if not isinstance(ratings, dict):
        return f'{quotes}<div class="below">This version asks for no ratings.</div>'
    if "error" in ratings:
        return f'{quotes}<p class="error"><b>There are no ratings just now.</b>{_text(ratings["error"])}</p>'
    return f'{quotes}<div class="below">Stars by ratings {_who(ratings)}</div>'


def _quote(review: Mapping[str, Any]) -> str:
    rating = review.get("rating")
    stars = rating.get("stars") if isinstance(rating, dict) else None
    shown = ""
    if isinstance(rating, dict) and isinstance(stars, int):
        full = max(0, min(5, stars))
        color = " red" if rating.get("color") == "red" else ""
        shown = f'<span class="stars{color}" title="{full} of 5">{"★" * full}{"☆" * (5 - full)}</span>'
    text, reviewer = _text(review.get("text", "")), _text(review.get("reviewer", ""))
    return f"<blockquote><p>{text}</p><cite>{reviewer}</cite>{shown}</blockquote>"

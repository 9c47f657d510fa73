"""The documentation is true: commands do what is shown, names of code exist, links lead somewhere, bytes are right."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
import time
from pathlib import Path

import pytest

from meshfed.fds import Confirming, messages
from meshfed.model.offers import Offer, Port
from meshfed.model.reasons import Reason
from meshfed.views.checks import BEFORE, CHECKS
from meshfed.views.checks.stored import docs_of
from meshfed_sandbox.ports import Ports
from tests.pages import alike, matches, page_text, shell, steps

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GUIDE = DOCS / "guide.md"

# --- the guide, followed


def is_look(command: str) -> bool:
    """Whether a command only looks, so that it may be asked again until the change has arrived."""
    return bool(re.match(r"kubectl --context \w+ (-n [\w-]+ )?(get|diff)\b|meshfed fds get|curl", command))


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="needs bash and curl")
def test_the_guide_holds_when_it_is_followed(tmp_path: Path, ports: Ports) -> None:
    # Its ports may be taken on this machine; everything else is done to the letter.
    numbers = {port: str(ports.take()) for port in ("15081", "15082", "15083", "8181", "8182", "8281", "8282")}

    def own_ports(text: str) -> str:
        return re.sub(r"(?<=[:\s])\d+\b", lambda found: numbers.get(found[0], found[0]), text)

    shutil.copytree(DOCS / "examples", tmp_path / "docs" / "examples")
    for path in (tmp_path / "docs" / "examples").rglob("*.yaml"):
        path.write_text(own_ports(path.read_text()))
    guide = own_ports(GUIDE.read_text())
    with shell(tmp_path) as bash:
        for step in steps(guide):
            printed = bash.run(step.command)
            deadline = time.monotonic() + 30
            while not matches(step.shown, printed) and is_look(step.command) and time.monotonic() < deadline:
                time.sleep(0.1)
                printed = bash.run(step.command)
            assert matches(step.shown, printed), (
                f"guide.md:{step.line}: {step.command}\nshown:\n"
                + "\n".join(step.shown)
                + "\nprinted:\n"
                + "\n".join(printed)
                + "\n\n"
                + "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in sorted(tmp_path.glob("*.log")))
            )


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("west   False   5s", "west  False  12m", True),
        ("west   False   5s", "west  True  12m", False),
        ("since ...: away", "since 2026-01-01T00:00:00Z: away", True),
        ("NAME  AGE", "NAME   AGE", True),
    ],
)
def test_how_what_the_guide_shows_is_compared(shown: str, printed: str, same: bool) -> None:
    assert alike(shown, printed) is same


def test_files_that_are_shown_are_the_files() -> None:
    pages = "\n".join(page.read_text() for page in PAGES)
    shown = re.findall(r"^```yaml\n# (docs/\S+)\n(.*?)^```$", pages, re.MULTILINE | re.DOTALL)
    assert "docs/examples/east/federation.yaml" in [name for name, _ in shown]
    assert len(shown) > 1
    for name, text in shown:
        assert (ROOT / name).read_text() == f"# {name}\n{text}"


# --- names of code


def symbols(path: Path) -> set[str]:
    """The names that a module defines at its top, and those in its classes as ``Class.name``."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        for name in defined(node):
            found.add(name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{name}.{inner}" for child in node.body for inner in defined(child)}
    return found


def defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "meshfed-sandbox" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_mentioned_exist(page: Path) -> None:
    files = re.findall(r"`((?:src|meshfed-sandbox|tools|tests|docs|proto|deploy)/[\w/.-]*)`", page_text(page))
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", ["docs/reliability.md", "SECURITY.md"])
def test_every_promise_has_a_test_that_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 10
    assert text.count("::") == len(named), "each is written as `tests/FILE.py::NAME`"
    known = {path: symbols(ROOT / path) for path, _ in named if (ROOT / path).exists()}
    assert [f"{path}::{name}" for path, name in named if name not in known.get(path, ())] == []
    promises = re.findall(r"^\| (?!Promise |What |Who )(.* \|)$", text.partition("## Figures")[0], re.MULTILINE)
    assert [line for line in promises if "`tests/" not in line and "(nobody's)" not in line] == []


def test_the_tour_names_what_exists() -> None:
    text = page_text(DOCS / "tour.md")
    known = {path: symbols(ROOT / path) for path in re.findall(r"`(src/[\w/]+\.py)`", text)}
    placed = re.findall(r"`(src/[\w/]+\.py)`\s+`([\w.]+)`", text)
    assert [(path, name) for path, name in placed if name not in known[path]] == []
    assert len(placed) > 30
    # What follows is in one of the files named so far, or is no code: a room, a distribution and its entry points, a
    # Service's namespace and name.
    rooms = {path.parent.name for path in (ROOT / "src" / "meshfed").glob("*/__init__.py")}
    elsewhere = set().union(*known.values()) | rooms | {"meshfed", "meshfed_sandbox", "meshfed.commands"}
    elsewhere |= {"bookinfo", "ratings"}
    named = re.findall(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)`", text)
    assert [name for name in named if name not in elsewhere] == []


# --- links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of them."""
    headings = re.findall(r"^#+ (.*)$", page_text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_sections_lead_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text())
    targets = [((page.parent / name) if name else page, anchor) for name, anchor in links]
    assert [(str(target), anchor) for target, anchor in targets if anchor not in anchors(target)] == []


def test_checks_name_places_that_there_are() -> None:
    named = {check.docs for check in (*CHECKS, *BEFORE)} | {docs_of(reason) for reason in Reason} - {""}
    places = [place.partition("#") for place in sorted(named)]
    assert [place for place in places if not place[2] or place[2] not in anchors(DOCS / place[0])] == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if page != "README.md" and f"({page})" not in index] == []


# --- bytes of the protocol


def golden(name: str) -> list[str]:
    text = (DOCS / "protocol.md").read_text()
    found = re.search(rf"^<!-- golden: {name} -->\n```\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].splitlines()


PLAIN = Offer(
    host="a.ns2.svc.cluster.local",
    ports=(Port(number=80, name="http", protocol="HTTP", target_port=8080),),
    labels={"app": "a"},
)
FULL = Offer(
    host="b.ns2.svc.cluster.local",
    ports=(Port(number=9000, name="data"),),
    sni_host="a.ns2.svc.cluster.local",
    identities=("spiffe://cluster.local/ns/ns2/sa/a",),
    locality="us-west1/us-west1-a",
    ready=True,
    exported_at="2026-01-31T03:12:45Z",
)


def test_the_bytes_of_the_protocol_are_those_on_the_wire() -> None:
    assert [messages.encode(PLAIN, dialect).hex() for dialect in messages.Dialect] == golden("plain") * 2
    assert [messages.encode(FULL, messages.Dialect.DELTA).hex()] == golden("full")
    assert [messages.decode(bytes.fromhex(golden(name)[0])) for name in ("plain", "full")] == [PLAIN, FULL]


def test_the_bytes_of_what_is_in_place_are_those_on_the_wire() -> None:
    said: list[bytes] = []

    async def run() -> None:
        confirming, done = Confirming(), asyncio.Event()

        async def send(data: bytes) -> None:
            said.append(data)
            done.set()

        confirming.put(FULL.host, messages.version_of(FULL))
        task = asyncio.create_task(confirming.run(send))
        await asyncio.sleep(0)
        confirming.begin()
        await done.wait()
        task.cancel()

    asyncio.run(run())
    assert [data.hex() for data in said] == golden("imported")


def test_the_digests_of_the_protocol_are_those_on_the_wire() -> None:
    digest = messages.SetDigest()
    versions = [messages.version_of(offer) for offer in (PLAIN, FULL)]
    for offer, version in zip((PLAIN, FULL), versions, strict=True):
        digest.add(messages.SetDigest.term(offer.host.encode(), version.encode()))
    assert [*versions, str(digest)] == golden("digests")

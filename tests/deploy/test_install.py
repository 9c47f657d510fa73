"""The commands of docs/install.md: what they name exists, and those that a sandbox can run do what is said."""

from __future__ import annotations

import asyncio
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meshfed.cli.app import build
from meshfed_sandbox.kubectl import kubectl_path
from tests.deploy.cluster import CHART, ROOT, cluster, until

PAGES = [ROOT / "docs" / "install.md", ROOT / "docs" / "moving.md", ROOT / "README.md"]


def commands(page: Path) -> list[list[str]]:
    """Every command of the page's blocks, pipes and redirections taken apart, as words."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"(?:^    .*\n)+", page.read_text(), re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = [part.partition(" > ")[0].strip() for line in lines for part in line.split(" | ")]
    return [shlex.split(part, comments=True) for part in parts if re.match(r"(helm|kubectl|meshfed) \w", part)]


ALL = [words for page in PAGES for words in commands(page)]
HELM = [words for words in ALL if words[0] == "helm"]
MESHFED = [words for words in ALL if words[0] == "meshfed" and words[1] in {"manifests", "uninstall"}]


def test_the_pages_show_commands() -> None:
    assert len(HELM) >= 4
    assert len(MESHFED) >= 3


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_files_and_folders_of_the_repository_exist(words: list[str]) -> None:
    named = [word for word in words if word.startswith("deploy/")]
    assert [name for name in named if not (ROOT / name).exists()] == []
    for flag, value in itertools.pairwise(words):
        if flag == "-k":
            assert (ROOT / value / "kustomization.yaml").is_file()


@pytest.mark.parametrize("words", MESHFED, ids=" ".join)
def test_meshfed_takes_its_flags(words: list[str]) -> None:
    build().parse_args(words[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("words", HELM, ids=" ".join)
def test_values_that_are_set_exist(words: list[str]) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for flag, value in itertools.pairwise(words):
        if flag == "--set":
            top, _, rest = value.partition("=")[0].partition(".")
            assert rest.partition(".")[0] in values[top]


def test_values_that_the_page_mentions_exist() -> None:
    table = (CHART / "README.md").read_text()
    text = PAGES[0].read_text()
    mentioned = re.findall(
        r"`((?:gateway|uninstall|controller|rbac|networkPolicy|podMonitor)\.[\w.]+?)(?:=\w+)?`", text
    )
    assert len(mentioned) >= 3
    assert [name for name in mentioned if f"| `{name}` |" not in table] == []


async def test_what_is_shown_for_kubectl_runs_a_controller(tmp_path: Path) -> None:
    printed = next(words for words in MESHFED if words[1] == "manifests")
    async with cluster(tmp_path) as found:
        made = await output([sys.executable, "-m", "meshfed", *printed[1:]])
        kubectl = [kubectl_path(), f"--kubeconfig={found.kubeconfig}", f"--cache-dir={tmp_path}"]
        await output([*kubectl, "apply", "--server-side", "-f", "-"], made)
        await output([*kubectl, "apply", "-f", str(ROOT / "deploy" / "examples" / "kustomize" / "federation.yaml")])
        pod = await found.run_controller()
        await until(lambda: bool(found.all("Gateway") and found.all("AuthorizationPolicy")), "nothing is written", pod)
        removal = next(words for words in MESHFED if words[1] == "uninstall")
        await output([sys.executable, "-m", "meshfed", *removal[1:], f"--kubeconfig={found.kubeconfig}"])
        await pod.stop()
        assert found.all("Gateway") == found.all("MeshFederation") == []
        assert [use.asked for use in found.uses("federation-controller") if not use.allowed] == []


async def output(command: list[str], stdin: str = "") -> str:
    """What a command prints; it must succeed."""
    done = await asyncio.to_thread(
        subprocess.run, command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

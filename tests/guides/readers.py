"""Somebody who follows a guide: the meshes that the guide has them make, and a shell in the project's folder.

The meshes are the sandbox's, set up as the guide's own values for Istio say; what they lack is the installation, which
is the guide's business. ``kubectl`` is the real one. ``helm`` is the real Helm, as a library.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import re
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import helm
import msgspec
import yaml

from meshfed_sandbox import Sandbox
from meshfed_sandbox.dataplane.plane import DataPlane, Options
from meshfed_sandbox.dataplane.trust import Mode
from meshfed_sandbox.dataplane.values import MeshSettings
from meshfed_sandbox.kubectl import kubectl_path
from tests.forked import forked
from tests.pages import Shell, Step, matches, shell, steps

JSONObject = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDES = ROOT / "docs" / "guides"
PATIENCE = 30.0
_ASK = """\
import json, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({path!r})
asked.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
out, err, code = json.loads(asked.makefile().readline())
sys.stdout.write(out)
sys.stdout.flush()
sys.stderr.write(err)
sys.exit(code)
"""


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What a program says, and its exit code."""

    out: str = ""
    err: str = ""
    code: int = 0


def settings_of(name: str, values: Mapping[str, Any]) -> MeshSettings:
    """A mesh of the sandbox, as values of Istio's chart set it."""
    config = values["meshConfig"]
    proxies = config["defaultConfig"]["proxyMetadata"]
    # The sandbox's proxies know no other way; a guide that left this out would be wrong on a real mesh.
    assert proxies == {"ISTIO_META_DNS_CAPTURE": "true"}
    environment = values.get("pilot", {}).get("env", {})
    return MeshSettings(
        name=name,
        network=values["global"]["network"],
        trust_domain=config.get("trustDomain", "cluster.local"),
        skip_validate_trust_domain=environment.get("PILOT_SKIP_VALIDATE_TRUST_DOMAIN") == "true",
        outbound_policy=config["outboundTrafficPolicy"]["mode"],
    )


class Reader:
    """Follows guides, page after page, in one shell."""

    def __init__(self, plane: DataPlane, bash: Shell) -> None:
        self.plane = plane
        self._bash = bash

    async def follow(self, page: str) -> None:
        """Do what the page's ``console`` blocks say, and see what they show."""
        for step in steps((GUIDES / page).read_text()):
            printed = await asyncio.to_thread(self._bash.run, step.command)
            deadline = time.monotonic() + PATIENCE
            while not matches(step.shown, printed) and is_look(step.command) and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
                printed = await asyncio.to_thread(self._bash.run, step.command)
            assert matches(step.shown, printed), self._difference(page, step, printed)

    def _difference(self, page: str, step: Step, printed: Sequence[str]) -> str:
        waiting = [line for mesh in self.plane.meshes.values() for line in mesh.unsettled()]
        problems = [str(problem) for problem in self.plane.problems]
        parts = [f"{page}:{step.line}: {step.command}", "shown:", *step.shown, "printed:", *printed]
        return "\n".join([*parts, "", *waiting, *problems])


def is_look(command: str) -> bool:
    """Whether a command only looks, so that it may be asked again until the change has arrived."""
    return bool(re.match(r"(for .*; do )?kubectl( --context \$?\w+)?( -n [\w-]+)? (get|exec|wait)\b", command))


@asynccontextmanager
async def reading(
    meshes: Mapping[str, Mapping[str, Any]],
    *,
    directory: Path,
    trust: Mode = "shared",
    routers: bool = False,
    before: str = "",
) -> AsyncIterator[Reader]:
    """A reader with meshes that are set as values of Istio's chart say; no proxy may have had a problem at the end.

    ``routers``: each has an OpenShift router. ``before`` is a command that is done for each first, as a page that the
    guide builds on says; ``$mesh`` in it is the mesh.
    """
    settings = {name: settings_of(name, values) for name, values in meshes.items()}
    folder = directory / "meshfed"
    for part in ("docs/examples", "deploy"):
        shutil.copytree(ROOT / part, folder / part)
    async with AsyncExitStack() as stack:
        stack.enter_context(forked())
        options = Options(trust=trust, meshes=settings, routers=frozenset(meshes if routers else ()))
        sandbox = Sandbox(list(meshes), directory=directory / "sandbox", data_plane=options)
        await stack.enter_async_context(sandbox)
        programs = _Programs(sandbox, stack.enter_context(contextlib.ExitStack()), directory)
        await stack.enter_async_context(programs.serving())
        configs = ":".join(str(path.absolute()) for path in sandbox.kubeconfigs.values())
        bash = stack.enter_context(shell(folder, programs=programs.folder, variables={"KUBECONFIG": configs}))
        if before:
            await asyncio.to_thread(bash.run, f"for mesh in {' '.join(meshes)}; do {before}; done")
        yield Reader(sandbox.data_plane, bash)
        assert [str(problem) for problem in sandbox.data_plane.problems] == []


class _Programs:
    """The programs that are not what they are on a reader's machine: small scripts, which ask this process."""

    def __init__(self, sandbox: Sandbox, stack: contextlib.ExitStack, directory: Path) -> None:
        self._sandbox = sandbox
        self._stack = stack
        self._helm: helm.Helm | None = None
        self._directory = directory
        self.folder = directory / "programs"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self.folder.mkdir()
        path = self._directory / "ask"
        script = self._directory / "ask.py"
        script.write_text(_ASK.format(path=str(path)))
        ask = f"exec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(script))}"
        self._write("kubectl", f'exec {shlex.quote(str(kubectl_path()))} "$@"')
        self._write("helm", f'{ask} helm "$@"')
        server = await asyncio.start_unix_server(self._serve, path)
        async with server:
            yield

    def _write(self, name: str, body: str) -> None:
        program = self.folder / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, *arguments = msgspec.json.decode(await reader.readline(), type=list[str])
        try:
            said = await self._run_helm(arguments)
        except (OSError, helm.HelmError) as error:
            said = Said(err=f"error: {error}\n", code=1)
        writer.write(msgspec.json.encode(said) + b"\n")
        await writer.drain()
        writer.close()

    # --- helm

    async def _run_helm(self, arguments: Sequence[str]) -> Said:
        """``helm install|upgrade|uninstall``."""
        parser = argparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("verb", choices=["install", "upgrade", "uninstall"])
        parser.add_argument("name")
        parser.add_argument("chart", nargs="?")
        parser.add_argument("--kube-context", required=True)
        parser.add_argument("-n", "--namespace", required=True)
        parser.add_argument("-f", "--values", action="append", default=[])
        parser.add_argument("--set", action="append", default=[])
        asked = parser.parse_args(arguments)
        values: JSONObject = {}
        for path in asked.values:
            values |= yaml.safe_load((self._directory / "meshfed" / path).read_text())
        for text in asked.set:
            put(values, *text.split("=", 1))
        kubeconfig = self._sandbox.kubeconfigs[asked.kube_context].absolute()
        common = {"name": asked.name, "namespace": asked.namespace, "kubeconfig": str(kubeconfig)}
        if asked.verb == "uninstall":
            await asyncio.to_thread(self._asked, "uninstall", chart="", values={}, **common)
            return Said(f'release "{asked.name}" uninstalled\n')
        chart = str(self._directory / "meshfed" / asked.chart)
        await asyncio.to_thread(self._asked, asked.verb, chart=chart, values=values, **common)
        return Said(f"NAME: {asked.name}\nNAMESPACE: {asked.namespace}\nSTATUS: deployed\n")

    def _asked(self, verb: str, **arguments: Any) -> None:
        if self._helm is None:
            self._helm = self._stack.enter_context(helm.Helm())
        self._helm(verb, **arguments)


def put(values: JSONObject, path: str, text: str) -> None:
    """Set what ``helm --set PATH=TEXT`` sets; paths as ``a.b[0].c``."""
    at: Any = values
    keys = [int(key) if key.isdecimal() else key for key in re.findall(r"[^.\[\]]+", path)]
    for key, following in itertools.pairwise(keys):
        at = at.setdefault(key, {}) if isinstance(key, str) else at[key]
        assert isinstance(at, list) == isinstance(following, int)
    at[keys[-1]] = yaml.safe_load(text) if text else ""

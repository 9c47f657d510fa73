"""Helm itself, for the tests of the chart and for what is rendered from it; nothing else needs it.

It is a library of 85 MB, so it is no dependency: it is fetched into ``.tools`` the first time, against the hash below,
and asked in a process of its own, a request a line::

    with helm.Helm() as asked:
        manifests = asked("template", chart="deploy/chart", name="east", namespace="istio-system", values={})
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from fetched import Unavailable, fetched

REQUIREMENT = "helm-python-sdk==0.2.2 --hash=sha256:28cc13abaf134c3a7e37f070c939be8d9cdc9825c3c8b8b2d35161073bcd4578\n"


class HelmUnavailable(Exception):
    """Helm cannot be fetched, or does not run here; the message says why."""


class HelmError(Exception):
    """Helm refused; the message has its words."""


def folder() -> Path:
    """The folder that Helm is in, fetched if it is not there yet.

    Raises:
        HelmUnavailable: it cannot be had.
    """
    try:
        return fetched("helm", REQUIREMENT)
    except Unavailable as error:
        raise HelmUnavailable(f"Helm cannot be fetched: {error}") from error


class Helm:
    """Helm in a process of its own; a context manager.

    Raises:
        HelmUnavailable: it cannot be had.
    """

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), str(folder())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.communicate()

    def __call__(self, verb: str, **arguments: Any) -> Any:
        """Do one thing, named as Helm's command is; ``HelmError`` where Helm refuses."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "refused" in answer:
            raise HelmError(answer["refused"])
        return answer["done"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, words = self._process.communicate()
            raise HelmUnavailable(f"Helm does not run here: {words.strip()[-500:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve() -> None:
    """Answer requests on standard input until it ends."""
    import helm_python as library  # type: ignore[import-not-found]  # noqa: PLC0415  # it is there in this process alone

    def release(verb: str, asked: dict[str, Any]) -> Any:
        with library.Config(kubeconfig_path=asked["kubeconfig"], namespace=asked["namespace"]) as config:
            wait = {"wait": asked["wait"]} if "wait" in asked else {}
            if verb == "uninstall":
                return config.uninstall(asked["name"], timeout=60, **wait)
            return getattr(config, verb)(asked["chart"], asked["name"], asked["values"], timeout=60, **wait)

    def done(asked: dict[str, Any]) -> Any:
        match asked["verb"]:
            case "template":
                with library.Chart.load(asked["chart"]) as chart:
                    chart.validate_schema(asked["values"])
                    return chart.render(asked["values"], name=asked["name"], namespace=asked["namespace"])
            case "lint":
                return library.lint(asked["chart"], asked["values"], strict=True, namespace=asked["namespace"])
            case "package":
                return library.package(asked["chart"], destination=asked["destination"])
            case verb:
                return release(verb, asked)

    print(json.dumps({"done": library.helm_sdk_version()}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"done": done(json.loads(line))}
        except library.HelmError as error:
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    serve()

"""The administrator of a real kube-apiserver, who speaks to it through kubectl and plainly."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.real_server import TOKEN, real_server


class Administrator:
    """Speaks to the server as its administrator, through kubectl and plainly."""

    def __init__(self, url: str, token: str, ca: Path, cache: Path) -> None:
        self._url, self._token, self._ca = url, token, ca
        kubectl = Path(sys.executable).with_name("kubectl")
        to = [f"--server={url}", f"--token={token}", f"--certificate-authority={ca}", f"--cache-dir={cache}"]
        self._kubectl = [str(kubectl), *to]

    def kubectl(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end."""
        command = [*self._kubectl, *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The code and the JSON that a request is answered with."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        context = ssl.create_default_context(cafile=str(self._ca))
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@contextmanager
def administered(directory: Path) -> Iterator[Administrator]:
    """A server from ``KUBEBUILDER_ASSETS`` while the context lasts, and its administrator."""
    with real_server(Path(os.environ["KUBEBUILDER_ASSETS"]), directory) as server:
        yield Administrator(server.url, TOKEN, server.ca, directory / "cache")

"""Istio's log flags, as the reference's command lines have them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

import meshfed
from meshfed.cli.exits import BadInput
from meshfed.cli.istio_logging import SCOPES, output_levels


@pytest.mark.parametrize(
    ("text", "levels", "unknown"),
    [
        ("", {}, ()),
        ("debug", {"meshfed": logging.DEBUG}, ()),
        ("default:warn", {"meshfed": logging.WARNING}, ()),
        ("all:info,fds:debug", {"meshfed": logging.INFO, "meshfed.fds": logging.DEBUG}, ()),
        ("all:none, kube:fatal", {"meshfed": logging.CRITICAL + 1, "meshfed.kube": logging.CRITICAL}, ()),
        ("adsc:debug,plan:error", {"meshfed.plan": logging.ERROR}, ("adsc",)),
    ],
)
def test_what_it_says(text: str, levels: dict[str, int], unknown: tuple[str, ...]) -> None:
    assert output_levels(text) == (levels, unknown)


@pytest.mark.parametrize("text", ["loud", "fds:loud", "fds:", "fds=debug"])
def test_what_is_no_level_is_named(text: str) -> None:
    with pytest.raises(BadInput, match="--log_output_level"):
        output_levels(text)


def test_the_scopes_are_rooms() -> None:
    rooms = Path(meshfed.__file__).parent
    assert all((rooms / scope).is_dir() for scope in SCOPES)


def test_they_take_effect() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "meshfed", "controller", "--kubeconfig", "/nonexistent"),
            *("--meshPeers", '{"local": {"name": "east", "gateways": {"ingress": {"selector": {"a": "b"}}}}}'),
            *("--exportedServiceSet", "null", "--importedServiceSet", "null", "--leader-elect=false"),
            *("--log_as_json", "--log_output_level=all:info,adsc:debug", "--log_caller=all"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    *records, last = done.stderr.splitlines()
    messages = [json.loads(record)["message"] for record in records]
    assert any("no such scope: adsc" in message for message in messages)
    assert "--log_caller has no effect" in messages
    assert "/nonexistent" in last

"""Where promtool comes from, and what is said where it comes from nowhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import bootstrap
import promtool
import pytest

SAYS_ITS_NAME = "#!/bin/sh\necho promtool\n"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without promtool, and with nothing fetched yet."""
    monkeypatch.setattr(bootstrap, "TOOLS", tmp_path)
    monkeypatch.setattr(promtool, "PLACE", tmp_path / "promtool")
    monkeypatch.setattr(shutil, "which", lambda name: name if name in {"apt-get", "dpkg-deb"} else None)
    return tmp_path


def test_it_is_fetched_once_and_the_rest_of_the_package_is_not_kept(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def fetch(packages: list[str], place: Path, _advice: str) -> None:
        fetched.append((packages, place))
        for name in ("promtool", "prometheus"):
            program = place / "usr" / "bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(SAYS_ITS_NAME)
            program.chmod(0o755)

    monkeypatch.setattr(bootstrap, "fetch_packages", fetch)
    place = tools / "promtool"
    assert [promtool.promtool_path(), promtool.promtool_path()] == [str(place / "usr/bin/promtool")] * 2
    assert fetched == [(["prometheus"], place)]
    assert os.listdir(place / "usr" / "bin") == ["promtool"]  # noqa: PTH208 - names
    assert promtool.ask("--version") == (0, "promtool\n")


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(("has_apt", "why"), [(False, "no apt-get to fetch it with"), (True, "cannot be fetched")])
def test_where_it_cannot_be_had_it_is_said_what_helps(
    monkeypatch: pytest.MonkeyPatch, *, has_apt: bool, why: str
) -> None:
    if not has_apt:
        monkeypatch.setattr(shutil, "which", lambda _: None)

    def refuse(_packages: list[str], _place: Path, advice: str) -> None:
        raise bootstrap.SetupError(advice)

    monkeypatch.setattr(bootstrap, "fetch_packages", refuse)
    with pytest.raises(promtool.PromtoolUnavailable, match=why) as caught:
        promtool.promtool_path()
    assert "install Debian's package `prometheus`" in str(caught.value)

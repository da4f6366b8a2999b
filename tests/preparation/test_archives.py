"""Unpacking archives that may be broken, hostile or half unpacked already."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segdistill.core.errors import DataError
from segdistill.preparation import archives
from segdistill.preparation.archives import Archive, unpack

FILES = {"set/images/a.png": b"a" * 1000, "set/images/b.png": b"b" * 2000, "set/lists/train.txt": b"a\nb\n"}
Build = Callable[[Path, dict[str, bytes]], Path]


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.with_suffix(".zip")


def _tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path.with_suffix(".tar"), mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path.with_suffix(".tar")


def _tar_gz(path: Path, files: dict[str, bytes]) -> Path:
    return _tar(path, files, "w:gz")


def _tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(params=[_zip, _tar, _tar_gz], ids=["zip", "tar", "tar.gz"])
def build(request: pytest.FixtureRequest) -> Build:
    made: Build = request.param
    return made


def test_files_go_where_the_rule_says(tmp_path: Path, build: Build) -> None:
    path = build(tmp_path / "x", {**FILES, "set/": b"", "readme.txt": b"hello", "__MACOSX/set/images/._a.png": b"."})
    done = unpack(path, Archive("x*", below="set/images", into="JPEGImages"), tmp_path / "root", quiet=True)
    assert _tree(tmp_path / "root") == {"JPEGImages/a.png": b"a" * 1000, "JPEGImages/b.png": b"b" * 2000}
    assert (done.files, done.written) == (2, 2)


def test_the_folder_may_lie_deeper_in_the_archive(tmp_path: Path, build: Build) -> None:
    path = build(tmp_path / "x", {f"TrainVal/{name}": content for name, content in FILES.items()})
    unpack(path, Archive("x*", below="set"), tmp_path / "root", quiet=True)
    assert "images/a.png" in _tree(tmp_path / "root")


def test_what_is_there_already_is_not_written_again(tmp_path: Path, build: Build) -> None:
    path, rule, root = build(tmp_path / "x", FILES), Archive("x*", below="set"), tmp_path / "root"
    unpack(path, rule, root, quiet=True)
    before = (root / "images" / "a.png").stat().st_mtime_ns
    (root / "images" / "b.png").write_bytes(b"b" * 100)  # what another program left when it was stopped
    assert unpack(path, rule, root, quiet=True).written == 1
    assert (root / "images" / "a.png").stat().st_mtime_ns == before
    assert (root / "images" / "b.png").read_bytes() == b"b" * 2000


def test_an_interrupted_call_leaves_whole_files_and_goes_on(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rule, root = build(tmp_path / "x", FILES), Archive("x*", below="set"), tmp_path / "root"
    copy = archives.shutil.copyfileobj

    def stop_in_the_second(source: io.BufferedIOBase, target: io.BufferedIOBase, length: int) -> None:
        if (root / "images" / "a.png").exists():
            target.write(b"b")
            raise KeyboardInterrupt
        copy(source, target, length)

    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "copyfileobj", stop_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            unpack(path, rule, root, quiet=True)
    assert _tree(root) == {"images/a.png": b"a" * 1000}
    assert unpack(path, rule, root, quiet=True).written == 2
    assert len(_tree(root)) == 3


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "set/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:/evil.png", "set/images/../../../e"],
)
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, build: Build, name: str) -> None:
    path = build(tmp_path / "x", {**FILES, name: b"evil"})
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(path, Archive("x*"), tmp_path / "deep" / "root", quiet=True)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    path = _tar(tmp_path / "x", FILES)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("set/images/c.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=f"c.png' is a {word}"):
        unpack(path, Archive("x*"), tmp_path / "root", quiet=True)
    assert not (tmp_path / "root").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("set/images")
        member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc")
    with pytest.raises(DataError, match="is a link"):
        unpack(path, Archive("x*"), tmp_path / "root", quiet=True)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
def test_a_cut_archive_is_named_with_its_size(tmp_path: Path, build: Build, kept: float) -> None:
    path = build(tmp_path / "x", {f"{i}.bin": os.urandom(20_000) for i in range(5)})
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=f"Can't unpack {path}"):
        unpack(path, Archive("x*"), tmp_path / "root", quiet=True)
    assert all(len(content) == 20_000 for content in _tree(tmp_path / "root").values())


def test_a_damaged_file_in_a_zip_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"a" * 5000)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        unpack(path, Archive("x*"), tmp_path / "root", quiet=True)
    assert _tree(tmp_path / "root") == {}


def test_an_archive_that_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "x", FILES)
    usage = archives.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: usage._replace(free=100))
    with pytest.raises(DataError, match="MB are free"):
        unpack(path, Archive("x*"), tmp_path / "root", quiet=True)
    assert not (tmp_path / "root").exists()


def test_an_archive_of_something_else_is_named(tmp_path: Path, build: Build) -> None:
    with pytest.raises(DataError, match="nothing below VOCdevkit"):
        unpack(build(tmp_path / "x", FILES), Archive("x*", below="VOCdevkit"), tmp_path / "root", quiet=True)

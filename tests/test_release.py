"""What `pip install segdistill` brings: the wheel that is made from the sdist, as `make release-check` makes it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = """
import sys, tarfile, os
from setuptools import build_meta
sdist, wheel, unpacked = sys.argv[1:]
with tarfile.open(os.path.join(sdist, build_meta.build_sdist(sdist))) as archive:
    archive.extractall(unpacked, filter="data")
(source,) = os.listdir(unpacked)
os.chdir(os.path.join(unpacked, source))
build_meta.build_wheel(wheel)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist/ and wheel/, made from a copy, as setuptools packs what an earlier build left in build/."""
    folder = tmp_path_factory.mktemp("release")
    copy = folder / "checkout"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy)
    (copy / "tests").mkdir()
    (copy / "tests" / "test_left_out.py").touch()
    targets = [folder / name for name in ("sdist", "wheel", "unpacked")]
    for target in targets:
        target.mkdir()
    subprocess.run([sys.executable, "-c", BUILD, *map(str, targets)], cwd=copy, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = (built / "wheel").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "segdistill").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == source, "pyproject.toml: package-data lists every kind of file that is not Python"


def test_the_sdist_has_no_tests(built: Path) -> None:
    (path,) = (built / "sdist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        assert not [name for name in archive.getnames() if name.split("/")[1:2] == ["tests"]]


def test_nothing_in_the_wheel_names_a_folder_of_the_machine_that_made_it(wheel: zipfile.ZipFile) -> None:
    folders = [str(Path.home()), str(ROOT), sys.prefix, tempfile.gettempdir()]
    texts = {name: wheel.read(name).decode("utf-8", "ignore") for name in wheel.namelist()}
    assert not [name for name, text in texts.items() if any(f"{folder}/" in text for folder in folders)]


def test_the_metadata_says_license_command_and_readme(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "segdistill = segdistill.__main__:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert "no telemetry, works offline" in metadata  # README.md is the page on PyPI
    assert not re.search(r"@ (file|git)", metadata), "a dependency that PyPI would refuse"

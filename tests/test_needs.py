"""The counts of tests that need ../shared or a browser, in sessions of pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILE = """
import pytest

def test_reads(shared):
    assert (shared / "number").read_text() == "1"

def test_gives_up(shared):
    pytest.skip("too lazy")

def test_needs_nothing():
    pass
"""


def _session(folder: Path, *words: str) -> tuple[int, str]:
    """Exit status and output of the tests of `FILE`, with `folder`/shared for ../shared."""
    (folder / "conftest.py").write_text(
        f"from pathlib import Path\nimport needs\nneeds.SHARED = Path({str(folder / 'shared')!r})\n"
        "pytest_plugins = ['needs']\n"
    )
    (folder / "test_file.py").write_text(FILE)
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {TESTS}\naddopts = -q --strict-markers\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout


@pytest.fixture
def present(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "number").write_text("1")
    return tmp_path


@pytest.mark.parametrize("processes", ["-n0", "-n2"])
def test_a_skip_fails_the_session_where_the_folder_is_there(present: Path, processes: str) -> None:
    status, output = _session(present, processes)
    assert status == 1, output
    assert "shared_data: 1 ran, 1 skipped (../shared is present)" in output
    assert "FAILED test_file.py::test_gives_up: skipped although ../shared is present" in output
    assert re.search(r"2 passed, 1 skipped", output)


@pytest.mark.parametrize("processes", ["-n0", "-n2"])
def test_without_the_folder_they_are_skipped_and_counted(tmp_path: Path, processes: str) -> None:
    status, output = _session(tmp_path, processes)
    assert status == 0, output
    assert "shared_data: 0 ran, 2 skipped (../shared is absent)" in output
    assert re.search(r"1 passed, 2 skipped", output)


def test_a_file_that_can_not_be_collected_is_reported_as_ever(present: Path) -> None:
    (present / "test_broken.py").write_text("import nothing_of_this_name\n")
    status, output = _session(present)
    assert status == 2, output
    assert "No module named 'nothing_of_this_name'" in output


def test_the_marker_selects_them(present: Path) -> None:
    status, output = _session(present, "-m", "shared_data", "-k", "not gives_up")
    assert status == 0, output
    assert "shared_data: 1 ran, 0 skipped (../shared is present)" in output
    assert re.search(r"1 passed, 2 deselected", output)

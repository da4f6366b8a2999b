"""What a run says of where it ran."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import segdistill


def test_the_commit_of_a_project_that_it_is_installed_in_is_not_its_commit(tmp_path: Path) -> None:
    packages = tmp_path / "project" / ".venv" / "site-packages"
    shutil.copytree(
        Path(segdistill.__file__).parent, packages / "segdistill", ignore=shutil.ignore_patterns("__pycache__")
    )
    git = ["git", "-C", tmp_path / "project", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "init", "-q", tmp_path / "project"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    code = (
        "import json; from segdistill.runtime import environment as e; "
        "print(json.dumps([e.__file__, e.describe_environment()['commit']]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(packages)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    file, commit = json.loads(done.stdout)
    assert Path(file).is_relative_to(packages)
    assert commit is None

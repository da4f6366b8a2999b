"""A tiny study with real runs, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_studies import real_study

from segdistill import report


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    return real_study(tmp_path_factory.mktemp("study"), tiny)


@pytest.fixture(scope="session")
def page(study_folder: Path) -> Path:
    return report(study_folder, quiet=True).file

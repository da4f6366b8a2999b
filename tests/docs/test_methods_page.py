"""The page of methods says what docstrings, options and committed measurements say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_its_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "benchmarks" / "methods_page.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    made = page.partition(script.START)[2].partition(script.END)[0]
    assert made == script.sections(), "run python benchmarks/methods_page.py"

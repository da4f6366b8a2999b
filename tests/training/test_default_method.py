"""A recipe that names no method is distilled with `canonical`, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import segdistill as library
from segdistill.recipe.recipe import load_recipe


def test_a_recipe_without_a_method_gets_the_default(tiny: tuple[str, ...]) -> None:
    bare, named = load_recipe(*tiny), load_recipe(*tiny, "kd")
    assert [method.name for method in bare.with_method().method] == ["canonical"]
    assert bare.method == []
    assert named.with_method() == named


def test_distilling_without_a_method_says_which_is_taken(
    tmp_path: Path, tiny: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    library.distill(*tiny, baseline="none", out=tmp_path / "x")
    assert "method: canonical, the default" in capsys.readouterr().err
    assert yaml.safe_load((tmp_path / "x" / "recipe.yaml").read_text())["method"] == [{"name": "canonical"}]
    assert "canonical/feature" in (tmp_path / "x" / "metrics.jsonl").read_text()
    library.distill(*tiny, "canonical", baseline="none", out=tmp_path / "x", resume=True)  # the same run
    assert "the default" not in capsys.readouterr().err

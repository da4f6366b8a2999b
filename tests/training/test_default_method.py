"""A recipe that names no method is distilled with `bpkd` and `canonical`, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import segdistill as library
from segdistill.recipe.recipe import load_recipe


def test_a_recipe_without_a_method_gets_the_default(tiny: tuple[str, ...]) -> None:
    bare, named = load_recipe(*tiny), load_recipe(*tiny, "kd")
    assert [method.name for method in bare.with_method().method] == ["bpkd", "canonical"]
    assert bare.method == []
    assert named.with_method() == named


def test_distilling_without_a_method_says_which_is_taken(
    tmp_path: Path, tiny: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    library.distill(*tiny, baseline="none", out=tmp_path / "x")
    assert "method: bpkd and canonical, the default" in capsys.readouterr().err
    methods = [{"name": "bpkd", "share": 2.0}, {"name": "canonical"}]
    assert yaml.safe_load((tmp_path / "x" / "recipe.yaml").read_text())["method"] == methods
    terms = (tmp_path / "x" / "metrics.jsonl").read_text()
    assert all(name in terms for name in ("bpkd/edge", "bpkd/body", "canonical/feature"))
    library.distill(*tiny, method=methods, baseline="none", out=tmp_path / "x", resume=True)  # the same run
    assert "the default" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["teacher.cache=logits"], ["teacher.weights=[streets_teacher, streets_teacher]"]])
def test_a_teacher_of_logits_alone_has_a_default_that_reads_them(
    tmp_path: Path, tiny: tuple[str, ...], words: list[str]
) -> None:
    more = ("baseline=none", "teacher.check=false", "steps=1", "teacher.train.steps=1", *words)
    library.distill(*tiny, *more, out=tmp_path / "x", quiet=True)
    of_logits = load_recipe(*tiny, "method={name: bpkd, share: 2}").method
    assert load_recipe(tmp_path / "x" / "recipe.yaml").method == of_logits
    compared = library.compare(*tiny, *more[1:], methods="default", seeds="0", out=tmp_path / "study", quiet=True)
    assert [row.label for row in compared.methods()] == ["default"]

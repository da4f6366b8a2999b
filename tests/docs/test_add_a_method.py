"""The method of docs/add-a-method.md works from a folder of its own, and passes what every method has to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from forked import run_tests

import segdistill

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_s_method_keeps_what_every_method_promises(tmp_path: Path) -> None:
    """In a copy of the package with the page's method in it."""
    shutil.copytree(ROOT / "src" / "segdistill", tmp_path / "segdistill", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "segdistill" / "methods" / "reverse_kl.py").write_text(CODE, encoding="utf-8")
    files = [str(ROOT / "tests" / "methods" / f"test_{name}.py") for name in ("contract", "invariances")]
    status, output = run_tests(*files, "-k", "reverse_kl", "-p", "no:cacheprovider", "-vv", path=tmp_path)
    assert status == 0, output
    assert output.count("PASSED") > 30
    assert "test_contract.py::test_odd_sizes[reverse_kl]" in output


def test_the_page_s_method_distils_from_a_folder_of_its_own(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_losses").mkdir()
    (tmp_path / "my_losses" / "reverse_kl.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["method={name: my_losses.reverse_kl:ReverseKL, temperature: 2}", "steps=2", "teacher.train.steps=2"]
    segdistill.distill(*tiny, *words, baseline="none", out=tmp_path / "run", quiet=True)
    assert '"reverse_kl"' in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")


def test_the_page_names_tables_that_exist() -> None:
    for name, file in (("LEARNERS", "test_contract.py"), ("RULES", "test_invariances.py")):
        assert f"`{name}` of `tests/methods/{file}`" in " ".join(PAGE.split())
        assert f"\n{name} = " in (ROOT / "tests" / "methods" / file).read_text(encoding="utf-8")

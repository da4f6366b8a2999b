"""The method of docs/add-a-method.md works from a folder of its own, and passes what every method has to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the page's method in it."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "segdistill" / "methods" / "reverse_kl.py").write_text(CODE, encoding="utf-8")
    return folder


def _run(checkout: Path, *words: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=500, check=False,
        env={**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_s_method_keeps_what_every_method_promises(checkout: Path) -> None:
    words = ["pytest", "tests/methods/test_contract.py", "tests/methods/test_invariances.py", "-k", "reverse_kl"]
    done = _run(checkout, *words, "-p", "no:cacheprovider", "-vv", folder=ROOT)
    assert done.count("PASSED") > 30
    assert "test_contract.py::test_odd_sizes[reverse_kl]" in done


def test_the_page_s_method_distils_from_a_folder_of_its_own(
    checkout: Path, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "my_losses").mkdir()
    (tmp_path / "my_losses" / "reverse_kl.py").write_text(CODE, encoding="utf-8")
    (checkout / "src" / "segdistill" / "methods" / "reverse_kl.py").unlink()
    words = ["method={name: my_losses.reverse_kl:ReverseKL, temperature: 2}", "steps=2", "teacher.train.steps=2"]
    _run(checkout, "segdistill", "distill", *tiny, *words, "baseline=none", f"out={tmp_path / 'run'}", folder=tmp_path)
    assert '"reverse_kl"' in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")


def test_the_page_names_tables_that_exist() -> None:
    for name, file in (("LEARNERS", "test_contract.py"), ("RULES", "test_invariances.py")):
        assert f"`{name}` of `tests/methods/{file}`" in " ".join(PAGE.split())
        assert f"\n{name} = " in (ROOT / "tests" / "methods" / file).read_text(encoding="utf-8")

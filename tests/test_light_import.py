"""What needs no torch does not wait for it: modules are counted, as seconds differ between machines."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "matplotlib",
    "scipy",
    "cv2",
    "numpy",
    "tensorboard",
    "transformers",
}
COMMAND = """
import sys
{work}
sys.stderr.write(" ".join(sys.modules))
"""
CALL = """
sys.argv = ["segdistill", *{words!r}]
from segdistill.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def modules_after(work: str) -> set[str]:
    """The modules that a new Python has imported after some work."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(work=work)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_importing_the_package_imports_next_to_nothing() -> None:
    modules = modules_after("import segdistill")
    assert not modules & {*HEAVY, "pydantic", "yaml"}
    assert len(modules) < 150


@pytest.mark.parametrize("words", [["--help"], ["distill", "--help"], ["list"], ["list", "methods", "--json"]])
def test_the_command_line_imports_no_torch_to_show_what_there_is(words: list[str]) -> None:
    modules = modules_after(CALL.format(words=words))
    assert not modules & HEAVY
    assert len(modules) < 800
